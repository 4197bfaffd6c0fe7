use super::{Value, parse};

fn refused(text: &str) -> String {
    parse("p.yaml", text).expect_err(text).to_string()
}

#[test]
fn scalars_follow_the_core_schema() {
    let text = "[no, yes, 0x1F, 0o17, -5, +5, 1.5, 1e3, '50', \"x\", ~, null, True, 1.2.3, 12-3, .5, -]";
    let nodes = parse("p.yaml", &text.replace(", -]", "]")).expect("valid");
    let Value::List(items) = &nodes[0].value else { panic!("a list") };
    let values: Vec<_> = items.iter().map(|n| n.value.clone()).collect();
    let text = |t: &str| Value::Text(t.to_owned());
    assert_eq!(
        values,
        vec![
            text("no"),
            text("yes"),
            Value::Int(31),
            Value::Int(15),
            Value::Int(-5),
            Value::Int(5),
            Value::Float(1.5),
            Value::Float(1000.0),
            text("50"),
            text("x"),
            Value::Null,
            Value::Null,
            Value::Bool(true),
            text("1.2.3"),
            text("12-3"),
            Value::Float(0.5),
        ]
    );
}

#[test]
fn what_could_be_read_in_two_ways_is_refused_with_its_place() {
    assert_eq!(
        refused("a: 1\na: 2\n"),
        "p.yaml:2:1: the key \"a\" stands twice in the same mapping; it is on line 1 already: put both together there"
    );
    assert!(refused("a: &x 1\nb: *x\n").contains("p.yaml:1:4: anchors"));
    assert!(refused("a: !!str 1\n").contains("tags"));
    assert!(refused("{1: {<<: 2}}").contains("merge keys"));
    assert!(refused("? [a]\n: 1\n").contains("a key must be plain text"));
    assert!(refused("a: 99999999999999999999\n").contains("too large"));
    assert!(refused("a: [1\n").starts_with("p.yaml:"));
    assert!(refused(&"[".repeat(100)).contains("p.yaml:"));
    // YAML 1.1, as Kubernetes reads it, ends a comment at these.
    for character in ['\u{85}', '\u{2028}', '\u{2029}', '\u{feff}'] {
        let text = format!("a: 1\n# x{character}b: 2\n");
        assert!(refused(&text).starts_with("p.yaml:2:4: U+"), "{character:?}");
    }
    // And takes `?` for the sign of a key, and 017 for octal.
    assert!(refused("a: {?b: 1}\n").contains("in quotes"));
    assert!(refused("a: [?b]\n").contains("in quotes"));
    assert!(refused("a: 017\n").contains("octal"));
    assert!(parse("p.yaml", "a: [0, \"017\", \"?b\", 0.5]\n? c\n: 1\n").is_ok());
}

#[test]
fn a_small_text_cannot_take_much_memory() {
    assert!(refused(&format!("a: [{}]\n", "b,".repeat(400_000))).contains("more than 300000 values"));
}

#[test]
fn several_documents_and_json_are_read() {
    assert_eq!(parse("p", "a: 1\n---\n---\nb: 2\n").expect("valid").len(), 2);
    assert_eq!(parse("p", r#"{"a": [1, "x", null, true], "b": {"c": 2.5}}"#).expect("valid").len(), 1);
    assert!(parse("p", "# only a comment\n").expect("valid").is_empty());
}

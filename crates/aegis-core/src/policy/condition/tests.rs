use super::{Condition, Pattern};

fn refusal(text: &str) -> String {
    Condition::compile(text).expect_err(text).message
}

#[test]
fn what_cannot_be_said_faithfully_in_both_is_refused() {
    for (text, why) in [
        ("", "not a CEL expression"),
        ("a ==", "not a CEL expression"),
        ("env = \"production\"", "; to compare, write =="),
        ("a / 2 > 1", "`/` can't stand here"),
        ("a % 2 == 1", "`%` can't stand here"),
        ("env + \"x\" == \"y\"", "arithmetic is for whole numbers"),
        ("a == null", "null is not supported"),
        ("a == b\"x\"", "bytes are not supported"),
        ("a > 9007199254740992", "beyond 2^53"),
        ("a > 1e300", "beyond 2^53"),
        ("env == 5", "this compares text with a number"),
        ("env > true", "this compares text with true or false"),
        ("flag < true", "no order"),
        ("env", "has to be true or false"),
        ("5", "has to be true or false"),
        ("a + 1", "has to be true or false"),
        ("size(env) > 1", "expected a list or a mapping"),
        ("a in []", "empty list"),
        ("a in [1, \"x\"]", "constants of one kind"),
        ("a in [b]", "constants only"),
        ("env in [1]", "text in a list of a number"),
        ("a[b] == 1", "must be written out"),
        ("a[-1] == 1", "must be written out"),
        ("has(env)", "always there"),
        ("has(a[0])", "asks for a parameter"),
        ("time.hour > 5", "this version can't evaluate it yet"),
        ("chain[0] == \"x\"", "this version can't evaluate it yet"),
        ("session.calls > 5", "this version can't evaluate it yet"),
        ("agent == \"x\"", "`agent` has `id` and `groups`"),
        ("agent.name == \"x\"", "`agent` has `id` and `groups`"),
        ("env.x == 1", "nothing of that name"),
        ("params == 1", "name a part of it"),
        ("items.all(x, x > 1)", "`all` is not supported"),
        ("items.exists(x, x > 1)", "`exists` is not supported"),
        ("double(a) > 1.0", "`double` can't stand here"),
        ("a.matches(b)", "must be written out"),
        ("5.startsWith(\"a\")", "expected text, found a number"),
        ("a.lowerAscii() == \"x\"", "`lowerAscii` can't stand here"),
        ("{\"a\": 1} == x", "can only stand after `in`"),
    ] {
        let said = refusal(text);
        assert!(said.contains(why), "{text}: {said}");
    }
    assert!(refusal(&"!".repeat(200)).len() < 200);
    assert!(refusal(&format!("{}a{}", "(".repeat(300), ")".repeat(300))).len() < 400);
    assert!(refusal(&"a == 1 || ".repeat(1000)).contains("longer than"));
}

#[test]
fn patterns_are_rewritten_into_what_both_engines_read_alike() {
    let pattern = |text: &str| Pattern::parse(text).map(|pattern| pattern.as_str().to_owned());
    assert_eq!(pattern(r"^v\d+\.\w[\s-]$").as_deref(), Ok(r"^v[0-9]+\.[0-9A-Za-z_][\t\n\f\r \-]$"));
    assert_eq!(pattern(r"(a|b)?[^\d_]{2,3}").as_deref(), Ok(r"(?:a|b)?[^0-9\_]{2,3}"));
    assert_eq!(pattern(r"\A😀\z").as_deref(), Ok("^😀$"));
    for bad in [
        r"(?i)a",
        r"(?i:a)",
        r"\bx",
        r"\pL",
        r"a**",
        r"a{2}{3}",
        r"a{201}",
        r"(a{20}){20}",
        r"[a&&b]",
        r"[[:alpha:]]",
        r"[a[b]]",
        r"[\D]",
        r"\u{41}",
        r"\x41",
        r"^*",
        "(",
        r"(?<!a)b",
    ] {
        assert!(pattern(bad).is_err(), "{bad}");
    }
}

#[test]
fn conditions_of_one_shape_share_one_rule() {
    let shape = |text: &str| Condition::compile(text).expect(text).shape;
    assert_eq!(shape("replicas > 5"), shape("amount > 500"));
    assert_eq!(shape("env == \"a\""), shape("env == \"b\""));
    assert_ne!(shape("replicas > 5"), shape("replicas >= 5"));
    assert_ne!(shape("a.b > 5"), shape("a > 5"));
}

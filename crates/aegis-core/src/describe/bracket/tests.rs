use serde_json::json;

use super::parse;

fn read(form: &str) -> Result<serde_json::Value, String> {
    parse(form.as_bytes()).map_err(|unreadable| unreadable.reason)
}

#[test]
fn brackets_become_objects_and_lists() {
    let form = "amount=4200&types[0]=card&types[1]=sepa&metadata[env]=prod&metadata[order%20id]=7&items[0][price]=p\
                &items[0][quantity]=2&expand[]=a&expand[]=b&deep%5Ba%5D%5Bb%5D=c";
    let whole = json!({
        "amount": "4200",
        "types": {"0": "card", "1": "sepa"},
        "metadata": {"env": "prod", "order id": "7"},
        "items": {"0": {"price": "p", "quantity": "2"}},
        "expand": ["a", "b"],
        "deep": {"a": {"b": "c"}},
    });
    assert_eq!(read(form), Ok(whole));
    assert_eq!(read(""), Ok(json!({})));
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    for (form, reason) in [
        ("a=1&a=2", "form_duplicate_field"),
        ("a=1&A=2", "form_duplicate_field"),
        ("a[b]=1&a%5Bb%5D=2", "form_duplicate_field"),
        ("a=1&a[b]=2", "form_conflict"),
        ("a[b]=2&a=1", "form_conflict"),
        ("a[]=1&a[0]=2", "form_conflict"),
        ("a[0]=1&a[]=2", "form_conflict"),
        ("a[b=1", "form_brackets"),
        ("a]=1", "form_brackets"),
        ("[a]=1", "form_brackets"),
        ("a[b]c=1", "form_brackets"),
        ("a[[b]]=1", "form_brackets"),
        ("a[][b]=1", "form_brackets"),
        ("+amount=1", "form_brackets"),
        ("amount%00=1", "form_brackets"),
        ("a=1;b=2", "query_semicolon"),
        ("a=%ff", "target_not_utf8"),
    ] {
        assert_eq!(read(form), Err(reason.to_owned()), "{form}");
    }
    let deep = format!("a{}=1", "[b]".repeat(100));
    assert_eq!(read(&deep), Err("form_brackets".to_owned()));
}

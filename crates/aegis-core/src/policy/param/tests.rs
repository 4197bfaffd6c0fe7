use serde_json::{Value, json};

use super::{Param, Place};
use crate::call::{Presence, Shape};

fn found(name: &str, params: &Value) -> Vec<String> {
    let param = Param::parse(name).expect(name);
    let places = param.places(params.as_object().expect("a mapping"));
    let shown = places.map(|place| match place {
        Place::Value { value, beside } => format!("{value} of {}", beside.len()),
        Place::Blocked => "blocked".to_owned(),
    });
    shown.collect()
}

#[test]
fn a_dotted_name_is_found_by_name_and_by_path() {
    let nested = json!({"spec": {"replicas": 5}, "x": 1});
    assert_eq!(found("x", &nested), ["1 of 2"]);
    assert_eq!(found("spec.replicas", &nested), ["5 of 1"]);
    assert!(found("spec.other", &nested).is_empty());
    assert!(found("other.replicas", &nested).is_empty());
    assert_eq!(found("spec.replicas.x", &nested), ["blocked"]);
    let both = json!({"spec.replicas": 1, "spec": {"replicas": 500}});
    assert_eq!(found("spec.replicas", &both), ["1 of 2", "500 of 1"]);
    assert_eq!(found("spec.replicas", &json!({"spec": [{"replicas": 500}]})), ["blocked"]);
}

#[test]
fn a_path_is_there_if_its_first_key_is() {
    let shape = |name: &str, presence| Shape::Defined([(name.to_owned(), presence)].into());
    let presence = |shape: &Shape| Param::parse("spec.replicas").expect("a path").presence(shape);
    assert_eq!(presence(&Shape::Open), Some(Presence::Required));
    assert_eq!(presence(&shape("spec", Presence::Required)), Some(Presence::Required));
    assert_eq!(presence(&shape("spec.replicas", Presence::Partial)), Some(Presence::Partial));
    assert_eq!(presence(&shape("replicas", Presence::Required)), None);
    for bad in ["", ".", "a.", ".a", "a..b", "a.b.c.d.e"] {
        assert!(Param::parse(bad).is_err(), "{bad:?}");
    }
}

use serde_json::{Map, Value, json};

use super::Written;
use crate::call::{Effect, Presence, Shape};
use crate::describe::Catalogue;

fn written(action: &str, params: Value) -> Written {
    let params: Map<String, Value> = serde_json::from_value(params).expect("a mapping");
    Written { tool: "kubernetes".to_owned(), action: action.to_owned(), params, ..Written::default() }
}

fn catalogue() -> Catalogue {
    Catalogue::load(&[], None).expect("the built-in tools")
}

#[test]
fn a_defined_action_is_described_by_its_definition() {
    let call = catalogue().describe_written(written("scale", json!({"replicas": 3}))).expect("a call");
    assert_eq!(call.classes, ["deploy".to_owned(), "scale".to_owned()].into());
    assert_eq!(call.effect, Effect::Write);
    let Shape::Defined(shape) = &call.shape else { panic!("open") };
    assert_eq!(shape.get("replicas"), Some(&Presence::Required));
    assert_eq!(shape.get("images"), None, "a scale has no image");
}

#[test]
fn it_has_the_images_that_are_given() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let images = vec![format!("registry.acme.io/app@{digest}")];
    let call = Written { images, ..written("apply", json!({"replicas": 3, "kind": "deployments"})) };
    let call = catalogue().describe_written(call).expect("a call");
    assert_eq!(call.images[0].digest.as_deref(), Some(digest.as_str()));
    assert_eq!(call.params["images"], json!([format!("registry.acme.io/app@{digest}")]));
    let Shape::Defined(shape) = &call.shape else { panic!("open") };
    assert_eq!(shape.get("images"), Some(&Presence::Required));

    let same = catalogue().describe_written(written("apply", call.params.clone().into())).expect("a call");
    assert_eq!(same.images, call.images);
}

#[test]
fn what_no_request_could_say_is_refused_with_what_was_meant() {
    let refused = |call: Written| catalogue().describe_written(call).expect_err("refused").message;
    let message = refused(written("scale", json!({"replica": 3})));
    assert_eq!(message, "kubernetes/scale has no parameter `replica`; did you mean `replicas`?");
    let images = Written { images: vec!["nginx".to_owned()], ..written("scale", json!({})) };
    assert!(refused(images).starts_with("kubernetes/scale has no parameter `images`; it has: "));
    let classed = Written { classes: ["pay".to_owned()].into(), ..written("scale", json!({})) };
    assert!(refused(classed).contains("is in: deploy, scale"));
}

#[test]
fn what_nobody_has_defined_is_a_function() {
    let call = Written {
        tool: "payments".to_owned(),
        classes: ["pay".to_owned()].into(),
        ..written("pay", json!({"amount": 3}))
    };
    let call = catalogue().describe_written(call).expect("a call");
    assert_eq!((call.shape, call.effect), (Shape::Open, Effect::Unknown));
    assert_eq!(call.classes, ["pay".to_owned()].into());
}

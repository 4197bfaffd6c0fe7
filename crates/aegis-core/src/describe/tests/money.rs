use serde_json::{Value, json};

use super::super::Catalogue;
use super::{catalogue, request, route};
use crate::cost::Cost;
use crate::policy::Source;

const CARDS: &str = "
apiVersion: aegis/v1
tool: cards
actions:
- action: pay
  classes: [pay]
  effect: spend
  match: {method: POST, path: /v1/charges}
  decode: [form, json]
  params:
    amount: {pointer: /amount, type: minor_units}
    parts: {pointer: /parts/*/amount, type: minor_units, presence: partial}
    currency: {pointer: /currency, presence: partial}
";

fn paid(cards: &Catalogue, content_type: &str, body: &str) -> Result<Value, String> {
    let request = request("POST", "/v1/charges", &[("content-type", content_type)], body.as_bytes());
    let call = cards.describe(&route("cards"), request).map_err(|unreadable| unreadable.reason)?;
    Ok(Value::Object(call.params))
}

#[test]
fn minor_units_become_whole_ones_exactly() {
    let cards = catalogue(CARDS);
    let form = |body: &str| paid(&cards, "application/x-www-form-urlencoded", body);
    assert_eq!(form("amount=49999&currency=usd"), Ok(json!({"amount": 499.99, "currency": "usd"})));
    assert_eq!(form("amount=50000&currency=USD"), Ok(json!({"amount": 500, "currency": "USD"})));
    assert_eq!(form("amount=500&currency=jpy"), Ok(json!({"amount": 500, "currency": "jpy"})));
    assert_eq!(form("amount=1234&currency=KWD"), Ok(json!({"amount": 1.234, "currency": "KWD"})));
    assert_eq!(form("amount=4.2e3&currency=usd"), Ok(json!({"amount": "4.2e3", "currency": "usd"})));
    assert_eq!(form(""), Ok(json!({})));
    let json = |body: Value| paid(&cards, "application/json", &body.to_string());
    let parts = json!({"amount": 7, "currency": "USD", "parts": [{"amount": 5}, {"amount": "2"}]});
    assert_eq!(json(parts), Ok(json!({"amount": 0.07, "currency": "USD", "parts": [0.05, "2"]})));
}

#[test]
fn an_amount_whose_unit_is_not_known_is_never_guessed() {
    let cards = catalogue(CARDS);
    for body in [
        json!({"amount": 500}),
        json!({"amount": 500, "currency": null}),
        json!({"amount": 500, "currency": "XAU"}),
        json!({"amount": 500, "currency": "USDC"}),
        // Payment services count these in other parts than the standard does.
        json!({"amount": 500, "currency": "MGA"}),
        json!({"amount": 500, "currency": "UGX"}),
        json!({"amount": 0.5, "currency": "USD"}),
        json!({"amount": -500, "currency": "USD"}),
        json!({"amount": 1_000_000_000_000_000_i64, "currency": "USD"}),
    ] {
        let said = paid(&cards, "application/json", &body.to_string());
        assert_eq!(said, Err("minor_units".to_owned()), "{body}");
    }
    let text = CARDS.replace("    currency: {pointer: /currency, presence: partial}\n", "");
    let source = Source { file: "t.yaml".to_owned(), text };
    let errors = Catalogue::load(&[source], None).expect_err("refused");
    assert!(errors[0].to_string().contains("the action needs a parameter `currency`"), "{errors:?}");
}

#[test]
fn a_cost_in_a_parameter_needs_the_parameter_and_its_currency() {
    let with = |old: &str, new: &str| {
        let text = CARDS.replace("  decode:", "  cost: {param: amount}\n  decode:").replace(old, new);
        Catalogue::load(&[Source { file: "t.yaml".to_owned(), text }], None)
    };
    assert!(with("", "").is_ok());
    for (old, new) in
        [("{param: amount}", "{param: total}"), ("    currency: {pointer: /currency, presence: partial}\n", "")]
    {
        assert!(with(old, new).is_err(), "{old}");
    }
    // Where the amount isn't said, there is no currency to say either: unknown.
    let nowhere = "    amount: {nowhere: true}\n";
    let (from, _) = CARDS.split_once("    amount:").expect("there");
    let text = format!("{from}{nowhere}").replace("  decode:", "  cost: {param: amount}\n  decode:");
    let cards = catalogue(&text);
    let request = request("POST", "/v1/charges", &[("content-type", "application/json")], b"{\"amount\":5}");
    let call = cards.describe(&route("cards"), request).expect("it can be read");
    assert_eq!(call.metering.estimate, Some(Cost::Unknown));
}

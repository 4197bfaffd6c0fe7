use serde_json::{Value, json};

use super::{Imported, import, snake};
use crate::describe::{Arrival, Catalogue};
use crate::policy::Source;

const SHOP: &str = r##"
openapi: 3.0.3
info: {title: "Shop: the #1 API\nnow", version: 1}
servers:
- {url: "https://api.shop.example:8443/v2/"}
- {url: "https://eu.shop.example/v2"}
- {url: "https://old.shop.example/v1"}
- {url: "https://{region}.shop.example/v2"}
paths:
  /orders:
    get:
      operationId: listOrders
      parameters:
      - {name: pageSize, in: query, schema: {type: integer}}
      - {name: tag, in: query, schema: {type: array, items: {type: string}}}
      - {name: Accept, in: header, schema: {type: string}}
      responses: {200: {description: ok}}
    post:
      operationId: orders/create-order
      summary: "Order things: *now*"
      requestBody:
        required: true
        content:
          application/json:
            schema: {$ref: "#/components/schemas/Order"}
            example: {item: hat, count: 2}
          text/csv: {schema: {type: string}}
  /orders/{order-id}:
    parameters:
    - {$ref: "#/components/parameters/Id"}
    patch:
      operationId: ORDERPatch
      requestBody: {content: {application/merge-patch+json: {schema: {$ref: "#/components/schemas/Order"}}}}
    delete:
      parameters: [{name: X-Reason, in: header, required: true, schema: {type: string}}]
  /orders/{id}/items:
    get: {operationId: listOrders}
  /orders/{number}:
    delete: {operationId: again}
  /files/{name}.json: {get: {operationId: file}}
  /run:
    post:
      operationId: run
      requestBody: {content: {application/json: {schema: {oneOf: [{$ref: "#/components/schemas/Order"}, {type: string}]}}}}
  /upload:
    put:
      operationId: upload
      requestBody: {content: {application/octet-stream: {}}}
  /elsewhere: {$ref: "other.yaml#/x"}
components:
  parameters:
    Id: {name: order-id, in: path, required: true, schema: {type: integer}, example: 7}
  schemas:
    Base: {type: object, required: [item], properties: {item: {type: string}, at: {type: string, readOnly: true}}}
    Order:
      allOf:
      - {$ref: "#/components/schemas/Base"}
      - type: object
        required: [image]
        properties:
          count: {type: [integer, "null"]}
          price: {type: number}
          image: {type: string}
          images: {type: array, items: {type: string}}
          tags: {type: array, items: {type: string}}
          lines: {type: array, items: {type: object}}
          "a/b": {type: boolean}
          order-id: {type: string}
          self: {$ref: "#/components/schemas/Order"}
"##;

fn imported(text: &str, tool: Option<&str>) -> Imported {
    import("shop.yaml", text, tool).expect("imported")
}

/// The file loads, and its own cases hold.
fn catalogue(imported: &Imported) -> Catalogue {
    let source = Source { file: "imported.yaml".to_owned(), text: imported.text.clone() };
    let catalogue = Catalogue::load(&[source], None).unwrap_or_else(|errors| {
        panic!("{}\n{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"), imported.text)
    });
    let failures: Vec<_> = catalogue.check().failures.into_iter().filter(|one| one.tool == imported.tool).collect();
    assert!(failures.is_empty(), "{failures:?}\n{}", imported.text);
    catalogue
}

#[test]
fn a_document_becomes_a_file_that_loads_and_says_what_it_left_out() {
    let shop = imported(SHOP, Some("shop"));
    let catalogue = catalogue(&shop);
    let listing = catalogue.tools().into_iter().find(|tool| tool.tool == "shop").expect("listed");
    let actions: Vec<String> = listing.actions.iter().map(|one| format!("{} {}", one.action, one.effect)).collect();
    let expected = [
        "again destroy",
        "list_orders read",
        "list_orders_2 read",
        "order_patch write",
        "orders_create_order write",
        "run write",
        "upload write",
    ];
    assert_eq!(actions, expected);
    for left in [
        "old.shop.example/v1",
        "{region}.shop.example",
        "/files/{name}.json",
        "DELETE /orders/{order-id}",
        "text/csv",
        "octet-stream",
        "/elsewhere",
    ] {
        assert!(shop.skipped.iter().any(|why| why.contains(left)), "{left}: {:?}", shop.skipped);
        assert!(shop.text.contains(left), "{left}");
    }
    assert!(shop.text.contains("hosts: [\"api.shop.example\", \"eu.shop.example\"]"), "{}", shop.text);
    assert!(shop.text.lines().next().is_some_and(|line| line.contains("Shop: the #1 API now")), "{}", shop.text);
    assert_eq!(shop.text.matches("request:").count(), 5, "{}", shop.text);
}

#[test]
fn calls_are_what_the_document_says() {
    let catalogue = catalogue(&imported(SHOP, Some("shop")));
    let upstream = super::super::canonical_destination("https", "api.shop.example", 443).expect("a host");
    let arrival = Arrival::Route { name: "r", tool: None, cluster: None, upstream: &upstream };
    let call = |raw: &str| catalogue.match_raw(raw.as_bytes(), Some(&arrival)).expect("a call");
    let order = "{\"item\":\"hat\",\"count\":2,\"image\":\"r.example/a:1\",\"tags\":[\"x\",\"y\"],\"a/b\":true,\"lines\":[{}],\
                 \"order-id\":\"o\",\"images\":[\"i\"]}";
    let post = call(&format!("POST /v2/orders HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\r\n{order}"));
    assert_eq!(post.action, "orders_create_order");
    let expected = json!({"item": "hat", "count": 2, "image": "r.example/a:1", "tags": ["x", "y"], "a_b": true,
        "lines": [{}], "order_id": "o", "body_images": ["i"], "images": ["r.example/a:1"]});
    assert_eq!(Value::Object(post.params), expected);
    assert_eq!(post.images.len(), 1);

    let get = call("GET /v2/orders?pageSize=5&tag=a&tag=b HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(Value::Object(get.params), json!({"page_size": 5, "tag": ["a", "b"]}));
    let patch = "PATCH /v2/orders/7 HTTP/1.1\r\nHost: a\r\nContent-Type: application/merge-patch+json\r\n\r\n\
                 {\"count\":3,\"order-id\":\"8\"}";
    assert_eq!(Value::Object(call(patch).params), json!({"order_id": 7, "count": 3, "body_order_id": "8"}));
    let open = call("POST /v2/run HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\r\n{}");
    assert_eq!(open.shape, crate::call::Shape::Open);
    let csv = call("POST /v2/orders HTTP/1.1\r\nHost: a\r\nContent-Type: text/csv\r\n\r\na,b");
    assert_eq!(csv.action, "unknown");
    assert_eq!(call("GET /v2/other HTTP/1.1\r\nHost: a\r\n\r\n").action, "unknown");
}

#[test]
fn nothing_of_a_document_becomes_yaml_of_its_own() {
    let hostile = "x\"\n  effect: read\n# '\u{2028}- {a: b}";
    let document = json!({"openapi": "3.1.0", "info": {"title": hostile}, "paths": {"/a": {"post": {
        "operationId": "yes", "summary": hostile,
        "parameters": [{"name": hostile, "in": "query", "schema": {"type": "string"}}],
        "requestBody": {"content": {"application/json": {"schema": {"properties": {(hostile): {"type": "string"},
            "true": {"type": "string"}}}, "example": {"a": hostile}}}}}}}});
    let made = imported(&document.to_string(), Some("t"));
    let catalogue = catalogue(&made);
    let listing = catalogue.tools().into_iter().find(|tool| tool.tool == "t").expect("listed");
    assert_eq!(listing.actions.len(), 1);
    assert_eq!((listing.actions[0].action.as_str(), listing.actions[0].effect.as_str()), ("yes", "write"));
}

#[test]
fn what_is_no_openapi_3_document_is_refused() {
    for (text, why) in [
        ("swagger: '2.0'\npaths: {}\n", "no OpenAPI 3 document"),
        ("{", "can't be read"),
        ("a: &b 1\n", "or give it as JSON"),
        ("openapi: 3.0.0\ninfo: {title: T}\npaths: {}\n", "no operation"),
        ("openapi: 3.0.0\ninfo: {title: '---'}\npaths: {}\n", "is no tool's name"),
        ("openapi: 3.1.0\npaths: {/a: {$ref: '#/paths/~1a'}}\n", "no operation"),
    ] {
        let error = import("x.yaml", text, None).expect_err(text);
        assert!(error.to_string().contains(why), "{text}: {error}");
    }
}

#[test]
fn names_are_words_with_underscores() {
    for (text, name) in [
        ("listPets", "list_pets"),
        ("createPetByID", "create_pet_by_id"),
        ("GetHTTPServer2", "get_http_server2"),
        ("repos/create-dispatch-event", "repos_create_dispatch_event"),
        ("  x--y  ", "x_y"),
        ("ÜberAll", "ber_all"),
    ] {
        assert_eq!(snake(text), name);
    }
}

#[test]
fn what_cant_stand_in_a_request_as_it_is_is_encoded_or_left_out() {
    let document = |path: &str| {
        json!({"openapi": "3.1.0", "info": {"title": "t"}, "paths": {path: {"get": {
            "parameters": [{"name": "filter[a] b", "in": "query", "required": true, "schema": {"type": "string"}}]
        }}}})
        .to_string()
    };
    for path in ["/caf\u{e9} \"x\"/y", "/a^b|c`d", "/plain", "/slash/"] {
        let imported = import("o.json", &document(path), None).expect(path);
        let source = Source { file: "t.yaml".to_owned(), text: imported.text.clone() };
        let failures = Catalogue::load(&[source], None).expect("it loads").check().failures;
        assert!(imported.text.contains("cases:") && failures.is_empty(), "{path}: {failures:?}\n{}", imported.text);
    }
    for path in ["/a%20b", "/a\u{1}b", "/a//b", "/a/../b"] {
        let why = import("o.json", &document(path), None).expect_err("nothing is left").to_string();
        assert!(why.contains("1 left out"), "{why}");
    }
}

#[test]
fn fields_that_differ_by_case_alone_are_not_listed() {
    let schema = json!({"type": "object", "properties": {"to": {}, "To": {}, "n": {"type": "integer"}}});
    let content = json!({"application/json": {"schema": schema, "example": {"to": 1, "To": 2, "n": 3}}});
    let document = json!({"openapi": "3.1.0", "info": {"title": "t"}, "paths": {"/a": {"post": {"requestBody": {"content": content}}}}});
    let imported = import("o.json", &document.to_string(), None).expect("it is imported");
    assert!(imported.text.contains("open: true") && !imported.text.contains("/to"), "{}", imported.text);
    let source = Source { file: "t.yaml".to_owned(), text: imported.text };
    assert_eq!(Catalogue::load(&[source], None).expect("it loads").check().failures, []);
}

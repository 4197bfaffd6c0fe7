use serde_json::{Value, json};

use super::read;
use crate::describe::body::Decoded;

fn fields(request: &Value) -> Result<Vec<Value>, String> {
    match read(request.to_string().as_bytes()) {
        Ok(Decoded::Documents { documents, .. }) => Ok(documents),
        Ok(Decoded::Opaque(why)) => Err(format!("opaque: {why}")),
        Err(unreadable) => Err(unreadable.reason),
    }
}

fn names(query: &str) -> Result<Vec<String>, String> {
    let name = |field: &Value| format!("{} {}", field["operation"], field["field"]).replace('"', "");
    fields(&json!({"query": query})).map(|fields| fields.iter().map(name).collect())
}

#[test]
fn every_root_field_is_seen_under_its_own_name() {
    let two = "mutation { harmless: deleteRef(input: {refId: \"a\"}) { x } __typename b: createRef { __typename } }";
    assert_eq!(names(two), Ok(vec!["mutation deleteRef".to_owned(), "mutation createRef".to_owned()]));
    let hidden = "mutation M { ... on Mutation { a } ...F ...F } fragment F on Mutation { ...G b } \
                  fragment G on Mutation { c @include(if: false) ...F }";
    let all = ["mutation a", "mutation c", "mutation b"].map(str::to_owned);
    assert_eq!(names(hidden), Ok(all.to_vec()));
    assert_eq!(names("{ viewer { login } }"), Ok(vec!["query viewer".to_owned()]));
    assert_eq!(names("query { __typename }"), Ok(vec!["query __typename".to_owned()]));
    assert_eq!(names("subscription { s }"), Ok(vec!["subscription s".to_owned()]));
    assert_eq!(names("# mutation { no }\n{ a(text: \"mutation { no }\") }"), Ok(vec!["query a".to_owned()]));
}

#[test]
fn the_operation_is_the_one_that_the_server_runs() {
    let query = "query Q { safe } mutation M { danger }";
    let named =
        |name: Value| fields(&json!({"query": query, "operationName": name})).map(|all| all[0]["field"].clone());
    assert_eq!(named(json!("M")), Ok(json!("danger")));
    assert_eq!(named(json!("Q")), Ok(json!("safe")));
    for none in [json!(null), json!(""), json!("m")] {
        assert_eq!(named(none), Err("graphql_ambiguous".to_owned()));
    }
    assert!(named(json!(1)).is_err_and(|why| why.starts_with("opaque")));
    let only = json!({"query": "{ a }", "operationName": "B"});
    assert_eq!(fields(&only), Err("graphql_ambiguous".to_owned()));
}

#[test]
fn arguments_are_literal_or_what_the_variables_say() {
    let query = "mutation($a: I!, $b: Int = 7, $c: Int, $d: [I]) { f(input: {a: $a, b: $b, c: $c, e: MERGE, n: null, \
                 l: [1, $c, \"x\\u0041\", 2.5, true], d: $d, s: \"\"\"\n  two\n  lines\n\"\"\"}) }";
    let request = json!({"query": query, "variables": {"a": {"id": "x"}, "d": null, "unused": 1}});
    let found = fields(&request).expect("read");
    assert_eq!(
        found[0]["arguments"]["input"],
        json!({"a": {"id": "x"}, "b": 7, "e": "MERGE", "n": null, "l": [1, null, "xA", 2.5, true], "d": null, "s": "two\nlines"})
    );
}

#[test]
fn a_batch_is_all_of_its_requests() {
    let batch = json!([{"query": "{ a }"}, {"query": "mutation { b }"}]);
    let found = fields(&batch).expect("read");
    assert_eq!(found.iter().map(|field| field["field"].clone()).collect::<Vec<_>>(), [json!("a"), json!("b")]);
    assert!(fields(&json!([])).is_err());
    assert!(fields(&json!([{"query": "{ a }"}, 1])).is_err());
}

#[test]
fn what_a_server_may_read_otherwise_is_not_read() {
    for (request, expected) in [
        (json!({"query": "mutation { f(a: 1, a: 2) }"}), "graphql_ambiguous"),
        (json!({"query": "mutation { f(i: {a: 1, a: 2}) }"}), "graphql_ambiguous"),
        (json!({"query": "mutation { ...F } fragment F on M { a } fragment F on M { b }"}), "graphql_ambiguous"),
        (json!({"query": "mutation A { a } mutation A { b }", "operationName": "A"}), "graphql_ambiguous"),
        (json!({"query": "mutation($a: I, $a: J) { f(a: $a) }"}), "graphql_ambiguous"),
        (json!({"query": "mutation { f(a: $a) }", "variables": {"a": 1}}), "graphql_ambiguous"),
        (json!({"query": "mutation { f( }"}), "graphql_malformed"),
        (json!({"query": "mutation { f(a: 99999999999999999999) }"}), "json_number"),
        (json!({"query": "mutation { f(a: \"\\uD800\") }"}), "graphql_malformed"),
        (json!({"query": ""}), "graphql_malformed"),
    ] {
        assert_eq!(fields(&request), Err(expected.to_owned()), "{request}");
    }
    for request in [
        json!({"query": "mutation { ...F }"}),
        json!({"query": "type T { a: Int }"}),
        json!({"query": "{ a }", "id": "persisted"}),
        json!({"query": "{ a }", "extensions": {"persistedQuery": {"sha256Hash": "x"}}}),
        json!({"variables": {}}),
        json!({"query": "{ a }", "variables": "{}"}),
        json!("text"),
    ] {
        assert!(fields(&request).is_err_and(|why| why.starts_with("opaque")), "{request}");
    }
}

#[test]
fn what_would_grow_without_bounds_is_not_read() {
    let nested = |open: &str, close: &str| format!("{{ f(a: {}1{}) }}", open.repeat(5000), close.repeat(5000));
    for query in [nested("[", "]"), nested("{a:", "}"), format!("{}a{}", "{a".repeat(5000), "}".repeat(5000))] {
        assert_eq!(names(&query), Err("graphql_malformed".to_owned()));
    }
    let many = format!("mutation {{ {} }}", (0..100).map(|n| format!("a{n} ")).collect::<String>());
    assert!(names(&many).is_err_and(|why| why.starts_with("opaque")));
    let repeated = format!("query($a: S) {{ f(a: [{}]) }}", "$a ".repeat(1000));
    let request = json!({"query": repeated, "variables": {"a": "x".repeat(10_000)}});
    assert!(fields(&request).is_err_and(|why| why.starts_with("opaque")));
    assert_eq!(names(&"{a".repeat(3)), Err("graphql_malformed".to_owned()));
}

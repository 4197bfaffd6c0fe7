use super::super::{Catalogue, DenyShape};
use super::catalogue;
use crate::policy::Source;

fn errors(text: &str) -> String {
    let source = Source { file: "t.yaml".to_owned(), text: text.to_owned() };
    let errors = Catalogue::load(&[source], None).expect_err(text);
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

const HEAD: &str = "apiVersion: aegis/v1\ntool: t\n";

#[test]
fn the_cases_of_the_built_in_tools_hold() {
    let checked = catalogue("").check();
    assert!(checked.cases > 50);
    let failures: Vec<String> =
        checked.failures.iter().map(|f| format!("{}: {}: {}", f.tool, f.case, f.message)).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_case_that_fails_is_named() {
    let text = format!(
        "{HEAD}actions: [{{action: a, effect: read, match: {{method: GET, path: /a}}}}]\n\
         cases:\n- {{name: wrong, request: \"GET /b HTTP/1.1\\nHost: x\\n\\n\", expect: {{action: a}}}}\n\
         - {{name: typo, request: \"GET /a HTTP/1.1\\nHost: x\\n\\n\", expect: {{acton: a}}}}\n"
    );
    let failures = catalogue(&text).check().failures;
    assert_eq!(failures.iter().map(|f| f.case.as_str()).collect::<Vec<_>>(), ["wrong", "typo"]);
    assert_eq!(failures[0].message, "action is \"unknown\", expected \"a\"");
}

#[test]
fn a_built_in_tool_and_plain_http_cant_be_redefined() {
    for name in ["kubernetes", "http"] {
        let text = format!("apiVersion: aegis/v1\ntool: {name}\nactions: []\n");
        assert!(errors(&text).starts_with(&format!("t.yaml:2:7: tool: the tool \"{name}\" is defined already")));
    }
}

#[test]
fn two_entries_that_match_the_same_request_are_refused() {
    let entry = |action: &str, method: &str, path: &str, more: &str| {
        format!("- {{action: {action}, effect: read, match: {{method: {method}, path: \"{path}\"{more}}}}}\n")
    };
    let load = |a: String, b: String| {
        let source = Source { file: "t.yaml".to_owned(), text: format!("{HEAD}actions:\n{a}{b}") };
        Catalogue::load(&[source], None).map(drop).map_err(|errors| errors[0].to_string())
    };
    let one = || entry("one", "GET", "/a/{x}", "");
    let tie = load(one(), entry("two", "[POST, GET]", "/a/{y}", ""));
    assert_eq!(
        tie.expect_err("a tie"),
        "t.yaml:5:3: actions[1]: two and one (line 4) match the same request, and neither is more specific"
    );
    assert!(load(entry("one", "GET", "/{a:p|q}/b", ""), entry("two", "GET", "/{a:q|r}/b", "")).is_err());
    assert!(load(entry("one", "GET", "/{a+}/x/{b}", ""), entry("two", "GET", "/{c+}/x/{d}", "")).is_err());
    assert!(load(entry("one", "GET", "/{a+}/x", ""), entry("two", "GET", "/{b+}/y", "")).is_ok());
    for other in [
        entry("two", "POST", "/a/{x}", ""),
        entry("two", "GET", "/a/b", ""),
        entry("two", "GET", "/{x}/b", ""),
        entry("two", "GET", "/a/{x}/{y}", ""),
        entry("two", "GET", "/a/{x+}", ""),
        entry("two", "GET", "/a/{x}", ", query: {watch: \"*\"}"),
    ] {
        assert_eq!(load(one(), other.clone()), Ok(()), "{other}");
    }
}

#[test]
fn errors_have_their_place_and_a_suggestion() {
    let text = format!(
        "{HEAD}deny_response: html\nactions:\n\
         - action: a\n  effect: reed\n  match: {{method: get, path: a}}\n  decode: [jsn]\n\
         - action: b\n  efect: read\n  match: {{path: /b}}\n\
         - {{action: c, effect: read, match: {{path: \"/{{x}}y\"}}, params: {{p: {{pointer: x}}, q: {{}}, r: {{path: no}}}}}}\n\
         - {{action: d, effect: write, match: {{path: /d}}, companion_of: [a], params: {{p: {{pointer: /p}}}}}}\n\
         companions: [\"/x/{{y+}}\"]\ncases: [{{name: x}}]\nroute: {{hosts: [\"a*b\", \"*\"]}}\n"
    );
    let errors = errors(&text);
    for expected in [
        "t.yaml:3:16: deny_response: expected problem, kubernetes_status, text, git, or the tool's own",
        "t.yaml:6:11: actions[0].effect: \"reed\" is not known; did you mean `read`?",
        "t.yaml:7:19: actions[0].match.method: \"get\" is no method, in upper case",
        "actions[0].match.path: \"a\" must start with `/`",
        "actions[0].decode: \"jsn\" is not known; did you mean `json`?",
        "t.yaml:10:3: actions[1].efect: unknown key; did you mean `effect`?",
        "actions[2].match.path: \"/{x}y\": a variable must be a whole segment",
        "actions[2].params.p.pointer: \"x\" is no JSON Pointer",
        "actions[2].params.q: a parameter is read from exactly one of",
        "actions[2]: no path has the variable \"no\"",
        "actions[3]: something is read from the body, but `decode` doesn't say how",
        "actions[3]: only a GET or HEAD that reads can be a companion, or a POST whose body says that it does",
        "companions: a companion has an exact depth",
        "cases[0]: `request` is missing",
        "route.hosts: \"a*b\" is no host",
        "route.hosts: \"*\" is no host",
    ] {
        assert!(errors.contains(expected), "{expected}\nin:\n{errors}");
    }
}

#[test]
fn two_tools_cant_be_on_the_same_host() {
    let tool = |name: &str, host: &str| Source {
        file: format!("{name}.yaml"),
        text: format!("apiVersion: aegis/v1\ntool: {name}\nroute: {{hosts: [\"{host}\"]}}\nactions: []\n"),
    };
    assert!(Catalogue::load(&[tool("a", "*.acme.io"), tool("b", "api.acme.io")], None).is_err());
    assert!(Catalogue::load(&[tool("a", "*.acme.io"), tool("b", "*.api.acme.io")], None).is_err());
    assert!(Catalogue::load(&[tool("a", "*.acme.io"), tool("b", "acme.io")], None).is_ok());
}

#[test]
fn the_listing_names_every_tool_once() {
    let catalogue = catalogue("");
    let listing = catalogue.tools();
    let names: Vec<&str> = listing.iter().map(|tool| tool.tool.as_str()).collect();
    assert!(names.is_sorted() && names.contains(&"http"), "{names:?}");
    let kubernetes = names.iter().position(|name| *name == "kubernetes").expect("it is built in");
    assert!(
        listing[kubernetes]
            .actions
            .iter()
            .any(|action| action.action == "scale" && action.classes == ["deploy", "scale"])
    );
    assert!(listing[kubernetes].actions.iter().all(|action| action.action != "unknown"));
    assert_eq!(catalogue.deny_shape("kubernetes"), DenyShape::KubernetesStatus);
    assert_eq!(catalogue.deny_shape("nobody"), DenyShape::Problem);
    assert!(catalogue.has_tool("http") && catalogue.has_tool("kubernetes") && !catalogue.has_tool("nobody"));
}

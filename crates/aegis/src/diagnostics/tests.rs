use aegis_core::document::{Diagnostic, Place};

use super::{render, summary};
use crate::style::Style;

#[test]
fn the_line_and_a_caret_under_the_place() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("p.yaml");
    std::fs::write(&file, "agent: a\nactions:\n  - name: deploy\n    max_replica: 50\n").expect("written");
    let name = file.display().to_string();
    let diagnostic = Diagnostic::error(&name, Place { line: 4, column: 5 }, "actions[0].max_replica", "unknown key")
        .suggest(Some("did you mean `max_replicas`?"));
    let expected = format!(
        "error: actions[0].max_replica: unknown key\n --> {name}:4:5\n  |\n4 |     max_replica: 50\n  |     ^\n  = help: did you mean `max_replicas`?\n\n"
    );
    assert_eq!(render(std::slice::from_ref(&diagnostic), Style::plain()), expected);
    assert!(render(std::slice::from_ref(&diagnostic), Style::coloured()).contains("\u{1b}["));
    assert_eq!(summary(&[diagnostic.clone(), diagnostic.warning()]), "1 error, 1 warning");
}

#[test]
fn a_line_with_a_credential_is_not_repeated_and_a_missing_file_is_no_trouble() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("aegis.yaml");
    std::fs::write(&file, "credential: {bearer: hush}\n").expect("written");
    let at = |file: &str, line| Diagnostic::error(file, Place { line, column: 1 }, "", "wrong");
    assert!(!render(&[at(&file.display().to_string(), 1)], Style::plain()).contains("hush"));
    assert_eq!(render(&[at("/no/such", 3)], Style::plain()), "error: wrong\n --> /no/such:3:1\n\n");
}

#[test]
fn nothing_that_is_shown_moves_the_cursor() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("p.yaml");
    std::fs::write(&file, "agent: a\n\tactins: 5 # \u{1b}[1A\u{202e}\n").expect("written");
    let name = file.display().to_string();
    let diagnostic =
        Diagnostic::error(&name, Place { line: 2, column: 2 }, "k\u{1b}[2Key", "a\u{7}b\nc").suggest(Some("\u{9b}2K"));
    let shown = render(&[diagnostic], Style::plain());
    assert!(shown.chars().all(|letter| !letter.is_control() || matches!(letter, '\n' | '\t')), "{shown:?}");
    assert!(!shown.contains('\u{202e}') && shown.contains("\tactins: 5 # \u{fffd}[1A"), "{shown:?}");
}

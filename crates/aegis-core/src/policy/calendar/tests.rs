use super::{TimeField, TimeValue, Zone};
use crate::policy::{Options, PolicySet, Source};

fn load(text: &str) -> Result<PolicySet, Vec<String>> {
    let source = Source { file: "p.yaml".to_owned(), text: text.to_owned() };
    let errors = |errors: Vec<crate::document::Diagnostic>| errors.iter().map(ToString::to_string).collect();
    PolicySet::load(&[source], Options::default()).map_err(errors)
}

fn refused(head: &str, condition: &str) -> String {
    let text = format!("agent: a\n{head}\nactions: [{{name: b, approval_needed: '{condition}'}}]\n");
    load(&text).err().unwrap_or_default().join("\n")
}

#[test]
fn what_cannot_be_a_zone_or_a_freeze_is_refused_with_its_place_and_what_was_meant() {
    let year_end = "freezes: [{name: year-end, from: 2026-12-20, until: 2027-01-03}]";
    for (head, condition, said) in [
        (
            "timezone: Europe/Berln",
            "true",
            "p.yaml:2:11: timezone: there is no time zone \"Europe/Berln\"; did you mean `Europe/Berlin`?",
        ),
        ("timezone: Berlin", "true", "did you mean `Europe/Berlin`?"),
        ("timezone: xyz", "true", "write a name of the IANA database"),
        ("timezone: +02:00", "true", "there is no time zone"),
        ("timezone: 2", "true", "expected text"),
        (year_end, "\"year-ent\" in time.freezes", "no freeze \"year-ent\"; did you mean \"year-end\"?"),
        (year_end, "\"x\" in time.freezes", "it has year-end"),
        (
            "freezes: [{name: a, from: 2026-12-20, until: 2026-12-20}]",
            "true",
            "p.yaml:2:11: freezes[0]: `until` isn't after `from`",
        ),
        ("freezes: [{name: a, from: 2026-12-20}]", "true", "`until` is missing"),
        (
            "freezes: [{name: a, from: 2026-02-30, until: 2026-03-01}]",
            "true",
            "freezes[0].from: \"2026-02-30\" is neither",
        ),
        ("freezes: [{name: a, from: \"2026-12-20T18:00\", until: 2027-01-01}]", "true", "a time with an offset"),
        ("freezes: [{name: a, from: \"2026-12-20T18:00:00.5Z\", until: 2027-01-01}]", "true", "is neither"),
        ("freezes: [{name: a, from: 20261220, until: 2027-01-01}]", "true", "expected text, found a number"),
        ("freezes: [{name: \"\", from: 2026-12-20, until: 2027-01-01}]", "true", "1 to 64 characters"),
        (
            "freezes: [{name: a, from: 2026-12-20, till: 2027-01-01}]",
            "true",
            "unknown key; valid keys: name, from, until",
        ),
        (
            "freezes: [{name: a, from: 2026-01-01, until: 2026-01-02}, {name: a, from: 2026-01-01, until: 2026-01-02}]",
            "true",
            "there is a freeze \"a\" already",
        ),
    ] {
        let errors = refused(head, condition);
        assert!(errors.contains(said), "{head}: {errors}");
    }
    let many = (0..51).map(|n| format!("{{name: f{n}, from: 2026-01-01, until: 2026-01-02}}")).collect::<Vec<_>>();
    assert!(refused(&format!("freezes: [{}]", many.join(", ")), "true").contains("more than 50 freezes"));
}

#[test]
fn a_freeze_that_is_over_becomes_a_warning() {
    let text = "agent: a\nfreezes:\n  - {name: old, from: 2025-12-20, until: 2026-01-03}\nactions: [{name: b}]\n";
    let at = |now: &str| load(text).expect("loads").as_of(now.parse().expect("a time"));
    assert!(at("2026-01-02T23:59:59Z").warnings().is_empty());
    let warnings: Vec<String> = at("2026-01-03T00:00:00Z").warnings().iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["p.yaml:3:5: freezes: the freeze \"old\" is over since 2026-01-03T00:00:00Z"]);
}

#[test]
fn every_policy_has_its_own_calendar() {
    let text = |other: &str| {
        format!(
            "agent: a\nfreezes: [{{name: x, from: 2026-01-01, until: 2026-01-02}}]\ndeny_if: '\"x\" in time.freezes'\n\
             ---\nagent: b\n{other}deny_if: '\"x\" in time.freezes'\n"
        )
    };
    assert!(load(&text("")).expect_err("refused")[0].contains("the policy has no freeze \"x\""));
    assert!(load(&text("freezes: [{name: x, from: 2027-01-01, until: 2027-01-02}]\n")).is_ok());
}

#[test]
fn time_is_told_in_the_zone() {
    let said = |field: TimeField, now: &str, zone: &str| {
        let zone = Zone::named(zone).expect("a zone");
        match field.at(now.parse().expect("a time"), &zone) {
            TimeValue::Number(number) => number.to_string(),
            TimeValue::Word(word) => word.to_owned(),
            TimeValue::Text(text) => text,
        }
    };
    let all = |now: &str, zone: &str| TimeField::ALL.map(|field| said(field, now, zone)).join(" ");
    assert_eq!(all("2026-12-31T23:30:45.9Z", "Europe/Berlin"), "Fri 0 30 1 1 2027 2027-01-01 1798759845");
    assert_eq!(all("2026-12-31T23:30:45.9Z", "UTC"), "Thu 23 30 31 12 2026 2026-12-31 1798759845");
    assert_eq!(all("2026-06-30T12:00:00Z", "Asia/Kolkata"), "Tue 17 30 30 6 2026 2026-06-30 1782820800");
    assert_eq!(Zone::named("europe/berlin").expect("any case").name(), "Europe/Berlin");
    assert_eq!(Zone::named("UTC").expect("utc"), Zone::default());
}

//! What changes, in words, between what is in force, a version, a bundle and a folder.

use crate::process::{Gateway, json, stdout, text};

const POLICY: &str = "agent: scaler\nactions:\n  - {name: scale, max_replicas: 10}\n";

#[test]
fn what_is_in_force_is_compared_with_the_folder_and_growing_rights_fail_a_check() {
    let gateway = Gateway::start("", &[("p.yaml", POLICY)]);
    let version = gateway.ready["policy_version"].as_str().expect("a version").to_owned();
    let folder = gateway.folder.clone();
    let bundle = folder.path("released.tar.gz");
    let bundle = bundle.to_str().expect("text");
    json(&folder.run(&["policy", "compile", "--out", bundle, "--json"]));
    assert!(gateway.stop());

    let same = folder.json(&["policy", "diff"]);
    assert_eq!(same["changes"], serde_json::json!([]), "{same}");
    folder.change("policies/p.yaml", |text| text.replace("10", "20"));
    for before in [None, Some(version.as_str()), Some(bundle)] {
        let args: Vec<&str> = ["policy", "diff"].into_iter().chain(before).collect();
        let grown = folder.json(&args);
        assert_eq!((&grown["more"], &grown["before"]), (&1.into(), &version.as_str().into()), "{before:?}: {grown}");
        let change = &grown["changes"][0];
        assert_eq!((&change["before"], &change["after"]), (&10.into(), &20.into()), "{change}");
        let checked = folder.run(&[args.as_slice(), &["--exit-code"]].concat());
        assert_eq!(checked.status.code(), Some(1), "{}", text(&checked));
        let words = "scaler may do more in `scale`: replicas up to 20; until now replicas up to 10";
        assert!(stdout(&checked).contains(words), "{}", text(&checked));
    }
    folder.change("policies/p.yaml", |text| text.replace("20", "5"));
    assert_eq!(
        folder.run(&["policy", "diff", bundle, "--exit-code"]).status.code(),
        Some(0),
        "less is no reason to fail"
    );
    assert_eq!(folder.run(&["policy", "diff", "pol_000000000000"]).status.code(), Some(1));
    assert_eq!(folder.run(&["policy", "diff", "nowhere"]).status.code(), Some(2));
}

#[test]
fn a_switched_mode_goes_along_as_it_does_when_the_files_come_into_force() {
    let gateway = Gateway::start("", &[("p.yaml", POLICY)]);
    let folder = &gateway.folder;
    folder.json(&["policy", "mode", "scaler", "shadow"]);
    let same = folder.json(&["policy", "diff"]);
    assert_eq!(same["changes"], serde_json::json!([]), "the folder is as it was, and so is the switch: {same}");
    std::fs::create_dir(folder.path("next")).expect("made");
    std::fs::write(folder.path("next/p.yaml"), POLICY.replace("10", "20")).expect("written");
    let next = folder.path("next");
    let next = next.to_str().expect("text");
    let now = folder.json(&["policy", "status"])["version"].as_str().expect("a version").to_owned();
    let grown = folder.json(&["policy", "diff", &now, next]);
    assert_eq!((&grown["more"], &grown["changes"][0]["mode"]), (&1.into(), &"shadow".into()), "{grown}");
    assert_eq!(
        grown["after"],
        folder.json(&["policy", "publish", next])["version"],
        "what it compared came into force"
    );
}

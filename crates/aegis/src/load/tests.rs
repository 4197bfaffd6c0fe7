use super::sources;

#[test]
fn a_folder_is_its_yaml_json_and_rego_in_order() {
    let dir = tempfile::tempdir().expect("a folder");
    for name in ["b.yaml", "a.json", "c.yml", "d.rego", ".hidden.yaml", "README.md"] {
        std::fs::write(dir.path().join(name), "{}").expect("written");
    }
    let found = sources(&[dir.path().to_owned()], "policies").expect("read");
    let names: Vec<&str> = found.iter().filter_map(|source| source.file.rsplit('/').next()).collect();
    assert_eq!(names, ["a.json", "b.yaml", "c.yml", "d.rego"]);
}

#[test]
fn what_cannot_be_read_is_an_error_and_not_left_out() {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("b.yaml"), [0xff, 0xfe]).expect("written");
    let errors = sources(&[dir.path().to_owned(), "/no/such".into()], "policies").expect_err("refused");
    let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert!(all.iter().any(|error| error.contains("b.yaml:1:1: the file can't be read")), "{all:?}");
    assert!(all.iter().any(|error| error.contains("/no/such:1:1")), "{all:?}");
}

#[test]
fn nothing_that_looks_like_a_policy_is_left_out_silently() {
    let refused = |prepare: &dyn Fn(&std::path::Path)| {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("a.yaml"), "{}").expect("written");
        prepare(dir.path());
        let errors = sources(&[dir.path().to_owned()], "policies").expect_err("refused");
        errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    let dangling = refused(&|dir| std::os::unix::fs::symlink("/no/such", dir.join("b.yaml")).expect("linked"));
    assert!(dangling.contains("b.yaml:1:1: the file can't be read"), "{dangling}");
    let device = refused(&|dir| std::os::unix::fs::symlink("/dev/zero", dir.join("b.yml")).expect("linked"));
    assert!(device.contains("it is no file"), "{device}");
    let cases = refused(&|dir| std::os::unix::fs::symlink("/dev/null", dir.join("b.test.yaml")).expect("linked"));
    assert!(cases.contains("b.test.yaml: it is no file"), "{cases}");
    let below = refused(&|dir| {
        std::fs::create_dir(dir.join("limits")).expect("made");
        std::fs::write(dir.join("limits/b.yaml"), "{}").expect("written");
    });
    assert!(below.contains("limits is a folder in it"), "{below}");
    let upper = tempfile::tempdir().expect("a folder");
    std::fs::write(upper.path().join("LIMITS.YAML"), "{}").expect("written");
    assert_eq!(sources(&[upper.path().to_owned()], "policies").expect("read").len(), 1);
}

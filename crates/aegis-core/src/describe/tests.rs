use super::*;

#[test]
fn built_in_loads() {
    let catalogue = Catalogue::load(&[], None)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    let catalogue = catalogue.unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(catalogue.check().failures, []);
}

use proptest::prelude::*;

use super::Globs;
use crate::policy::condition::Pattern;

fn globs(list: &[String]) -> Globs {
    let mut globs = Globs::default();
    for (position, glob) in list.iter().enumerate() {
        globs.add(glob, Pattern::glob(glob, None).expect("a glob"), position);
    }
    globs
}

#[test]
fn the_list_is_written_in_the_order_of_the_policies() {
    let list = ["z*", "a*", "*", "ab*x"].map(str::to_owned);
    let globs = globs(&list);
    let written = serde_json::to_value(&globs).expect("json");
    let positions: Vec<_> = written.as_array().expect("a list").iter().map(|glob| glob["policy"].clone()).collect();
    assert_eq!(positions, [0, 1, 2, 3]);
    let mut found: Vec<usize> = globs.of("abcx").collect();
    found.sort_unstable();
    assert_eq!(found, [1, 2, 3]);
}

proptest! {
    #[test]
    fn the_index_finds_what_trying_all_finds(
        list in prop::collection::vec("[abé]{0,3}\\*[ab]{0,1}", 0..24),
        agent in "[abcé]{0,6}",
    ) {
        let mut found: Vec<usize> = globs(&list).of(&agent).collect();
        found.sort_unstable();
        let matches = |glob: &String| Pattern::glob(glob, None).expect("a glob").is_match(&agent);
        let all: Vec<usize> = list.iter().enumerate().filter(|(_, glob)| matches(glob)).map(|(at, _)| at).collect();
        prop_assert_eq!(found, all);
    }
}

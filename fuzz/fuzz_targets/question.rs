//! Any bytes as a question of the decision API: read or refused, never a panic; what is read is read again from what it says.
#![no_main]

use std::sync::LazyLock;

use aegis_core::authzen::{Batch, Evaluation, NamedCall, Subject};
use aegis_core::describe::Catalogue;
use libfuzzer_sys::fuzz_target;

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::load(&[], None).expect("the built-in tools load"));

fuzz_target!(|body: &[u8]| {
    for question in questions(body) {
        let members = question.context_members();
        assert_eq!(question.digest(&members), question.clone().digest(&members));
        assert!(question.digest(&members).is_some());
        for subject in [Subject::Itself, Subject::Vouched] {
            let Ok(NamedCall { tool, action, params }) = question.call(subject) else { continue };
            // A call that nothing was done to fits into the question that it came from.
            assert!(question.rewritten(&params, subject).is_some());
            let _ = CATALOGUE.describe_function(&tool, &action, params);
        }
    }
});

fn questions(body: &[u8]) -> Vec<Evaluation> {
    let single = Evaluation::read(body).into_iter();
    match Batch::read(body) {
        Ok(Batch::One(question)) => single.chain([question]).collect(),
        Ok(Batch::Several { questions, .. }) => single.chain(questions.into_iter().flatten()).collect(),
        Err(_) => single.collect(),
    }
}

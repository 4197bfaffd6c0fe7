//! What no new call uses any more is freed by none of the last calls that did: of ten thousand policies that takes a tenth of
//! a second or more, in which an agent would wait for its answer, and every call on the same thread with it.

use std::sync::Arc;
use std::time::Duration;

/// How often it is looked whether the last call has let go.
const EVERY: Duration = Duration::from_millis(50);
/// How often at most: a call is held for a minute or less, and what is still in use then is freed by whoever lets go last.
const TIMES: u32 = 1_800;

/// Frees these on a thread of their own, once nobody else has them.
pub fn retire<T: Send + Sync + 'static>(retired: Vec<Arc<T>>) {
    let wait = move || {
        let mut retired = retired;
        for _ in 0..TIMES {
            retired.retain(|one| Arc::strong_count(one) > 1);
            if retired.is_empty() {
                return;
            }
            std::thread::sleep(EVERY);
        }
    };
    // Without a thread they are freed here and now, or by the last call.
    if let Err(error) = std::thread::Builder::new().name("retire".to_owned()).spawn(wait) {
        tracing::warn!(%error, "no thread to free policies that are no longer in force");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread::ThreadId;

    use super::*;

    /// Tells which thread frees it.
    struct Told(mpsc::Sender<ThreadId>);

    impl Drop for Told {
        fn drop(&mut self) {
            self.0.send(std::thread::current().id()).expect("the test listens");
        }
    }

    #[test]
    fn the_last_call_does_not_free_what_it_was_judged_by() {
        let (freed, by) = mpsc::channel();
        let policies = Arc::new(Told(freed));
        retire(vec![Arc::clone(&policies)]);
        assert!(by.recv_timeout(2 * EVERY).is_err(), "a call still has them");
        drop(policies);
        let thread = by.recv_timeout(Duration::from_secs(20)).expect("they are freed");
        assert_ne!(thread, std::thread::current().id());
    }
}

//! How often: one count per key of a rate limit, in memory.
//!
//! Invariant: bounded. While the counts that still matter fill the room, every call under that quota is over its rate.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aegis_core::decide::OverRate;
use aegis_core::policy::RateLimit;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

/// How many counts are kept per quota: one per agent and rule.
const MOST: usize = 100_000;

type Limiter = DefaultKeyedRateLimiter<String>;

/// The counts, by quota; all limits of one quota share a limiter, each under its own key.
#[derive(Default)]
pub(super) struct Rates {
    clock: DefaultClock,
    limiters: Mutex<HashMap<(Duration, NonZeroU32), Arc<Limiter>>>,
}

impl Rates {
    /// Counts one call under each limit, and says which it is over.
    pub(super) fn over(&self, limits: Vec<RateLimit>) -> Vec<OverRate> {
        let over = |limit: RateLimit| self.wait(&limit).map(|retry_after| OverRate { limit, retry_after });
        limits.into_iter().filter_map(over).collect()
    }

    /// Seconds until a call would pass; `None` when this one does.
    fn wait(&self, limit: &RateLimit) -> Option<u64> {
        let window = limit.per_ms.div_ceil(1000).max(1);
        let Some(quota) = quota(limit) else { return Some(window) };
        let limiter = self.limiter(quota);
        if limiter.len() >= MOST {
            limiter.retain_recent();
            if limiter.len() >= MOST {
                return Some(window);
            }
        }
        let until = limiter.check_key(&limit.key).err()?;
        let wait = until.wait_time_from(self.clock.now());
        Some((wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1))
    }

    /// The limiter of a quota. Quotas of earlier policy versions go once nobody is under them any more.
    fn limiter(&self, quota: Quota) -> Arc<Limiter> {
        let mut limiters = self.limiters.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (quota.replenish_interval(), quota.burst_size());
        if !limiters.contains_key(&key) {
            limiters.retain(|_, limiter| {
                limiter.retain_recent();
                !limiter.is_empty()
            });
        }
        Arc::clone(limiters.entry(key).or_insert_with(|| Arc::new(RateLimiter::keyed(quota))))
    }
}

/// `None` for a limit that lets nothing pass.
fn quota(limit: &RateLimit) -> Option<Quota> {
    let calls = NonZeroU32::new(limit.limit)?;
    let burst = NonZeroU32::new(limit.burst).unwrap_or(NonZeroU32::MIN);
    let period = (Duration::from_millis(limit.per_ms) / calls.get()).max(Duration::from_nanos(1));
    Some(Quota::with_period(period)?.allow_burst(burst))
}

#[cfg(test)]
mod tests {
    use aegis_core::policy::Mode;

    use super::*;

    fn limit(key: &str, limit: u32, burst: u32) -> RateLimit {
        RateLimit { key: key.to_owned(), policy: "p".to_owned(), limit, per_ms: 60_000, burst, mode: Mode::Enforce }
    }

    #[test]
    fn a_burst_passes_and_the_next_call_waits() {
        let rates = Rates::default();
        let six = limit("a", 6, 2);
        assert!(rates.over(vec![six.clone()]).is_empty());
        assert!(rates.over(vec![six.clone()]).is_empty());
        let over = rates.over(vec![six]);
        assert_eq!(over.first().map(|over| over.retry_after), Some(10));
    }

    #[test]
    fn keys_are_counted_apart_and_nothing_is_over_a_rate_of_nothing() {
        let rates = Rates::default();
        assert!(rates.over(vec![limit("a", 6, 1), limit("b", 6, 1)]).is_empty());
        assert_eq!(rates.over(vec![limit("a", 6, 1), limit("c", 6, 1)]).len(), 1);
        assert_eq!(rates.over(vec![limit("d", 0, 1)]).first().map(|over| over.retry_after), Some(60));
    }
}

//! Who asks, and how much they may: counts that outlive a reload of the tokens.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::engine::{Class, Share};
use crate::meter::Counter;

const DAY: u64 = 86_400;

/// When to retry where calls at once are what is limited: nobody knows when one ends.
const BUSY: Duration = Duration::from_secs(1);

/// The next principal's number.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// What one principal may use; no bound where there is none.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Limits {
    /// Calls a second on average; as many may come at once.
    pub requests_per_second: Option<f64>,
    /// Calls at once.
    pub concurrent: Option<usize>,
    /// Comments a day (UTC).
    pub comments_per_day: Option<u64>,
    /// Part of the engine's time beside other principals, where several wait; 1 if not given.
    pub weight: Option<f64>,
}

/// A limit that a call would exceed.
#[derive(Debug, Clone, PartialEq)]
pub struct Exceeded {
    /// Reason for `ErrorInfo`.
    pub reason: &'static str,
    /// The limit, in words.
    pub limit: String,
    /// When there is room again.
    pub retry_after: Duration,
}

/// Somebody with a name, whatever token or certificate they show.
#[derive(Debug)]
pub struct Principal {
    name: String,
    /// Its number among the engine's callers; 0 stands for callers without a name.
    number: u64,
    used: Mutex<Used>,
    calls: Counter,
    comments: Counter,
}

#[derive(Debug, Default)]
struct Used {
    running: usize,
    /// Calls that may come now, and since when that is so.
    allowance: Option<(f64, Instant)>,
    day: u64,
    comments: u64,
}

impl Principal {
    /// Who has used nothing yet.
    pub fn new(name: &str) -> Arc<Self> {
        let (calls, comments) = (Counter::default(), Counter::default());
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self { name: name.to_owned(), number, used: Mutex::default(), calls, comments })
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it used since the server's start.
    pub fn used_in_all(&self) -> PrincipalUse {
        let (calls, comments) = (self.calls.get(), self.comments.get());
        PrincipalUse { name: self.name.clone(), calls, comments }
    }

    /// Begins a call.
    ///
    /// # Errors
    /// [`Exceeded`].
    pub fn enter(self: &Arc<Self>, limits: Limits, now: Instant) -> Result<Admitted, Exceeded> {
        let mut used = self.used();
        if let Some(most) = limits.concurrent.filter(|most| used.running >= *most) {
            let limit = format!("{most} calls at once");
            return Err(Exceeded { reason: "TOO_MANY_CALLS", limit, retry_after: BUSY });
        }
        if let Some(rate) = limits.requests_per_second {
            let burst = rate.max(1.0);
            let (had, since) = used.allowance.unwrap_or((burst, now));
            let has = (had + rate * now.saturating_duration_since(since).as_secs_f64()).min(burst);
            if has < 1.0 {
                used.allowance = Some((has, now));
                let retry_after = Duration::from_secs_f64(((1.0 - has) / rate).min(DAY as f64));
                let limit = format!("{rate} calls per second");
                return Err(Exceeded { reason: "TOO_MANY_REQUESTS", limit, retry_after });
            }
            used.allowance = Some((has - 1.0, now));
        }
        used.running += 1;
        self.calls.one();
        Ok(Admitted(Arc::new(Inside { principal: self.clone(), limits })))
    }

    /// Counts are right even after a panic: each change is complete under the lock.
    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How much one principal used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrincipalUse {
    /// Name in the tokens file.
    pub name: String,
    /// Calls let in.
    pub calls: u64,
    /// Comments taken.
    pub comments: u64,
}

/// A call that was let in. Its place is free again when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Admitted(Arc<Inside>);

#[derive(Debug)]
struct Inside {
    principal: Arc<Principal>,
    limits: Limits,
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.principal.used().running -= 1;
    }
}

impl Admitted {
    /// Whose call it is.
    pub fn name(&self) -> &str {
        self.0.principal.name()
    }

    /// What part of the engine's time the call's jobs get.
    pub fn share(&self, class: Class) -> Share {
        Share { class, caller: self.0.principal.number, weight: self.0.limits.weight.unwrap_or(1.0) }
    }

    /// Counts comments of the call.
    ///
    /// # Errors
    /// [`Exceeded`]; none is counted then.
    pub fn spend(&self, comments: usize) -> Result<(), Exceeded> {
        self.spend_at(comments, SystemTime::now())?;
        self.0.principal.comments.add(comments as u64);
        Ok(())
    }

    fn spend_at(&self, comments: usize, now: SystemTime) -> Result<(), Exceeded> {
        let Some(most) = self.0.limits.comments_per_day else { return Ok(()) };
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut used = self.0.principal.used();
        if used.day != seconds / DAY {
            (used.day, used.comments) = (seconds / DAY, 0);
        }
        let after = used.comments.saturating_add(comments as u64);
        if after > most {
            let limit = format!("{most} comments per day");
            let retry_after = Duration::from_secs(DAY - seconds % DAY);
            return Err(Exceeded { reason: "TOO_MANY_COMMENTS", limit, retry_after });
        }
        used.comments = after;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_at_once_are_bounded_and_come_back() {
        let (principal, now) = (Principal::new("a"), Instant::now());
        let limits = Limits { concurrent: Some(2), ..Limits::default() };
        let first = principal.enter(limits, now).unwrap();
        let _second = principal.enter(limits, now).unwrap();
        let copy = first.clone();
        drop(first);
        assert_eq!(principal.enter(limits, now).unwrap_err().reason, "TOO_MANY_CALLS");
        drop(copy);
        principal.enter(limits, now).unwrap();
    }

    #[test]
    fn calls_a_second_are_bounded_and_the_wait_is_right() {
        let (principal, begun) = (Principal::new("a"), Instant::now());
        let limits = Limits { requests_per_second: Some(4.0), ..Limits::default() };
        let check = |after: u64, expect: Option<u64>| {
            let refused = principal.enter(limits, begun + Duration::from_millis(after)).err();
            assert_eq!(refused.map(|e| e.retry_after), expect.map(Duration::from_millis), "after {after} ms");
        };
        for _ in 0..4 {
            check(0, None);
        }
        check(0, Some(250));
        check(125, Some(125));
        check(250, None);
        check(250, Some(250));
        // A long pause saves up one second's calls, not more.
        for _ in 0..4 {
            check(60_000, None);
        }
        check(60_000, Some(250));
    }

    #[test]
    fn comments_a_day_are_bounded_until_midnight() {
        let limits = Limits { comments_per_day: Some(1_000), ..Limits::default() };
        let admitted = Principal::new("a").enter(limits, Instant::now()).unwrap();
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        admitted.spend_at(999, at(10 * DAY)).unwrap();
        let refused = admitted.spend_at(2, at(10 * DAY + DAY / 2)).unwrap_err();
        assert_eq!((refused.reason, refused.retry_after.as_secs()), ("TOO_MANY_COMMENTS", DAY / 2));
        admitted.spend_at(1, at(11 * DAY - 1)).unwrap();
        admitted.spend_at(1_000, at(11 * DAY)).unwrap();
    }
}

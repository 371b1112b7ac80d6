//! How long to wait for the hub, and how often to ask again.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::thread;
use std::time::Duration;

/// How long to wait for the hub, and how often to ask again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patience {
    /// Maximum time to find the hub's address, and again to connect.
    pub connect: Duration,
    /// Maximum time from a request to the end of the response's headers.
    pub first_byte: Duration,
    /// Maximum time in which a body may bring nothing.
    pub stall: Duration,
    /// Number of times that a request is repeated when it brings nothing.
    pub retries: u32,
    /// Wait before the first repetition; doubled for each further one.
    pub first_wait: Duration,
    /// Longest wait that a hub's `Retry-After` may ask for.
    pub longest_wait: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(20),
            stall: Duration::from_secs(20),
            retries: 3,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(60),
        }
    }
}

/// Why there is no further try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoTry {
    /// All tries are used up.
    UsedUp,
    /// The hub asks to wait longer than is allowed: this long.
    TooLong(Duration),
}

/// The tries of one request or download.
#[derive(Debug)]
pub struct Tries<'a> {
    patience: &'a Patience,
    used: u32,
}

impl<'a> Tries<'a> {
    /// All tries left.
    pub fn new(patience: &'a Patience) -> Self {
        Self { patience, used: 0 }
    }

    /// Starts anew, because something came.
    pub fn reset(&mut self) {
        self.used = 0;
    }

    /// Uses up `n` tries.
    pub fn spend(&mut self, n: u32) {
        self.used += n;
    }

    /// How long to wait before the next try: as long as the hub asked for, or twice as long as last time, and up to
    /// half as much again, so that clients that failed together don't come back together.
    ///
    /// # Errors
    /// [`NoTry`].
    pub fn next_wait(&mut self, asked: Option<Duration>) -> Result<Duration, NoTry> {
        if self.used >= self.patience.retries {
            return Err(NoTry::UsedUp);
        }
        if let Some(asked) = asked.filter(|asked| *asked > self.patience.longest_wait) {
            return Err(NoTry::TooLong(asked));
        }
        let doubled = self.patience.first_wait.saturating_mul(1 << self.used.min(16));
        self.used += 1;
        let wait = asked.unwrap_or(doubled.min(self.patience.longest_wait));
        Ok(wait + wait.mul_f64(random() / 2.0))
    }

    /// Waits for the next try.
    ///
    /// # Errors
    /// [`NoTry`].
    pub fn wait(&mut self, asked: Option<Duration>) -> Result<(), NoTry> {
        self.next_wait(asked).map(thread::sleep)
    }
}

/// A number from 0 to 1, good enough to spread clients.
fn random() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 11;
    bits as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_end() {
        let patience = Patience { first_wait: Duration::from_secs(1), retries: 3, ..Patience::default() };
        let mut tries = Tries::new(&patience);
        for seconds in [1.0, 2.0, 4.0] {
            let wait = tries.next_wait(None).unwrap().as_secs_f64();
            assert!((seconds..=seconds * 1.5).contains(&wait), "{wait} s instead of {seconds}");
        }
        assert_eq!(tries.next_wait(None), Err(NoTry::UsedUp));
        tries.reset();
        assert!(tries.next_wait(None).is_ok());
    }

    #[test]
    fn the_hub_may_ask_for_a_minute_and_no_more() {
        let patience = Patience::default();
        let asked = |seconds| Tries::new(&patience).next_wait(Some(Duration::from_secs(seconds)));
        assert!(asked(60).is_ok_and(|wait| wait >= Duration::from_secs(60)));
        assert_eq!(asked(61), Err(NoTry::TooLong(Duration::from_secs(61))));
        assert!(asked(u64::MAX).is_err());
    }

    #[test]
    fn clients_that_failed_together_do_not_come_back_together() {
        let patience = Patience::default();
        let waits: Vec<Duration> = (0..8).map(|_| Tries::new(&patience).next_wait(None).unwrap()).collect();
        assert!(waits.iter().any(|wait| *wait != waits[0]), "{waits:?}");
    }
}

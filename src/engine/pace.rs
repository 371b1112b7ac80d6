//! How many tokens a step may have while streams run, so that it stays within its target time.

use std::time::Duration;

/// Fewer tokens than this tell nothing of the speed: such a step is bound by reading the weights.
const TELLING_STEP: usize = 16;
/// Weight of the newest measurement.
const NEWEST: f64 = 0.3;

/// Measures the speed of steps.
#[derive(Debug, Clone)]
pub struct Pace {
    target: Duration,
    seconds_per_token: Option<f64>,
}

impl Pace {
    /// Steps should last no longer than `target` while streams run.
    pub fn new(target: Duration) -> Self {
        Self { target, seconds_per_token: None }
    }

    /// A step of `tokens` took `elapsed`.
    pub fn record(&mut self, tokens: usize, elapsed: Duration) {
        if tokens < TELLING_STEP {
            return;
        }
        let new = elapsed.as_secs_f64() / tokens as f64;
        self.seconds_per_token = Some(match self.seconds_per_token {
            Some(old) => old + NEWEST * (new - old),
            None => new,
        });
    }

    /// Tokens that fit a step; 0 while nothing is known.
    pub fn step_tokens(&self) -> usize {
        match self.seconds_per_token {
            Some(s) if s > 0.0 => (self.target.as_secs_f64() / s) as usize,
            _ => 0,
        }
    }

    /// How long `tokens` take.
    pub fn time_for(&self, tokens: usize) -> Duration {
        Duration::from_secs_f64(self.seconds_per_token.unwrap_or(0.0) * tokens as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_follow_the_measured_speed() {
        let mut pace = Pace::new(Duration::from_millis(200));
        assert_eq!(pace.step_tokens(), 0, "nothing is known yet");
        pace.record(100, Duration::from_millis(200));
        assert_eq!(pace.step_tokens(), 100);
        pace.record(4, Duration::from_millis(100));
        assert_eq!(pace.step_tokens(), 100, "four tokens tell nothing");
        for _ in 0..20 {
            pace.record(100, Duration::from_millis(400));
        }
        assert!((50..=51).contains(&pace.step_tokens()));
        assert!(pace.time_for(100) > Duration::from_millis(390));
    }
}

//! How far a long run is: a bar on a terminal, else a line now and then.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use super::out::tell;

/// Time between two lines.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// The bar of comments that are answered.
pub fn bar(total: u64) -> ProgressBar {
    ProgressBar::new(total).with_style(style())
}

fn style() -> ProgressStyle {
    let speed = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        // A bar that cannot be drawn is no reason to stop.
        let _ = write!(out, "{:.1}", state.per_sec());
    };
    ProgressStyle::with_template("{bar:30} {pos}/{len} comments, {speed} comments/s, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("speed", speed)
}

/// Answers as they come.
pub struct Progress {
    total: u64,
    done: u64,
    new: u64,
    begun: Instant,
    said: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Of `total` comments.
    pub fn new(total: u64) -> Self {
        let now = Instant::now();
        let bar = std::io::stderr().is_terminal().then(|| bar(total));
        Self { total, done: 0, new: 0, begun: now, said: now, bar }
    }

    /// An answer: a new one, or one of an earlier run.
    pub fn answer(&mut self, is_new: bool) {
        self.done += 1;
        self.new += u64::from(is_new);
        match &self.bar {
            Some(bar) if is_new => bar.inc(1),
            // What was there already says nothing of the speed.
            Some(bar) => {
                bar.inc(1);
                bar.reset_eta();
            }
            None if self.said.elapsed() >= LINE_EVERY => {
                self.said = Instant::now();
                tell(format_args!("{}", self.line()));
            }
            None => {}
        }
    }

    fn line(&self) -> String {
        let rate = self.new as f64 / self.begun.elapsed().as_secs_f64().max(1e-9);
        let left = (self.total.saturating_sub(self.done)) as f64 / rate.max(1e-9);
        let left = if self.new == 0 { String::new() } else { format!(", {} left", time(left)) };
        format!("{} of {} comments, {rate:.1} comments/s{left}", self.done, self.total)
    }

    /// Answers so far: all, and of them the new ones.
    pub fn counts(&self) -> (u64, u64) {
        (self.done, self.new)
    }

    /// Takes the bar away.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A time in its two greatest units.
fn time(seconds: f64) -> String {
    let s = seconds.min(1e9) as u64;
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        _ => format!("{} h {} min", s / 3600, s / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        let check = |seconds, expect| assert_eq!(time(seconds), expect);
        check(0.4, "0 s");
        check(59.9, "59 s");
        check(61.0, "1 min 1 s");
        check(7_384.0, "2 h 3 min");
        check(f64::INFINITY, "277777 h 46 min");
    }
}

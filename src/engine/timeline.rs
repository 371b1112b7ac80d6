//! A job's moments and tokens, for a caller who follows it. The engine writes them, and never waits to.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::share::Class;

/// Each number is read on its own.
const ORDER: Ordering = Ordering::Relaxed;

/// A job's course so far.
#[derive(Debug)]
pub struct Timeline {
    class: Class,
    begun: Instant,
    started: OnceLock<Instant>,
    prefilled: OnceLock<Instant>,
    ended: OnceLock<Instant>,
    prompt_tokens: AtomicUsize,
    cached_tokens: AtomicUsize,
    generated_tokens: AtomicUsize,
}

impl Timeline {
    /// A job of this class is let in now.
    pub(super) fn new(class: Class) -> Self {
        Self {
            class,
            begun: Instant::now(),
            started: OnceLock::new(),
            prefilled: OnceLock::new(),
            ended: OnceLock::new(),
            prompt_tokens: AtomicUsize::new(0),
            cached_tokens: AtomicUsize::new(0),
            generated_tokens: AtomicUsize::new(0),
        }
    }

    /// How urgent the job is.
    pub fn class(&self) -> Class {
        self.class
    }

    /// When the job was let in.
    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// When its first step began.
    pub fn started(&self) -> Option<Instant> {
        self.started.get().copied()
    }

    /// When its prompt was computed, with its labels.
    pub fn prefilled(&self) -> Option<Instant> {
        self.prefilled.get().copied()
    }

    /// When it ended, well or not.
    pub fn ended(&self) -> Option<Instant> {
        self.ended.get().copied()
    }

    /// Tokens of its prompt; 0 before its first step.
    pub fn prompt_tokens(&self) -> usize {
        self.prompt_tokens.load(ORDER)
    }

    /// Of these, tokens that were not computed for it.
    pub fn cached_tokens(&self) -> usize {
        self.cached_tokens.load(ORDER)
    }

    /// Tokens generated so far.
    pub fn generated_tokens(&self) -> usize {
        self.generated_tokens.load(ORDER)
    }

    /// The first step begins, after the job waited this long. A moment counts once.
    pub(super) fn start(&self, waited: Duration) {
        self.started.get_or_init(|| self.begun + waited);
    }

    pub(super) fn read(&self, prompt_tokens: usize, cached_tokens: usize) {
        self.prompt_tokens.store(prompt_tokens, ORDER);
        self.cached_tokens.store(cached_tokens, ORDER);
    }

    pub(super) fn prefill(&self, now: Instant) {
        self.prefilled.get_or_init(|| now);
    }

    pub(super) fn generate(&self) {
        self.generated_tokens.fetch_add(1, ORDER);
    }

    pub(super) fn end(&self) {
        self.ended.get_or_init(Instant::now);
    }
}

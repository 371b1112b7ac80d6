//! Answers to exact repeats, without the engine: a bounded memory of what was scored, in which
//! requests that ask the same at the same time wait for one of them.
//!
//! A key is the SHA-256 of the normalised comment, title and summary, so an entry's size does not
//! depend on theirs, and two inputs with one key are not to be expected, even from a caller who looks
//! for them. Model and profile are not in the key: a process has one of each.

use std::time::Instant;

use quick_cache::sync::{Cache, DefaultLifecycle, PlaceholderGuard};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, UnitWeighter};
use sha2::{Digest as _, Sha256};

use super::input::Input;
use crate::engine::EngineError;
use crate::meter::Counter;

/// Bytes that an answer takes: 80 in the cache's slab, the rest in its index, whose size doubles.
/// A test holds this against what the cache says of itself.
const ANSWER_BYTES: usize = 96;

type Key = [u8; 32];
type Answers = Cache<Key, Answer>;
type Guard<'a> =
    PlaceholderGuard<'a, Key, Answer, UnitWeighter, DefaultHashBuilder, DefaultLifecycle<Key, Answer>>;

/// What is kept of an answer. The verdict follows from it and the profile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answer {
    /// ln P(label | prompt), in nats.
    pub log_probs: [f64; 3],
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
}

/// Remembers answers, the ones asked for again longest.
pub struct AnswerCache {
    answers: Answers,
    hits: Counter,
    misses: Counter,
}

/// What the cache knows of an input.
pub enum Lookup<'a> {
    /// Its answer.
    Known(Answer),
    /// Nothing: the caller is to compute the answer, and those who ask the same wait for it.
    Unknown(Place<'a>),
}

/// The place of an answer that is being computed. Dropping it unfilled (the work failed, or its caller
/// hung up) hands it to one of those who wait.
pub struct Place<'a>(Guard<'a>);

impl AnswerCache {
    /// Keeps answers in at most `bytes`; `None` if not one fits.
    pub fn new(bytes: usize) -> Option<Self> {
        let capacity = bytes / ANSWER_BYTES;
        let mut options = OptionsBuilder::new();
        options.estimated_items_capacity(capacity).weight_capacity(capacity as u64);
        // No memory of what was evicted: it would take an answer's bytes for each.
        options.ghost_allocation(0.0);
        let options = options.build().ok().filter(|_| capacity > 0)?;
        let (weighter, hasher) = (UnitWeighter, DefaultHashBuilder::default());
        let answers = Cache::with_options(options, weighter, hasher, DefaultLifecycle::default());
        Some(Self { answers, hits: Counter::default(), misses: Counter::default() })
    }

    /// Returns the answer to `input`, waiting if another request is computing it, or else the slot to fill.
    ///
    /// # Errors
    /// [`EngineError::DeadlineExceeded`] if `deadline` passes while another computes.
    pub async fn lookup(&self, input: &Input, deadline: Option<Instant>) -> Result<Lookup<'_>, EngineError> {
        let key = key(input);
        let found = self.answers.get_value_or_guard_async(&key);
        let found = match deadline {
            None => found.await,
            Some(deadline) => {
                let late = |_| EngineError::DeadlineExceeded;
                tokio::time::timeout_at(deadline.into(), found).await.map_err(late)?
            }
        };
        Ok(match found {
            Ok(answer) => {
                self.hits.one();
                Lookup::Known(answer)
            }
            Err(guard) => {
                self.misses.one();
                Lookup::Unknown(Place(guard))
            }
        })
    }

    /// Whether the answer is there.
    pub fn knows(&self, input: &Input) -> bool {
        self.answers.contains_key(&key(input))
    }

    /// Lookups that found an answer, and those that found none.
    pub fn lookups(&self) -> (u64, u64) {
        (self.hits.get(), self.misses.get())
    }
}

impl Place<'_> {
    /// Gives the answer to all who wait for it, and keeps it.
    pub fn fill(self, answer: Answer) {
        // Nothing removes a place but its own drop, so it is still there.
        let _ = self.0.insert(answer);
    }
}

/// Each text is preceded by its length, so that no two inputs are the same bytes.
fn key(input: &Input) -> Key {
    let (title, summary) =
        input.video.as_ref().map_or(("", ""), |video| (video.title.as_str(), video.summary.as_str()));
    let mut hash = Sha256::new();
    for text in [input.comment.as_str(), title, summary] {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentiment::input::RawInput;

    fn input(comment: &str, title: &str, summary: &str) -> Input {
        Input::new(RawInput { comment, video_id: "", title, summary }).unwrap()
    }

    #[test]
    fn texts_make_the_key_and_nothing_else() {
        let check = |a: Input, b: Input, same: bool| assert_eq!(key(&a) == key(&b), same, "{a:?} {b:?}");
        let plain = || input("좋아요", "", "");
        check(plain(), input("  좋아요 ", " ", "\n"), true);
        // Decomposed (NFD) and composed (NFC).
        check(plain(), input("\u{110c}\u{1169}\u{11c2}\u{110b}\u{1161}\u{110b}\u{116d}", "", ""), true);
        check(plain(), input("좋아요!", "", ""), false);
        check(plain(), input("좋아요", "제목", ""), false);
        check(input("네", "가", ""), input("네", "", "가"), false);
        check(input("네", "가나", "다"), input("네", "가", "나다"), false);
        let with_id = RawInput { comment: "좋아요", video_id: "v1", ..RawInput::default() };
        check(plain(), Input::new(with_id).unwrap(), true);
    }

    #[tokio::test]
    async fn memory_stays_within_its_bound() {
        for bytes in [1 << 16, 1 << 20, 3 << 20] {
            let cache = AnswerCache::new(bytes).unwrap();
            assert!(cache.answers.memory_used().total() < bytes / 8, "an empty cache takes no memory");
            let fits = bytes / ANSWER_BYTES;
            for i in 0..4 * fits {
                let answer = Answer { log_probs: [i as f64; 3], prompt_tokens: i };
                let comment = input(&i.to_string(), "", "");
                match cache.lookup(&comment, None).await.unwrap() {
                    Lookup::Unknown(place) => place.fill(answer),
                    Lookup::Known(_) => panic!("{i} was never asked"),
                }
                let used = cache.answers.memory_used().total();
                assert!(used <= bytes, "{used} of {bytes} after {i}");
            }
            assert!(cache.answers.len() >= fits * 9 / 10, "{} of {fits} are kept", cache.answers.len());
        }
        assert!(AnswerCache::new(0).is_none());
    }

    #[tokio::test]
    async fn what_is_asked_for_again_stays() {
        let cache = AnswerCache::new(1 << 16).unwrap();
        let known = |i: usize| {
            let (cache, input) = (&cache, input(&i.to_string(), "", ""));
            async move {
                match cache.lookup(&input, None).await.unwrap() {
                    Lookup::Known(answer) => {
                        assert_eq!(answer.prompt_tokens, i);
                        true
                    }
                    Lookup::Unknown(place) => {
                        place.fill(Answer { log_probs: [0.0; 3], prompt_tokens: i });
                        false
                    }
                }
            }
        };
        assert!(!known(0).await);
        for i in 1..10_000 {
            assert!(!known(i).await);
            assert!(known(0).await, "evicted after {i} others");
        }
    }
}

//! Drafts: guesses of a text's next tokens, which one step checks all at once.
//!
//! No model makes them. A guess is what followed the same few tokens before, in this job's own prompt and text (reasons
//! quote their comment) or in any text of this engine (reasons repeat their phrases). Every source counts how often it was
//! right, also when nothing was drafted, so a draft goes only as far as it is likely to hold.
//!
//! Drafts change speed, never tokens: the scheduler keeps a drafted token only if it is the one that was chosen.

use crate::random::mix;
use crate::text::vocabulary::Token;

/// A token is drafted if the chance that the draft holds up to it is at least this. A row more costs about half of what
/// a row of a small step costs.
const PAYS: f32 = 0.6;
/// Tokens by which a phrase is known.
const CONTEXTS: [usize; 3] = [2, 4, 6];
/// Phrases remembered: 12 bytes each.
const PHRASES: usize = 1 << 15;
/// Tokens of a text that are searched for a repeat.
const SEARCHED: usize = 1024;
/// Tokens of a repeat that are told apart.
const LONGEST_REPEAT: usize = 4;
/// A new text's longest draft.
const FIRST_DRAFT: usize = 4;

/// Parts of a row that each token of text pays in, so that failed drafts cost at most one row in 32.
const ROW: usize = 32;
/// Rows that may fail before any draft has held.
const FIRST_CREDIT: usize = 16 * ROW;
/// Rows that may fail after many have held.
const MOST_CREDIT: usize = 64 * ROW;

/// A text so far, for drafts.
#[derive(Debug, Default)]
pub(super) struct Text {
    /// The job's own prompt and what was written.
    tokens: Vec<Token>,
    /// Tokens of its next draft at most: one more after each right guess, half after a wrong one.
    longest: usize,
}

/// Makes drafts and learns from texts.
pub(super) struct Drafter {
    longest: usize,
    phrases: Vec<Phrase>,
    /// By length of a repeat, how often the text went on as before.
    repeats: [Odds; LONGEST_REPEAT + 1],
    /// Parts of rows that drafts may cost: what fails is at most half of what held, and a share of all
    /// tokens.
    credit: usize,
}

impl Drafter {
    /// Drafts of at most `longest` tokens; 0 turns them off.
    pub fn new(longest: usize) -> Self {
        let phrases = if longest > 0 { vec![Phrase::default(); PHRASES] } else { Vec::new() };
        Self { longest, phrases, repeats: [Odds::default(); LONGEST_REPEAT + 1], credit: FIRST_CREDIT }
    }

    /// A text after these tokens of its prompt.
    pub fn begin(&self, prompt: &[Token]) -> Text {
        let tokens = if self.longest > 0 { prompt.to_vec() } else { Vec::new() };
        Text { tokens, longest: FIRST_DRAFT.min(self.longest) }
    }

    /// Adds tokens that were not chosen by the model.
    pub fn extend(&self, text: &mut Text, tokens: &[Token]) {
        if self.longest > 0 {
            text.tokens.extend(tokens);
        }
    }

    /// Adds a token that the model chose, and learns from it.
    pub fn chose(&mut self, text: &mut Text, token: Token) {
        if self.longest == 0 {
            return;
        }
        self.credit = (self.credit + 1).min(MOST_CREDIT);
        let repeated = repeat(&text.tokens);
        let guess = self.guess(&text.tokens, repeated).filter(|(_, chance)| *chance >= PAYS);
        text.longest = match guess {
            Some((guess, _)) if guess == token => (text.longest + 1).min(self.longest),
            Some(_) => text.longest / 2,
            None => text.longest,
        };
        if let Some((next, length)) = repeated {
            self.repeats[length].note(next == token);
        }
        for key in keys(&text.tokens) {
            self.phrases[place(key)].learn(check(key), token);
        }
        text.tokens.push(token);
    }

    /// Up to `most` tokens that are likely to come next. No text goes on after an end token, so none is drafted.
    pub fn draft(&mut self, text: &mut Text, most: usize, is_end: impl Fn(Token) -> bool) -> Vec<Token> {
        let most = most.min(text.longest).min(self.credit / ROW);
        let written = text.tokens.len();
        let mut chance = 1.0;
        while text.tokens.len() < written + most {
            let Some((token, its_chance)) = self.guess(&text.tokens, repeat(&text.tokens)) else { break };
            chance *= its_chance;
            if chance < PAYS || is_end(token) {
                break;
            }
            text.tokens.push(token);
        }
        text.tokens.split_off(written)
    }

    /// Whether anything is drafted.
    pub fn is_on(&self) -> bool {
        self.longest > 0
    }

    /// So many drafted tokens are computed.
    pub fn computed(&mut self, tokens: usize) {
        self.credit = self.credit.saturating_sub(tokens * ROW);
    }

    /// So many drafted tokens were right.
    pub fn held(&mut self, tokens: usize) {
        self.credit = (self.credit + tokens * ROW * 3 / 2).min(MOST_CREDIT);
    }

    /// The likeliest next token, and its chance. `repeated` is what [`repeat`] finds.
    fn guess(&self, tokens: &[Token], repeated: Option<(Token, usize)>) -> Option<(Token, f32)> {
        let repeated = repeated.map(|(next, length)| (next, self.repeats[length].chance()));
        let known = keys(tokens).map(|key| (key, &self.phrases[place(key)]));
        let known = known.filter(|(key, phrase)| phrase.check == check(*key));
        let guesses = known.map(|(_, phrase)| (phrase.next, phrase.odds.chance())).chain(repeated);
        guesses.max_by(|(_, a), (_, b)| a.total_cmp(b))
    }
}

/// Hashes of the contexts that these tokens end with.
fn keys(tokens: &[Token]) -> impl Iterator<Item = u64> {
    let contexts =
        CONTEXTS.into_iter().filter_map(move |length| Some(&tokens[tokens.len().checked_sub(length)?..]));
    contexts.map(|c| c.iter().fold(c.len() as u64, |key, token| mix(key ^ u64::from(token.unsigned_abs()))))
}

/// Where a context's phrase is kept.
fn place(key: u64) -> usize {
    (key >> 32) as usize % PHRASES
}

/// Tells contexts of one place apart.
fn check(key: u64) -> u32 {
    (key & u64::from(u32::MAX)) as u32
}

/// What followed the longest passage that stands earlier and at the end, at its latest, and that passage's length.
fn repeat(tokens: &[Token]) -> Option<(Token, usize)> {
    let recent = &tokens[tokens.len().saturating_sub(SEARCHED)..];
    let alike = |end: usize| {
        let pairs = recent[..end].iter().rev().zip(recent.iter().rev());
        pairs.take(LONGEST_REPEAT).take_while(|(a, b)| a == b).count()
    };
    let (length, end) = (1..recent.len()).map(|end| (alike(end), end)).max()?;
    (length > 0).then(|| (recent[end], length))
}

/// What follows a context.
#[derive(Debug, Clone, Copy, Default)]
struct Phrase {
    check: u32,
    next: Token,
    odds: Odds,
}

impl Phrase {
    /// `next` followed the context that `check` stands for.
    fn learn(&mut self, check: u32, next: Token) {
        if self.check == check {
            self.odds.note(self.next == next);
            if self.odds.mostly_wrong() {
                (self.next, self.odds) = (next, Odds { right: 1, tries: 2 });
            }
            return;
        }
        // What is seen often outlives a few newcomers.
        self.odds.halve();
        if self.odds.tries == 0 {
            *self = Self { check, next, odds: Odds { right: 1, tries: 1 } };
        }
    }
}

/// How often guesses were right; the latest count most.
#[derive(Debug, Clone, Copy, Default)]
struct Odds {
    right: u8,
    tries: u8,
}

impl Odds {
    fn note(&mut self, right: bool) {
        if self.tries == 64 {
            self.halve();
        }
        self.tries += 1;
        self.right += u8::from(right);
    }

    fn halve(&mut self) {
        self.tries /= 2;
        self.right /= 2;
    }

    /// The chance of the next guess, which one more failure would leave.
    fn chance(self) -> f32 {
        f32::from(self.right) / (f32::from(self.tries) + 1.0)
    }

    fn mostly_wrong(self) -> bool {
        2 * self.right < self.tries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;
    use proptest::prelude::*;

    const END: Token = 0;

    /// What a writer gets who writes `tokens` whatever is drafted: rows that failed and rows that held.
    fn write(drafter: &mut Drafter, prompt: &[Token], tokens: &[Token]) -> (usize, usize) {
        let mut text = drafter.begin(prompt);
        let (mut failed, mut held, mut at) = (0, 0, 0);
        while at < tokens.len() {
            let draft = drafter.draft(&mut text, tokens.len() - at - 1, |token| token == END);
            assert!(!draft.contains(&END));
            drafter.computed(draft.len());
            let right = draft.iter().zip(&tokens[at..]).take_while(|(a, b)| a == b).count();
            drafter.held(right);
            tokens[at..=at + right].iter().for_each(|token| drafter.chose(&mut text, *token));
            (failed, held, at) = (failed + draft.len() - right, held + right, at + right + 1);
        }
        (failed, held)
    }

    #[test]
    fn phrases_are_learned_from_other_texts() {
        let mut drafter = Drafter::new(8);
        let reason: Vec<Token> = (100..140).collect();
        for (seen, least) in [(0, 0), (1, 0), (2, 15), (9, 30)] {
            let mut drafter = Drafter::new(8);
            (0..seen).for_each(|i| _ = write(&mut drafter, &[i], &reason));
            let (failed, held) = write(&mut drafter, &[50], &reason);
            assert!(failed == 0 && held >= least && (seen > 1 || held == 0), "{seen} texts: {held} held");
        }
        // A phrase that goes on in two ways is no guess.
        for i in 0..20 {
            write(&mut drafter, &[], &[1, 2, 3, 4 + i % 2]);
        }
        let mut text = drafter.begin(&[1, 2, 3]);
        assert!(drafter.draft(&mut text, 8, |_| false).is_empty());
    }

    #[test]
    fn comments_are_quoted() {
        let mut drafter = Drafter::new(8);
        let mut held = 0;
        for i in 0..10 {
            // Words that no other text has.
            let comment: Vec<Token> = (0..20).map(|word| 1000 + 100 * i + word).collect();
            let reason = [&[7, 8], &comment[5..15]].concat();
            held = write(&mut drafter, &comment, &reason).1;
        }
        assert!(held >= 4, "{held}");
    }

    #[test]
    fn no_draft_goes_past_its_bounds() {
        let mut drafter = Drafter::new(5);
        let reason: Vec<Token> = (1..40).chain([END]).collect();
        (0..30).for_each(|_| _ = write(&mut drafter, &[], &reason));
        let mut draft = |begun: usize, most| {
            let mut text = drafter.begin(&reason[..begun]);
            text.longest = 5;
            drafter.draft(&mut text, most, |token| token == END).len()
        };
        assert_eq!([draft(6, 3), draft(6, 0), draft(6, 30)], [3, 0, 5]);
        assert_eq!([draft(36, 5), draft(39, 5)], [3, 0], "an end is not drafted");
        let mut off = Drafter::new(0);
        assert_eq!((write(&mut off, &[1], &reason[1..39]), off.phrases.len()), ((0, 0), 0));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        /// Of texts that go now this way and now that, few rows fail beyond those that hold.
        #[test]
        fn failures_are_bounded(seed: u64, tokens in 2..40_usize, turns in 1..30_usize) {
            let (mut random, mut drafter) = (SplitMix64::new(seed), Drafter::new(16));
            let (mut failed, mut held, mut written) = (0, 0, 0);
            for _ in 0..30 {
                let step = 1 + random.below(3);
                let mut token = 0;
                let text: Vec<Token> = (0..40).map(|i| {
                    token = if i % turns == 0 { random.below(tokens) } else { (token + step) % tokens };
                    1 + Token::try_from(token).unwrap()
                }).collect();
                let (f, h) = write(&mut drafter, &[], &text);
                (failed, held, written) = (failed + f, held + h, written + text.len());
            }
            prop_assert!(failed <= held / 2 + 1 + (FIRST_CREDIT + written) / ROW, "{failed} failed, {held} held");
        }
    }
}

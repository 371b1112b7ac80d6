//! Reasons are bound to their verdict: what the model writes names no other sentiment, quotes the comment only as it
//! stands ([`VerbatimQuotes`]), begins a sentence after a space, and ends with one where the next would not fit. Where the
//! profile has endings, a reason is a quotation and one of the verdict's.
//!
//! The text itself stays the model's: of the tokens that it finds probable, the most probable that breaks no rule is
//! taken. That a text keeps these rules says nothing about whether it is a good reason.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use super::endings::Ending;
use super::labels::Sentiment;
use super::profile::Profile;
use super::quotes::VerbatimQuotes;
use super::score::Verdict;
use crate::engine::Guide;
use crate::text::vocabulary::{Token, Vocabulary};

/// Characters that a label has at least to be a word, whose use is telling: `A` is in many words.
const WORD: usize = 2;

/// Bytes of what ends a Korean sentence: a syllable and a full stop.
const SENTENCE_END: usize = 4;

/// Keeps one text to the rules.
#[derive(Clone)]
pub struct ReasonGuide {
    vocabulary: Arc<dyn Vocabulary>,
    profile: Arc<Profile>,
    /// Set when the labels are scored, before the first token is chosen.
    verdict: Arc<OnceLock<Verdict>>,
    quotes: Option<VerbatimQuotes>,
    sentences: Sentences,
    /// What is left of the reason's beginning, where the profile has endings.
    opening: VecDeque<Token>,
    /// What was quoted last, without its marks.
    quoted: Vec<u8>,
    ending: Option<Ending>,
    /// Words that no ending may have, since the comment lacks what they need.
    unbacked: Vec<String>,
    /// The last bytes outside of quotations, as many as a label may begin in or a sentence end with.
    tail: Vec<u8>,
}

/// Where sentences end, and whether another one would fit.
#[derive(Clone)]
struct Sentences {
    end: Token,
    left: usize,
    current: usize,
    longest: usize,
    just_ended: bool,
}

impl ReasonGuide {
    /// For a text about a comment, of at most `max_tokens`, which the token `end` ends. `quotes` guides its quotations.
    pub fn new(
        vocabulary: Arc<dyn Vocabulary>,
        profile: Arc<Profile>,
        verdict: Arc<OnceLock<Verdict>>,
        (comment, quotes): (&str, Option<VerbatimQuotes>),
        (end, max_tokens): (Token, usize),
    ) -> Self {
        let sentences = Sentences { end, left: max_tokens, current: 0, longest: 0, just_ended: false };
        // What ends after its quotation begins with it.
        let begins = profile.answer.endings.is_some() && quotes.is_some();
        let opening = format!(" {}", profile.answer.quotation_mark);
        let opening = if begins { vocabulary.tokenize_text(&opening).into() } else { VecDeque::new() };
        let lacking =
            profile.answer.needs.iter().filter(|(_, marks)| !marks.iter().any(|mark| comment.contains(mark)));
        let unbacked = lacking.map(|(word, _)| word.clone()).collect();
        let (quoted, ending, tail) = (Vec::new(), None, Vec::new());
        Self { vocabulary, profile, verdict, quotes, sentences, opening, quoted, ending, unbacked, tail }
    }

    fn piece(&self, token: Token) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.vocabulary.piece(token, &mut bytes);
        bytes
    }

    fn in_quotation(&self) -> bool {
        self.quotes.as_ref().is_some_and(VerbatimQuotes::in_quotation)
    }

    /// How the text may end after what was quoted; `None` where the profile has no endings.
    fn ending(&self) -> Option<Ending> {
        let (answer, verdict) = (&self.profile.answer, self.verdict.get()?);
        let endings = answer.endings.as_ref()?.get(verdict.sentiment);
        let quoted = String::from_utf8_lossy(&self.quoted);
        let cues = answer.cues.iter().flat_map(|cues| cues.get(verdict.sentiment));
        let decided: Vec<_> =
            cues.filter(|(word, _)| quoted.contains(*word)).map(|(_, ending)| ending.clone()).collect();
        let unsure = answer.unsure.iter().filter(|unsure| verdict.probability() < unsure.below);
        let plain: Vec<_> = unsure.map(|unsure| unsure.ending.clone()).collect();
        let is_backed = |ending: &&String| !self.unbacked.iter().any(|word| ending.contains(word));
        let backed: Vec<_> = endings.iter().filter(is_backed).cloned().collect();
        let of_these =
            [&decided, &plain, &backed, endings].into_iter().find(|endings| !endings.is_empty())?;
        Some(Ending::new(self.vocabulary.as_ref(), of_these, &quoted))
    }

    /// The labels that the text must not name.
    fn others(&self) -> impl Iterator<Item = &str> {
        let verdict = self.verdict.get().map(|verdict| verdict.sentiment);
        let own = verdict.map(|verdict| self.profile.labels.get(verdict).as_str()).unwrap_or_default();
        let others = Sentiment::ALL.into_iter().filter(move |s| verdict.is_some_and(|verdict| verdict != *s));
        others
            .map(|s| self.profile.labels.get(s).as_str())
            .filter(move |label| label.chars().count() >= WORD && !own.contains(label))
    }
}

impl Guide for ReasonGuide {
    fn choices(&self) -> Option<Vec<Token>> {
        if let Some(token) = self.opening.front() {
            return Some(vec![*token]);
        }
        if let Some(ending) = &self.ending {
            return Some(ending.choices(self.sentences.end));
        }
        if self.sentences.is_last() {
            return Some(vec![self.sentences.end]);
        }
        self.quotes.as_ref().and_then(Guide::choices)
    }

    fn refuses(&self, token: Token) -> bool {
        if self.in_quotation() || self.ending.is_some() || !self.opening.is_empty() {
            return false;
        }
        let piece = self.piece(token);
        if ends_in_hangul(&self.tail) && begins_a_word(&piece) {
            return true;
        }
        let text = [self.tail.as_slice(), &piece].concat();
        self.others().any(|label| text.windows(label.len()).any(|part| part == label.as_bytes()))
    }

    fn chose(&mut self, token: Token) {
        self.opening.pop_front();
        let was_quoted = self.in_quotation();
        if let Some(quotes) = &mut self.quotes {
            quotes.chose(token);
        }
        let piece = self.piece(token);
        let is_quoted = was_quoted || self.in_quotation();
        self.sentences.count(&piece, is_quoted);
        if is_quoted {
            self.tail.clear();
            match (was_quoted, self.in_quotation()) {
                (false, _) => self.quoted.clear(),
                (true, true) => self.quoted.extend(piece),
                (true, false) => self.ending = self.ending(),
            }
            return;
        }
        if let Some(ending) = &mut self.ending {
            ending.chose(token);
            return;
        }
        self.tail.extend(piece);
        let labels = Sentiment::ALL.into_iter().map(|s| self.profile.labels.get(s).len());
        let kept = labels.fold(SENTENCE_END, usize::max);
        self.tail.drain(..self.tail.len().saturating_sub(kept));
    }

    fn fork(&self) -> Box<dyn Guide> {
        Box::new(self.clone())
    }
}

/// Whether a Korean sentence ends here: in a syllable and a full stop, which no number has (`3.5`).
fn ends_in_hangul(text: &[u8]) -> bool {
    let end = &text[text.len().saturating_sub(SENTENCE_END)..];
    let syllable = std::str::from_utf8(end).ok().and_then(|end| end.strip_suffix('.')?.chars().next());
    syllable.is_some_and(|c| ('\u{ac00}'..='\u{d7a3}').contains(&c))
}

/// A small model that misses its end goes on without a space, often in another script: `알려 줍니다.้อย`.
fn begins_a_word(piece: &[u8]) -> bool {
    piece.first().is_some_and(|byte| byte.is_ascii_alphanumeric() || !byte.is_ascii())
}

impl Sentences {
    /// Counts a token that was written.
    fn count(&mut self, piece: &[u8], is_quoted: bool) {
        self.left = self.left.saturating_sub(1);
        self.current += 1;
        self.just_ended = !is_quoted && piece.trim_ascii_end().ends_with(b".");
        if self.just_ended {
            self.longest = self.longest.max(self.current);
            self.current = 0;
        }
    }

    /// A sentence has just ended, and one as long as the longest would not fit any more.
    fn is_last(&self) -> bool {
        self.just_ended && self.left < self.longest
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::profile::{DEFAULT_TOML, Labels, Unsure};
    use super::super::prompt::QuotationMark;
    use super::*;
    use crate::text::vocabulary::ByteVocabulary;

    const END: Token = 258;

    fn written(verdict: Sentiment, comment: &str, wish: &str, max_tokens: usize) -> String {
        written_by(Profile::from_toml(DEFAULT_TOML).unwrap(), verdict, comment, wish, max_tokens)
    }

    fn likely(sentiment: Sentiment) -> Verdict {
        let probabilities = Sentiment::ALL.map(|s| if s == sentiment { 0.6 } else { 0.2 });
        Verdict { sentiment, probabilities, log_probs: probabilities.map(f64::ln), abstained: false }
    }

    /// What is written of a wish, byte by byte, up to the end: a refused byte becomes `*`.
    fn written_by(
        profile: Profile,
        verdict: Sentiment,
        comment: &str,
        wish: &str,
        max_tokens: usize,
    ) -> String {
        let profile = Arc::new(profile);
        let mark = QuotationMark { text: "'".to_owned(), token: Token::from(b'\'') };
        let quotes = VerbatimQuotes::new(Arc::new(ByteVocabulary), (mark, 0), comment, "");
        let verdict = Arc::new(OnceLock::from(likely(verdict)));
        let end = (END, max_tokens);
        let mut guide = ReasonGuide::new(Arc::new(ByteVocabulary), profile, verdict, (comment, quotes), end);
        let mut text = Vec::new();
        for byte in wish.bytes().take(max_tokens) {
            let wished = Token::from(byte);
            let token = match guide.choices() {
                Some(choices) if choices == [END] => break,
                Some(choices) if !choices.contains(&wished) => choices[0],
                _ if guide.refuses(wished) => Token::from(b'*'),
                _ => wished,
            };
            guide.chose(token);
            text.push(u8::try_from(token).unwrap());
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    #[test]
    fn a_quotation_is_followed_by_an_ending_of_the_verdict() {
        let mut profile = Profile::from_toml(DEFAULT_TOML).unwrap();
        let endings = |[a, b, c]: [&str; 3]| {
            let one = |text: &str| vec!["라고 적습니다.".to_owned(), text.to_owned()];
            Labels { positive: one(a), neutral: one(b), negative: one(c) }
        };
        profile.answer.quotation_mark = "'".to_owned();
        profile.answer.endings =
            Some(endings(["(이)라며 웃습니다.", "(이)라고 묻습니다.", "(이)라며 나무랍니다."]));
        let cue = |ending: &str| BTreeMap::from([("고맙".to_owned(), ending.to_owned())]);
        let (thanks, none) = (cue("(이)라며 고마워합니다."), BTreeMap::new());
        profile.answer.cues = Some(Labels { positive: thanks, neutral: none.clone(), negative: none });
        let check = |verdict, wish: &str, expect: &str| {
            let text = written_by(profile.clone(), verdict, "정말 좋음 고맙습니다", wish, 1000);
            assert_eq!(text, expect, "{verdict:?} {wish}");
        };
        check(Sentiment::Positive, " '정말 좋음'이라며 웃습니다. 그리고", " '정말 좋음'이라며 웃습니다.");
        check(Sentiment::Neutral, " '좋음'이라며 웃습니다.", " '좋음'이라고 묻습니다.");
        check(Sentiment::Negative, " '좋음'라고 적습니다.", " '좋음'라고 적습니다.");
        check(Sentiment::Positive, " '고맙습니다'라고 적습니다. 많이", " '고맙습니다'라며 고마워합니다.");
        let marks = vec!["ㅋ".to_owned(), "ㅎ".to_owned()];
        profile.answer.needs = BTreeMap::from([("웃습니다".to_owned(), marks)]);
        let laughing = |comment: &str| {
            written_by(profile.clone(), Sentiment::Positive, comment, " '좋음'이라며 웃습니다.", 1000)
        };
        assert_eq!(laughing("좋음 ㅎㅎ"), " '좋음'이라며 웃습니다.");
        assert_eq!(laughing("좋음 !!"), " '좋음'라고 적습니다.");
        let reason = |profile: &Profile, quoted: &str| {
            let wish = format!(" '{quoted}'이라며 웃습니다. 많이");
            written_by(profile.clone(), Sentiment::Positive, "정말 좋음 고맙습니다 ㅎ", &wish, 1000)
        };
        assert_eq!(reason(&profile, "정말"), " '정말'이라며 웃습니다.");
        let close = |below| Some(Unsure { below, ending: "(이)라고 말합니다.".to_owned() });
        profile.answer.unsure = close(0.6);
        assert_eq!(reason(&profile, "정말"), " '정말'이라며 웃습니다.");
        profile.answer.unsure = close(0.7);
        assert_eq!(reason(&profile, "정말"), " '정말'이라고 말합니다.");
        assert_eq!(reason(&profile, "고맙습니다"), " '고맙습니다'라며 고마워합니다.");
        profile.answer.unsure = None;
        // Whatever is wished for, a quotation comes first.
        assert!(
            written_by(profile.clone(), Sentiment::Neutral, "좋음", "제목을 묻습니다.", 1000)
                .starts_with(" '좋음")
        );
    }

    #[test]
    fn no_other_sentiment_is_named() {
        let check = |verdict, wish: &str, expect: &str| {
            assert_eq!(written(verdict, "부정 출발", wish, 1000), expect, "{verdict:?} {wish}");
        };
        let named = "긍정적인 말입니다.";
        check(Sentiment::Positive, named, named);
        // The last byte of the label's last letter is refused.
        assert!(written(Sentiment::Negative, "댓글", named, 1000).starts_with("긍\u{fffd}*적인"));
        assert!(!written(Sentiment::Positive, "댓글", "부정적이고 중립적인 말", 1000).contains("부정"));
        // The comment's own words may be quoted, and don't count.
        check(Sentiment::Positive, "'부정 출발'이라고 합니다.", "'부정 출발'이라고 합니다.");
    }

    #[test]
    fn a_sentence_begins_after_a_space() {
        let check = |wish: &str, expect: &str| {
            assert_eq!(written(Sentiment::Neutral, "댓글", wish, 1000), expect, "{wish}");
        };
        check("묻습니다.x", "묻습니다.*");
        check("묻습니다. 또 묻습니다.", "묻습니다. 또 묻습니다.");
        check("묻습니다.\n또", "묻습니다.\n또");
        check("묻습니다.)", "묻습니다.)");
        check("3.5점이라고 합니다", "3.5점이라고 합니다");
    }

    #[test]
    fn a_korean_sentence_ends_with_a_syllable_and_a_full_stop() {
        let check = |text: &str, expect| assert_eq!(ends_in_hangul(text.as_bytes()), expect, "{text:?}");
        check("묻습니다.", true);
        check("다.", true);
        // One token may hold the space after it.
        check("묻습니다.\n\n", false);
        check("묻습니다. ", false);
        check("3.", false);
        check(".", false);
        check("", false);
    }

    #[test]
    fn a_sentence_that_would_not_fit_is_not_begun() {
        let check = |max_tokens, wish: &str, expect: &str| {
            assert_eq!(written(Sentiment::Neutral, "a", wish, max_tokens), expect, "{max_tokens}");
        };
        check(16, "12345. 1234. 123.", "12345. 1234.");
        check(18, "12345. 1234. 123.", "12345. 1234. 123.");
        // The first sentence may be cut; a quotation's full stop ends none.
        check(4, "12345.", "1234");
        assert_eq!(written(Sentiment::Neutral, "a. b", "'a.' x", 5), "'a.' ");
    }
}

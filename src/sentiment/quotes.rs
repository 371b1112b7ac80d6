//! Reasons quote a comment only as it stands: between quotation marks, the words of the comment alone may
//! be written, from the beginning of a word to the end of one.
//!
//! Small models like to quote what they expect to read. Where the profile names its quotation mark, the
//! next token inside quotes is chosen among those that continue a passage of the comment, or the closing
//! mark. Outside quotes nothing is restricted.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use super::prompt::QuotationMark;
use crate::engine::Guide;
use crate::text::vocabulary::{Token, Vocabulary};

/// Characters after which a quotation ends with the word.
const ENOUGH: usize = 24;

/// Characters after which it ends within a word.
const LONGEST: usize = 48;

/// Words of a comment, its first, that a quotation may begin with: each is tokenised for every request.
const MOST: usize = 200;

/// A token of a passage, and whether the quotation may end after it.
type Step = (Token, bool);

/// Keeps the quotations of one text to the words of one comment.
#[derive(Clone)]
pub struct VerbatimQuotes {
    vocabulary: Arc<dyn Vocabulary>,
    mark: QuotationMark,
    passages: Arc<[Vec<Step>]>,
    state: State,
}

/// Where the text stands.
#[derive(Clone)]
enum State {
    /// Outside of quotation marks.
    Outside,
    /// Between marks that do not hold the comment's words: the label's, which the model itself closes.
    Other,
    /// In a quotation of the comment.
    Quotation(Open),
}

/// A quotation that is being written: the passages that it may become, and its tokens so far.
#[derive(Clone)]
struct Open {
    passages: Vec<usize>,
    written: usize,
}

impl VerbatimQuotes {
    /// For a comment, in an answer that begins with the text `begun`, which may have left a mark open. A quotation has at least
    /// `shortest` characters if any passage has. `None` if the comment has nothing to quote.
    pub fn new(
        vocabulary: Arc<dyn Vocabulary>,
        (mark, shortest): (QuotationMark, usize),
        comment: &str,
        begun: &str,
    ) -> Option<Self> {
        let left_open = begun.matches(&mark.text).count() % 2 == 1;
        let state = if left_open { State::Other } else { State::Outside };
        let found = passages(comment, &mark.text);
        let of_length = |shortest: usize| -> Arc<[Vec<Step>]> {
            let long = found.iter().filter(|passage| comment[(*passage).clone()].chars().count() >= shortest);
            long.filter_map(|passage| steps(vocabulary.as_ref(), comment, passage.clone(), shortest))
                .collect()
        };
        let long = of_length(shortest);
        let passages = if long.is_empty() { of_length(0) } else { long };
        (!passages.is_empty()).then_some(Self { vocabulary, mark, passages, state })
    }

    /// Whether the text is inside a quotation of the comment.
    pub fn in_quotation(&self) -> bool {
        matches!(self.state, State::Quotation(_))
    }

    fn step(&self, passage: usize, at: usize) -> Option<&Step> {
        self.passages[passage].get(at)
    }
}

impl Guide for VerbatimQuotes {
    fn choices(&self) -> Option<Vec<Token>> {
        let State::Quotation(open) = &self.state else { return None };
        let next = open.passages.iter().filter_map(|p| self.step(*p, open.written)).map(|(token, _)| *token);
        let mut choices: BTreeSet<Token> = next.collect();
        let before = open.written.checked_sub(1);
        let may_close = |p: &usize| before.and_then(|at| self.step(*p, at)).is_some_and(|(_, ends)| *ends);
        if choices.is_empty() || open.passages.iter().any(may_close) {
            choices.insert(self.mark.token);
        }
        Some(choices.into_iter().collect())
    }

    fn chose(&mut self, token: Token) {
        let State::Quotation(open) = &mut self.state else {
            let mut bytes = Vec::new();
            self.vocabulary.piece(token, &mut bytes);
            let text = String::from_utf8_lossy(&bytes);
            let mark = &self.mark.text;
            let marks = text.matches(mark).count() + usize::from(matches!(self.state, State::Other));
            self.state = match (marks % 2 == 1, text.ends_with(mark)) {
                (false, _) => State::Outside,
                (true, true) => {
                    State::Quotation(Open { passages: (0..self.passages.len()).collect(), written: 0 })
                }
                // Still open, or begun by a token that goes on: too late to guide.
                (true, false) => State::Other,
            };
            return;
        };
        let at = open.written;
        open.passages.retain(|p| self.passages[*p].get(at).is_some_and(|(next, _)| *next == token));
        open.written += 1;
        // No passage goes on with the mark (see `passages`), so that it is the closing one.
        if open.passages.is_empty() {
            self.state = State::Outside;
        }
    }

    fn fork(&self) -> Box<dyn Guide> {
        Box::new(self.clone())
    }
}

/// A text without its quotations. `begun` is what was written before it, which may have left a mark open.
pub fn unquoted(text: &str, mark: &str, begun: &str) -> String {
    let left_open = begun.matches(mark).count() % 2 == 1;
    text.split(mark).skip(usize::from(left_open)).step_by(2).collect()
}

#[derive(PartialEq, Eq, Clone, Copy)]
enum Class {
    Space,
    Word,
    /// ㅋㅋ, ㅠㅠ: signs that stand for themselves, at any length.
    Jamo,
    Symbol,
}

fn class(c: char) -> Class {
    match c {
        c if c.is_whitespace() => Class::Space,
        '\u{3131}'..='\u{318e}' => Class::Jamo,
        c if c.is_alphanumeric() => Class::Word,
        _ => Class::Symbol,
    }
}

/// The passages that a quotation may begin with: one for each beginning of a word or of a run of jamo (of
/// any symbol, if there are none), as far as a quotation may go.
fn passages(comment: &str, mark: &str) -> Vec<Range<usize>> {
    let begins = |wanted: &[Class]| {
        let mut before = Class::Space;
        let mut starts = Vec::new();
        for (at, c) in comment.char_indices() {
            let now = class(c);
            if now != before && wanted.contains(&now) {
                starts.push(at);
            }
            before = now;
        }
        starts
    };
    let mut starts = begins(&[Class::Word, Class::Jamo]);
    if starts.is_empty() {
        starts = begins(&[Class::Symbol]);
    }
    starts.truncate(MOST);
    let cut = |start: usize| {
        let rest = &comment[start..];
        let line = rest.lines().next().and_then(|line| line.split(mark).next()).unwrap_or_default();
        let end = line.char_indices().enumerate().find(|(count, (at, _))| {
            *count >= LONGEST || (*count >= ENOUGH && ends_a_word(&line[..*at], &line[*at..]))
        });
        let passage = end.map_or(line, |(_, (at, _))| &line[..at]).trim_end();
        start..start + passage.len()
    };
    starts.into_iter().map(cut).filter(|passage| !passage.is_empty()).collect()
}

/// Between these two texts no word is cut in two.
fn ends_a_word(before: &str, after: &str) -> bool {
    let word = |c: Option<char>| c.is_some_and(|c| class(c) == Class::Word);
    !(word(before.chars().next_back()) && word(after.chars().next()))
}

/// The tokens of a passage of the comment, which may end after `shortest` characters; `None` if they do not spell it.
fn steps(
    vocabulary: &dyn Vocabulary,
    comment: &str,
    passage: Range<usize>,
    shortest: usize,
) -> Option<Vec<Step>> {
    let (start, text) = (passage.start, &comment[passage]);
    let mut bytes = Vec::new();
    let mut steps = Vec::new();
    for token in vocabulary.tokenize_text(text) {
        vocabulary.piece(token, &mut bytes);
        let ends = comment.split_at_checked(start + bytes.len()).is_some_and(|(before, after)| {
            !before.ends_with(char::is_whitespace)
                && before[start..].chars().count() >= shortest
                && ends_a_word(before, after)
        });
        steps.push((token, ends));
    }
    (bytes == text.as_bytes()).then_some(steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::vocabulary::ByteVocabulary;

    fn quotes_after(begun: &str, comment: &str) -> Option<VerbatimQuotes> {
        quotes_of(0, begun, comment)
    }

    fn quotes_of(shortest: usize, begun: &str, comment: &str) -> Option<VerbatimQuotes> {
        let mark = QuotationMark { text: "'".to_owned(), token: Token::from(b'\'') };
        VerbatimQuotes::new(Arc::new(ByteVocabulary), (mark, shortest), comment, begun)
    }

    fn quotes(comment: &str) -> Option<VerbatimQuotes> {
        quotes_after("감정은 '긍정'입니다.", comment)
    }

    /// What a writer gets who wants to write `wish` and otherwise takes the first choice.
    fn written(comment: &str, wish: &str) -> String {
        written_after("", comment, wish)
    }

    fn written_after(begun: &str, comment: &str, wish: &str) -> String {
        written_by(quotes_after(begun, comment).unwrap(), wish)
    }

    fn written_by(mut quotes: VerbatimQuotes, wish: &str) -> String {
        let mut text = Vec::new();
        for byte in wish.bytes() {
            let wished = Token::from(byte);
            let token = match quotes.choices() {
                Some(choices) if !choices.contains(&wished) => choices[0],
                _ => wished,
            };
            quotes.chose(token);
            text.push(u8::try_from(token).unwrap());
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    #[test]
    fn quotations_are_whole_words_of_the_comment() {
        let check = |comment, wish| assert_eq!(written(comment, wish), wish, "{comment:?}");
        let comment = "강아지 너무 귀여워요ㅋㅋㅋ 자주 올려주세요!";
        check(comment, "이 글의 '귀여워요'라는 말");
        check(comment, "'귀여워요ㅋㅋ'와 'ㅋㅋㅋ', '자주 올려주세요!'까지");
        check("'따옴표' 안", "'따옴표'");
        check("...!", "'...'");
    }

    #[test]
    fn what_is_quoted_is_in_the_comment() {
        let check = |comment, wish: &str, expect| assert_eq!(written(comment, wish), expect, "{comment:?}");
        let comment = "별로였는데 재밌네요";
        // The same number of bytes each: where a wish is not to be had, a choice takes its place.
        check(comment, "'재미있다'고", "'재밌네요'고");
        check(comment, "'여워요'라는 말", "'재밌네요'는 말");
        check(comment, &"'".repeat(4), "'별");
        check(comment, "'재밌'''", "'재밌네");
    }

    #[test]
    fn a_mark_that_the_answer_left_open_is_closed_first() {
        let check = |begun, wish: &str, expect| {
            assert_eq!(written_after(begun, "별로 재미없네", wish), expect, "{begun:?}");
        };
        // The suffix does not close the label's mark: the model does, and then quotes.
        check("감정은 '긍정", "'입니다. '별로'라", "'입니다. '별로'라");
        check("'감정'은 '", "긍정'. '별로 재미없네'", "긍정'. '별로 재미없네'");
        check("감정은 '긍정'입니다.", "'재밌네요'라", "'재미없네'라");
    }

    #[test]
    fn a_quotation_comes_to_an_end() {
        let check = |comment: &str, longest: usize| {
            let mut quotes = quotes(comment).unwrap();
            quotes.chose(Token::from(b'\''));
            let mut bytes = Vec::new();
            while let Some(choices) = quotes.choices() {
                let token = *choices.iter().max().unwrap();
                quotes.chose(token);
                bytes.push(u8::try_from(token).unwrap());
            }
            let text = String::from_utf8(bytes).unwrap();
            let quoted = text.strip_suffix('\'').unwrap();
            assert!(comment.contains(quoted) && quoted.chars().count() <= longest, "{quoted:?}");
        };
        check(&"가".repeat(500), LONGEST);
        check(&"가나다 ".repeat(100), ENOUGH + 3);
        check("좋아요", 3);
    }

    #[test]
    fn a_text_without_its_quotations() {
        let check = |begun, text, expect| assert_eq!(unquoted(text, "'", begun), expect);
        check("감정은 '긍정'입니다.", "'부정 출발'이라며 '웃'습니다.", "이라며 습니다.");
        check("감정은 '긍정", "'입니다. '부정'이 없습니다.", "입니다. 이 없습니다.");
        check("", "끝나지 않은 '부정", "끝나지 않은 ");
    }

    #[test]
    fn a_quotation_has_the_characters_that_the_profile_asks_for() {
        let check = |comment, wish: &str, expect| {
            assert_eq!(written_by(quotes_of(5, "", comment).unwrap(), wish), expect, "{comment}");
        };
        check("강아지 정말 귀엽다", "'강아지 정말'", "'강아지 정말'");
        // Another word follows where the mark would come too early, and no quotation begins with the last word.
        check("강아지 정말 귀엽다", "'강아지'      '", "'강아지 정말'");
        check("강아지 정말 귀엽다", "'정말 귀엽다'", "'정말 귀엽다'");
        // All of a comment that is shorter.
        check("귀엽다", "'귀엽다'", "'귀엽다'");
    }

    #[test]
    fn nothing_to_quote_is_no_guide() {
        assert!(quotes("''").is_none());
    }

    #[test]
    fn a_long_comment_is_quoted_from_its_first_words() {
        let comment: String = (0..2 * MOST).map(|i| format!("말{i} ")).collect();
        assert_eq!(quotes(&comment).unwrap().passages.len(), MOST);
    }
}

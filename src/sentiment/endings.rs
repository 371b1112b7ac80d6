//! What a reason may end with after its quotation: one of a list, chosen token by token.

use std::collections::BTreeSet;

use crate::text::vocabulary::{Token, Vocabulary};

/// Written after a closed syllable only: `(이)라며` is `이라며` or `라며`.
const LINK: &str = "(이)";

/// An ending that is being written: those that it may become, and its tokens so far.
#[derive(Clone)]
pub struct Ending {
    ways: Vec<Vec<Token>>,
    written: usize,
}

impl Ending {
    /// Any of `endings`, after `quoted`.
    pub fn new(vocabulary: &dyn Vocabulary, endings: &[String], quoted: &str) -> Self {
        let link = if is_closed(quoted) { "이" } else { "" };
        let ways =
            endings.iter().map(|ending| vocabulary.tokenize_text(&ending.replace(LINK, link))).collect();
        Self { ways, written: 0 }
    }

    /// What may come next; `end` where one is written.
    pub fn choices(&self, end: Token) -> Vec<Token> {
        let next = self.ways.iter().map(|way| way.get(self.written).copied().unwrap_or(end));
        let choices: BTreeSet<Token> = next.collect();
        if choices.is_empty() { vec![end] } else { choices.into_iter().collect() }
    }

    /// Goes on with one of the choices.
    pub fn chose(&mut self, token: Token) {
        self.ways.retain(|way| way.get(self.written) == Some(&token));
        self.written += 1;
    }
}

/// Whether a text is read with a closed syllable at its end. Digits and letters are read in Korean (`3` is 삼, `L` is 엘).
fn is_closed(text: &str) -> bool {
    match text.chars().next_back() {
        Some(c @ '가'..='힣') => !(u32::from(c) - u32::from('가')).is_multiple_of(28),
        Some(c) => "013678LMNRlmnr".contains(c),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::vocabulary::ByteVocabulary;

    const END: Token = 258;

    /// What a writer gets who wants to write `wish` and otherwise takes the first choice.
    fn written(endings: &[&str], quoted: &str, wish: &str) -> String {
        let endings: Vec<_> = endings.iter().map(|&ending| ending.to_owned()).collect();
        let mut ending = Ending::new(&ByteVocabulary, &endings, quoted);
        let mut text = Vec::new();
        for wished in wish.bytes().chain(std::iter::repeat(0)) {
            let choices = ending.choices(END);
            let token = if choices.contains(&wished.into()) { wished.into() } else { choices[0] };
            if token == END {
                break;
            }
            ending.chose(token);
            text.push(u8::try_from(token).unwrap());
        }
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn one_of_the_list_is_written_to_its_end() {
        let check = |wish, expect| {
            assert_eq!(
                written(&["라고 묻습니다.", "라며 웃습니다.", "라며 웃습니다. 또"], "왜", wish),
                expect,
                "{wish}"
            );
        };
        check("라고 묻습니다.", "라고 묻습니다.");
        check("라고 합니다.", "라고 묻습니다.");
        check("라며 웃습니다. 또", "라며 웃습니다. 또");
    }

    #[test]
    fn the_link_follows_the_last_sound() {
        let check = |quoted, expect| assert_eq!(written(&["(이)라며"], quoted, ""), expect, "{quoted}");
        check("귀엽다", "라며");
        check("또 졌음", "이라며");
        check("12:40", "이라며");
        check("12:45", "라며");
        check("ㅋㅋ", "라며");
        check("❤️", "라며");
        check("", "라며");
    }
}

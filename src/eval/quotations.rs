//! What reasons quote, and whether it stands in the comment.
//!
//! Told from the text alone, for any model and any marks: how the reasons were held to the comment while they were
//! written does not matter here.

use unicode_normalization::UnicodeNormalization as _;

/// Pairs of marks that set a quotation.
const MARKS: [(char, char); 6] =
    [('\'', '\''), ('"', '"'), ('‘', '’'), ('“', '”'), ('「', '」'), ('『', '』')];

/// The quotations of `text`, without their marks. `begun` is what was written before it, which may have left a mark
/// open: what `text` sets between that mark and its end is none. Neither is one that is never closed.
pub fn quotations(text: &str, begun: &str) -> Vec<String> {
    let mut open: Option<(char, String)> = None;
    let mut found = Vec::new();
    let letters: Vec<char> = begun.chars().chain(text.chars()).collect();
    let before = begun.chars().count();
    for (at, c) in letters.iter().copied().enumerate() {
        match &mut open {
            Some((end, quoted)) if c == *end && !is_apostrophe(&letters, at) => {
                if at - quoted.chars().count() > before {
                    found.push(std::mem::take(quoted));
                }
                open = None;
            }
            Some((_, quoted)) => quoted.push(c),
            None => {
                let mark = MARKS.iter().find(|(begin, _)| *begin == c);
                open = mark.filter(|_| !is_apostrophe(&letters, at)).map(|(_, end)| (*end, String::new()));
            }
        }
    }
    found
}

/// Whether the mark at `at` is that of "it's".
fn is_apostrophe(letters: &[char], at: usize) -> bool {
    let is_latin =
        |at: Option<usize>| at.and_then(|at| letters.get(at)).is_some_and(char::is_ascii_alphabetic);
    matches!(letters[at], '\'' | '’') && is_latin(at.checked_sub(1)) && is_latin(Some(at + 1))
}

/// Whether `quoted` stands in `comment`, however either is composed and spaced.
pub fn stands_in(quoted: &str, comment: &str) -> bool {
    plain(comment).contains(&plain(quoted))
}

fn plain(text: &str) -> String {
    let composed: String = text.nfc().collect();
    composed.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotations_are_found_between_marks() {
        let check = |begun: &str, text: &str, expect: &[&str]| {
            assert_eq!(quotations(text, begun), expect, "{begun:?} {text:?}");
        };
        check("", "'귀여워요ㅋㅋ'와 \"자주 올려주세요!\"라는 말", &["귀여워요ㅋㅋ", "자주 올려주세요!"]);
        check("", "‘별로’라며 “또 \"안\" 본다”고 「그만」 합니다.", &["별로", "또 \"안\" 본다", "그만"]);
        // The label's mark is closed by the text itself.
        check("이 댓글의 감정은 '긍정", "'입니다. '웃겨요'라는 말", &["웃겨요"]);
        check("감정은 '긍정'입니다.", "'웃겨요'라는 말", &["웃겨요"]);
        check("", "It's a fan's '최고'라는 말", &["최고"]);
        check("", "'don't stop'이라는 말", &["don't stop"]);
        check("", "따옴표가 '열린 채", &[]);
        check("", "", &[]);
    }

    #[test]
    fn spaces_and_composition_do_not_matter() {
        let check = |quoted: &str, expect| {
            assert_eq!(stands_in(quoted, "강아지 너무\n귀여워요 ㅋㅋ"), expect, "{quoted:?}");
        };
        check("너무 귀여워요", true);
        check(&"강아지".nfd().collect::<String>(), true);
        check("귀여워", true);
        check("귀엽다", false);
        check("강아지 귀여워요", false);
    }
}

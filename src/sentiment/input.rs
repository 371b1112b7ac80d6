//! A request's texts, checked against YouTube's own limits and normalised.

use super::prompt::{Video, normalize};

/// Characters that a comment may have.
pub const MAX_COMMENT: usize = 10_000;
/// Characters that a video's title may have.
pub const MAX_TITLE: usize = 100;
/// Characters that a video's summary may have.
pub const MAX_SUMMARY: usize = 5_000;
/// Characters that a caller's id may have.
pub const MAX_ID: usize = 128;
/// Tokens that a rationale may have.
pub const MAX_TOKENS: u32 = 8_192;
/// Tokens that a rationale may have if the request does not say.
pub const DEFAULT_TOKENS: u32 = 1_024;
/// Highest sampling temperature.
pub const MAX_TEMPERATURE: f32 = 2.0;

/// A field that breaks the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The field's path in the request.
    pub field: &'static str,
    /// What is wrong, and what would be right.
    pub description: String,
}

/// The texts of one request, as the caller gave them.
#[derive(Debug, Clone, Copy, Default)]
pub struct RawInput<'a> {
    /// The comment.
    pub comment: &'a str,
    /// The caller's id of the video.
    pub video_id: &'a str,
    /// The video's title; empty if not given.
    pub title: &'a str,
    /// The video's summary; empty if not given.
    pub summary: &'a str,
}

/// The texts of one request, fit for a prompt.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Input {
    /// Normalised, not empty.
    pub comment: String,
    /// Normalised; `None` if nothing is known of it.
    pub video: Option<Video>,
}

impl Input {
    /// Checks all texts and names every fault.
    ///
    /// # Errors
    /// At least one [`Violation`].
    pub fn new(raw: RawInput<'_>) -> Result<Self, Vec<Violation>> {
        let mut violations = Vec::new();
        let mut limit = |field, text: &str, max: usize| {
            let over = is_too_long(text, max);
            if over {
                let description = format!("has more than {max} characters; shorten it");
                violations.push(Violation { field, description });
            }
            !over
        };
        let comment_fits = limit("comment", raw.comment, MAX_COMMENT);
        limit("video.title", raw.title, MAX_TITLE);
        limit("video.summary", raw.summary, MAX_SUMMARY);
        limit("video.id", raw.video_id, MAX_ID);
        let text = |text: &str| if is_blank(text) { String::new() } else { normalize(text) };
        let comment = if comment_fits { text(raw.comment) } else { String::new() };
        if comment_fits && comment.is_empty() {
            let description = "is empty or blank; send the comment's text".to_owned();
            violations.push(Violation { field: "comment", description });
        }
        if !violations.is_empty() {
            return Err(violations);
        }
        let video = shows_video(raw.title, raw.summary)
            .then(|| Video { title: text(raw.title), summary: text(raw.summary) });
        Ok(Self { comment, video })
    }
}

/// Whether a request with this title and summary shows its video: one of them says something.
pub fn shows_video(title: &str, summary: &str) -> bool {
    !is_blank(title) || !is_blank(summary)
}

/// Whether `text` has more than `max` characters.
pub fn is_too_long(text: &str, max: usize) -> bool {
    // Bytes first: a text this long needs no counting.
    text.len() > 4 * max || text.len() > max && text.chars().count() > max
}

/// Whether `text` shows nothing: it is empty, or all of it is space, control, format and filler characters.
pub fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || c.is_control() || shows_nothing(c))
}

/// Unicode's default-ignorable code points, its format characters that show nothing, and the blank of Braille.
fn shows_nothing(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_named() {
        let check = |raw: RawInput<'_>, expect: &[&str]| {
            let fields: Vec<&str> = match Input::new(raw) {
                Ok(_) => Vec::new(),
                Err(violations) => violations.iter().map(|v| v.field).collect(),
            };
            assert_eq!(fields, expect);
        };
        let long = "가".repeat(10_001);
        check(RawInput { comment: "좋아요", ..RawInput::default() }, &[]);
        check(RawInput { comment: &long[..30_000], ..RawInput::default() }, &[]);
        check(RawInput::default(), &["comment"]);
        check(RawInput { comment: " \n\u{200a}\0", ..RawInput::default() }, &["comment"]);
        check(RawInput { comment: &long, title: &long, ..RawInput::default() }, &["comment", "video.title"]);
        let all = RawInput { comment: "", video_id: &long, title: "", summary: &long };
        check(all, &["video.summary", "video.id", "comment"]);
    }

    #[test]
    fn what_shows_nothing_is_blank() {
        let blanks = [
            "",
            " ",
            "\u{200b}",
            "\u{2800}",
            "\u{3164}",
            "\u{feff}",
            "\u{180e}",
            "\u{fe0f}",
            "\u{200d}\u{fe0f}",
            "\u{ffa0}\u{115f}",
            "\u{3164} \u{200b}\n\u{2800}",
            "\u{e0020}\u{ad}",
            "\u{2066}\u{2069}\0",
        ];
        for text in blanks {
            assert!(is_blank(text), "{text:?}");
            let faults = Input::new(RawInput { comment: text, ..RawInput::default() }).unwrap_err();
            assert_eq!(faults[0].field, "comment", "{text:?}");
        }
        for text in
            ["좋\u{200b}아요", "👨\u{200d}👩\u{200d}👧", ".", "ㅤㅋ", "❤\u{fe0f}", "\u{301}", "\u{fffc}"]
        {
            assert!(!is_blank(text), "{text:?}");
        }
    }

    #[test]
    fn a_blank_video_is_no_video() {
        let raw = RawInput { comment: "ㅋㅋ", title: " ", summary: "\u{3164}", ..RawInput::default() };
        assert_eq!(Input::new(raw).unwrap().video, None);
    }
}

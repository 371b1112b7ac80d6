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
            // Bytes first: a text this long needs no counting.
            let over = text.len() > 4 * max || text.chars().count() > max;
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
        let comment = if comment_fits { normalize(raw.comment) } else { String::new() };
        if comment_fits && comment.is_empty() {
            let description = "is empty or blank; send the comment's text".to_owned();
            violations.push(Violation { field: "comment", description });
        }
        if !violations.is_empty() {
            return Err(violations);
        }
        let video = Video { title: normalize(raw.title), summary: normalize(raw.summary) };
        let video = (video != Video::default()).then_some(video);
        Ok(Self { comment, video })
    }
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
    fn a_blank_video_is_no_video() {
        let raw = RawInput { comment: "ㅋㅋ", title: " ", ..RawInput::default() };
        assert_eq!(Input::new(raw).unwrap().video, None);
    }
}

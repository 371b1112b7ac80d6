//! Which column is which: by name if named, else by the names that people usually give.

use unicode_normalization::UnicodeNormalization;

use super::error::DatasetError;
use super::place::{listed, quoted};

/// The columns to read; what is not named is found by the usual names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns {
    /// Column of the comment.
    pub comment: Option<String>,
    /// Column of the label.
    pub label: Option<String>,
    /// Column of the video's title; an empty name for none.
    pub video_title: Option<String>,
    /// Column of the video's summary; an empty name for none.
    pub video_summary: Option<String>,
}

/// Where the comment, the label, the video's title and its summary stand in a row.
pub(super) type Located = [Option<usize>; 4];

/// Position of the comment in [`Located`].
pub(super) const COMMENT: usize = 0;
/// Position of the label.
pub(super) const LABEL: usize = 1;
/// Position of the video's title.
pub(super) const TITLE: usize = 2;
/// Position of the video's summary.
pub(super) const SUMMARY: usize = 3;

/// What a column can be for.
struct Role {
    words: &'static str,
    flag: &'static str,
    /// Folded.
    usual: &'static [&'static str],
}

const ROLES: [Role; 4] = [
    Role {
        words: "comment",
        flag: "comment",
        usual: &[
            "comment",
            "comments",
            "commenttext",
            "commentbody",
            "commentcontent",
            "text",
            "textoriginal",
            "textdisplay",
            "content",
            "contents",
            "body",
            "document",
            "review",
            "reviewtext",
            "sentence",
            "message",
            "댓글",
            "댓글내용",
            "댓글본문",
            "댓글텍스트",
            "내용",
            "본문",
            "텍스트",
            "리뷰",
            "리뷰내용",
            "문장",
            "후기",
            "의견",
            "코멘트",
        ],
    },
    Role {
        words: "label",
        flag: "label",
        usual: &[
            "label",
            "labels",
            "sentiment",
            "sentimentlabel",
            "emotion",
            "polarity",
            "감정",
            "감정라벨",
            "감성",
            "라벨",
            "레이블",
            "긍부정",
            "극성",
            "정답",
            "분류",
        ],
    },
    Role {
        words: "video's title",
        flag: "video-title",
        usual: &["videotitle", "title", "제목", "영상제목", "동영상제목", "비디오제목"],
    },
    Role {
        words: "video's summary",
        flag: "video-summary",
        usual: &["videosummary", "summary", "요약", "영상요약", "동영상요약", "줄거리"],
    },
];

impl Columns {
    fn named(&self) -> [Option<&str>; 4] {
        [&self.comment, &self.label, &self.video_title, &self.video_summary].map(|name| name.as_deref())
    }

    /// Where each column is among `names`, as far as they are there.
    ///
    /// # Errors
    /// Two columns have one name, or several could be meant.
    pub(super) fn locate(&self, names: &[String]) -> Result<Located, DatasetError> {
        let composed: Vec<String> = names.iter().map(|name| composed(name)).collect();
        for (i, name) in composed.iter().enumerate() {
            if !name.is_empty() && composed[..i].contains(name) {
                return Err(DatasetError::SameName(quoted(name)));
            }
        }
        let folded: Vec<String> = composed.iter().map(|name| fold(name)).collect();
        let mut places = [None; 4];
        for ((place, role), named) in places.iter_mut().zip(&ROLES).zip(self.named()) {
            let found = match named {
                Some("") => Vec::new(),
                Some(name) => position(names, name),
                None => preferred(&folded, all(&folded, |c| role.usual.contains(&c.as_str()))),
            };
            if found.len() > 1 {
                let found = listed(found.iter().map(|i| composed[*i].as_str()));
                return Err(DatasetError::ManyColumns { found, role: role.words, flag: role.flag });
            }
            *place = found.first().copied();
        }
        Ok(places)
    }

    /// Refuses a file with `names` in which a column is not `found` that must be there.
    ///
    /// # Errors
    /// [`DatasetError::NoColumn`].
    pub(super) fn require<'a>(
        &self,
        found: &Located,
        names: impl IntoIterator<Item = &'a str>,
        with_labels: bool,
    ) -> Result<(), DatasetError> {
        let needed = |i: usize, named: Option<&str>| match i {
            COMMENT => true,
            LABEL => with_labels,
            _ => named.is_some_and(|name| !name.is_empty()),
        };
        for (i, (role, named)) in ROLES.iter().zip(self.named()).enumerate() {
            if found[i].is_none() && needed(i, named) {
                let wanted = named.map_or_else(|| format!("for the {}", role.words), quoted);
                return Err(DatasetError::NoColumn { wanted, found: listed(names), flag: role.flag });
            }
        }
        Ok(())
    }

    /// Whether one of `names` is the comment's.
    pub(super) fn has_comment(&self, names: &[String]) -> bool {
        match self.locate(names) {
            Ok(found) => found[COMMENT].is_some(),
            Err(DatasetError::ManyColumns { .. }) => true,
            Err(_) => false,
        }
    }

    /// The column's name in words: as named, else as usual.
    pub(super) fn label_name(&self) -> String {
        quoted(self.label.as_deref().unwrap_or("label"))
    }
}

/// Where the column `name` is among `names`: as it is written, else as people vary names, which may fit several.
pub(super) fn position(names: &[String], name: &str) -> Vec<usize> {
    match names.iter().position(|found| composed(found) == composed(name)) {
        Some(exact) => vec![exact],
        None => all(names, |found| fold(found) == fold(name)),
    }
}

/// Whether `name` is that of YouTube's text in HTML.
pub(super) fn is_html(name: &str) -> bool {
    fold(name) == "textdisplay"
}

fn all(names: &[String], is: impl Fn(&String) -> bool) -> Vec<usize> {
    names.iter().enumerate().filter(|(_, name)| is(name)).map(|(i, _)| i).collect()
}

/// YouTube gives one comment twice, as text and as HTML: the text is taken.
fn preferred(folded: &[String], mut found: Vec<usize>) -> Vec<usize> {
    if found.iter().any(|i| folded[*i] == "textoriginal") {
        found.retain(|i| folded[*i] != "textdisplay");
    }
    found
}

/// A name as people see it: macOS decomposes syllables.
fn composed(name: &str) -> String {
    name.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}').nfc().collect()
}

/// A name without what people vary: case, spaces, underscores, hyphens and points.
fn fold(name: &str) -> String {
    let kept = composed(name).to_lowercase();
    kept.chars().filter(|c| !c.is_whitespace() && !matches!(c, '_' | '-' | '.')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(columns: &Columns, names: &[&str], expect: Result<Located, &str>) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        match (columns.locate(&names).map_err(|e| e.to_string()), expect) {
            (Ok(found), Ok(expect)) => assert_eq!(found, expect, "{names:?}"),
            (Err(error), Err(expect)) => assert!(error.contains(expect), "{error}"),
            (found, expect) => panic!("{names:?}: {found:?} is not {expect:?}"),
        }
    }

    #[test]
    fn usual_names_are_found() {
        let usual = Columns::default();
        check(&usual, &["comment", "label"], Ok([Some(0), Some(1), None, None]));
        check(&usual, &["id", "Comment Text", "SENTIMENT"], Ok([Some(1), Some(2), None, None]));
        check(&usual, &["감정", "영상 제목", "댓글"], Ok([Some(2), Some(0), Some(1), None]));
        let decomposed: String = "댓글".nfd().collect();
        check(&usual, &[&decomposed, "요약"], Ok([Some(0), None, None, Some(1)]));
        check(&usual, &["textDisplay", "textOriginal"], Ok([Some(1), None, None, None]));
        check(&usual, &["textDisplay", "likes"], Ok([Some(0), None, None, None]));
        check(&usual, &["", "", "document"], Ok([Some(2), None, None, None]));
        check(&usual, &["x"], Ok([None; 4]));
    }

    #[test]
    fn what_could_be_two_is_asked_for() {
        let usual = Columns::default();
        let ask = "\"text\", \"content\" could each be the comment; name the right one with --comment-column";
        check(&usual, &["text", "content"], Err(ask));
        check(&usual, &["Comment", "comment"], Err("could each be the comment"));
        check(&usual, &["comment", "label", "comment"], Err("two columns are named \"comment\""));
        let named = Columns { comment: Some("text".into()), ..Columns::default() };
        check(&named, &["text", "content"], Ok([Some(0), None, None, None]));
        check(&named, &["TEXT", "content"], Ok([Some(0), None, None, None]));
        check(&named, &["content"], Ok([None; 4]));
        let none = Columns { video_title: Some(String::new()), ..Columns::default() };
        check(&none, &["comment", "title", "video_title"], Ok([Some(0), None, None, None]));
    }
}

//! The profile: the prompt a model was trained with, and how its answer is read.
//!
//! It travels inside the model file, as TOML text under the GGUF metadata key
//! [`METADATA_KEY`], so that a server cannot pair a model with another model's prompt.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::labels::Sentiment;
use crate::text::escape::{quoted, shown};

/// GGUF metadata key whose value is the profile's TOML text.
pub const METADATA_KEY: &str = "ko_sentiment.profile";

/// The profile for models trained as the model card says; used where nothing else is named.
pub const DEFAULT_TOML: &str = include_str!("../../models/profiles/ko-youtube-sentiment.toml");

/// Where the comment's text goes.
pub const COMMENT: &str = "{comment}";
/// Where the video's title goes.
pub const TITLE: &str = "{title}";
/// Where the video's summary goes.
pub const SUMMARY: &str = "{summary}";

/// What is wrong with a profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The text is not TOML, or a key is missing or unknown.
    #[error("the profile cannot be read: {}", in_short(.0))]
    Toml(#[from] toml::de::Error),
    /// The profile cannot be written as TOML.
    #[error("the profile cannot be written: {0}")]
    Write(#[from] toml::ser::Error),
    /// A part must hold its placeholder once.
    #[error("the profile's `{part}` must contain {placeholder} exactly once")]
    Placeholder {
        /// Key of the part.
        part: &'static str,
        /// The placeholder.
        placeholder: &'static str,
    },
    /// A part that may not be empty is.
    #[error("the profile's `{0}` is empty")]
    Empty(&'static str),
    /// Two labels are equal, or one starts with the other, so an answer could be read both ways.
    #[error("the profile's labels {} and {} cannot be told apart", quoted(.0), quoted(.1))]
    Ambiguous(String, String),
    /// A quotation mark is open after one label and closed after another.
    #[error(
        "the profile's labels hold different numbers of answer.quotation_mark {text}; leave the mark out of the labels",
        text = shown(.0)
    )]
    UnevenMarks(String),
    /// Calibration numbers must be finite, and the temperature above zero.
    #[error(
        "the profile's calibration is unusable: temperature must be above 0, biases finite, abstain_below within 0..=1"
    )]
    Calibration,
    /// A probability is from 0 to 1.
    #[error("the profile's `answer.unsure.below` must be within 0..=1")]
    Unsure,
}

/// Where and why; the parser's own message repeats the whole line, which may be the whole file.
fn in_short(error: &toml::de::Error) -> String {
    let full = error.to_string();
    let place = full.lines().next().filter(|line| line.starts_with("TOML parse error"));
    let place = place.map(|line| format!("{}, ", shown(line))).unwrap_or_default();
    format!("{place}{}", shown(error.message()))
}

/// A prompt, its labels and its calibration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Name, reported with every answer.
    pub name: String,
    /// Version, reported with every answer.
    pub version: u32,
    /// What the model is asked to do; the part of the prompt that all requests share.
    pub instruction: String,
    /// The comment's line, with [`COMMENT`].
    pub comment: String,
    /// Turn markers.
    pub turn: Turn,
    /// The video's lines.
    pub video: Video,
    /// What surrounds the label in the answer.
    pub answer: Answer,
    /// The labels as the model writes them.
    pub labels: Labels,
    /// From log-probabilities to probabilities.
    #[serde(default)]
    pub calibration: Calibration,
}

/// Turn markers of the chat format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    /// Opens the user's turn.
    pub user: String,
    /// Closes the user's turn and opens the model's.
    pub model: String,
    /// Closes the model's turn: generation stops here.
    pub end: String,
}

/// The video's lines, each written only where the request has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Video {
    /// With [`TITLE`].
    pub title: String,
    /// With [`SUMMARY`].
    pub summary: String,
    /// After either.
    pub end: String,
}

/// What surrounds the label in the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Before the label.
    pub prefix: String,
    /// After the label, before the reasons.
    pub suffix: String,
    /// What opens and closes a quotation in the reasons. Where it is given, a quotation consists of words
    /// of the comment; empty for a model that also sets other words in such marks.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub quotation_mark: String,
    /// Characters that a quotation has at least, in comments with so many; 0 for any.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub shortest_quotation: usize,
    /// What a reason may end with after its quotation, for each sentiment; `(이)` is written after a closed syllable.
    /// For a small model, which points to the telling words well and writes freely badly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endings: Option<Labels<Vec<String>>>,
    /// Words of a quotation that decide its ending, for each sentiment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cues: Option<Labels<BTreeMap<String, String>>>,
    /// Words of endings, and for each what a comment must have one of for such an ending: `웃으며` and `ㅋ`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub needs: BTreeMap<String, Vec<String>>,
    /// How a reason ends that claims no feeling, where the verdict is a close call and no cue decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsure: Option<Unsure>,
}

/// When a verdict is a close call, and what its reason ends with then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unsure {
    /// The verdict's calibrated probability is below this, within 0..=1.
    pub below: f64,
    /// Follows the quotation.
    pub ending: String,
}

fn is_zero(value: &usize) -> bool {
    *value == 0
}

impl Answer {
    /// Endings need a quotation; all else here is of endings.
    fn check_endings(&self) -> Result<(), ProfileError> {
        if self.shortest_quotation > 0 && self.quotation_mark.is_empty() {
            return Err(ProfileError::Empty("answer.quotation_mark"));
        }
        if let Some(endings) = &self.endings {
            if self.quotation_mark.is_empty() {
                return Err(ProfileError::Empty("answer.quotation_mark"));
            }
            let lacks = |s: Sentiment| {
                endings.get(s).is_empty() || endings.get(s).iter().any(|e| e.trim().is_empty())
            };
            if Sentiment::ALL.into_iter().any(lacks) {
                return Err(ProfileError::Empty("answer.endings"));
            }
        }
        if let Some(cues) = &self.cues {
            if self.endings.is_none() {
                return Err(ProfileError::Empty("answer.endings"));
            }
            let lacks = |(word, ending): (&String, &String)| word.is_empty() || ending.trim().is_empty();
            if Sentiment::ALL.into_iter().any(|s| cues.get(s).iter().any(lacks)) {
                return Err(ProfileError::Empty("answer.cues"));
            }
        }
        if (!self.needs.is_empty() || self.unsure.is_some()) && self.endings.is_none() {
            return Err(ProfileError::Empty("answer.endings"));
        }
        if let Some(unsure) = &self.unsure {
            if unsure.ending.trim().is_empty() {
                return Err(ProfileError::Empty("answer.unsure.ending"));
            }
            if !(0.0..=1.0).contains(&unsure.below) {
                return Err(ProfileError::Unsure);
            }
        }
        let any_empty = |words: &[String]| words.is_empty() || words.iter().any(String::is_empty);
        if self.needs.iter().any(|(word, marks)| word.is_empty() || any_empty(marks)) {
            return Err(ProfileError::Empty("answer.needs"));
        }
        Ok(())
    }
}

/// One value for each sentiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Labels<T = String> {
    /// 긍정
    pub positive: T,
    /// 중립
    pub neutral: T,
    /// 부정
    pub negative: T,
}

impl<T> Labels<T> {
    /// The value for one sentiment.
    pub fn get(&self, sentiment: Sentiment) -> &T {
        match sentiment {
            Sentiment::Positive => &self.positive,
            Sentiment::Neutral => &self.neutral,
            Sentiment::Negative => &self.negative,
        }
    }
}

/// From joint label log-probabilities to calibrated probabilities, and when to withhold an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// As [`Scaling::temperature`].
    pub temperature: f64,
    /// As [`Scaling::bias`].
    pub bias: Labels<f64>,
    /// Answers whose highest probability is below this are marked as abstained; 0 turns that off.
    #[serde(default)]
    pub abstain_below: f64,
    /// Holds instead of the temperature and the bias above for a comment that shows its video's title or summary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with_video: Option<Scaling>,
}

/// p = softmax(log-probability / temperature + bias): temperature scaling after Guo et al. 2017
/// (arXiv 1706.04599), with a bias for each class.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scaling {
    /// Above 0; 1 leaves the model's own confidence.
    pub temperature: f64,
    /// Added in nats after the temperature.
    pub bias: Labels<f64>,
}

impl Calibration {
    /// What holds for a comment that shows its video's title or summary, or shows neither.
    pub fn scaling(&self, shows_video: bool) -> Scaling {
        let without = Scaling { temperature: self.temperature, bias: self.bias };
        self.with_video.filter(|_| shows_video).unwrap_or(without)
    }

    /// Replaces what [`Self::scaling`] gives.
    pub fn set_scaling(&mut self, shows_video: bool, scaling: Scaling) {
        if shows_video {
            self.with_video = Some(scaling);
        } else {
            (self.temperature, self.bias) = (scaling.temperature, scaling.bias);
        }
    }
}

impl Scaling {
    /// Leaves log-probabilities as they are.
    pub const NONE: Self =
        Self { temperature: 1.0, bias: Labels { positive: 0.0, neutral: 0.0, negative: 0.0 } };

    fn is_usable(&self) -> bool {
        let finite = Sentiment::ALL.iter().all(|s| self.bias.get(*s).is_finite());
        finite && self.temperature.is_finite() && self.temperature > 0.0
    }
}

impl Default for Calibration {
    fn default() -> Self {
        let Scaling { temperature, bias } = Scaling::NONE;
        Self { temperature, bias, abstain_below: 0.0, with_video: None }
    }
}

impl Profile {
    /// Reads and checks a profile. Windows' line ends and byte order mark are not part of its texts: an
    /// editor, or git, must not change the prompt.
    ///
    /// # Errors
    /// See [`ProfileError`].
    pub fn from_toml(text: &str) -> Result<Self, ProfileError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
        let profile: Self = toml::from_str(&text)?;
        profile.check()?;
        Ok(profile)
    }

    /// Writes the profile as TOML.
    ///
    /// # Errors
    /// [`ProfileError::Write`].
    pub fn to_toml(&self) -> Result<String, ProfileError> {
        Ok(toml::to_string(self)?)
    }

    /// SHA-256 of what the profile means, in hexadecimal: the layout of its text and its comments don't count.
    pub fn sha256(&self) -> String {
        // Text and numbers in a fixed order: cannot fail.
        let meaning = serde_json::to_vec(self).unwrap_or_default();
        Sha256::digest(meaning).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Checks what TOML's types do not.
    ///
    /// # Errors
    /// See [`ProfileError`].
    pub fn check(&self) -> Result<(), ProfileError> {
        for (part, text, placeholder) in [
            ("comment", &self.comment, COMMENT),
            ("video.title", &self.video.title, TITLE),
            ("video.summary", &self.video.summary, SUMMARY),
        ] {
            if text.matches(placeholder).count() != 1 {
                return Err(ProfileError::Placeholder { part, placeholder });
            }
        }
        for (part, text) in [
            ("name", &self.name),
            ("instruction", &self.instruction),
            ("turn.user", &self.turn.user),
            ("turn.model", &self.turn.model),
            ("turn.end", &self.turn.end),
            ("labels.positive", &self.labels.positive),
            ("labels.neutral", &self.labels.neutral),
            ("labels.negative", &self.labels.negative),
        ] {
            if text.trim().is_empty() {
                return Err(ProfileError::Empty(part));
            }
        }
        for a in Sentiment::ALL {
            for b in Sentiment::ALL {
                let (x, y) = (self.labels.get(a), self.labels.get(b));
                if a != b && x.starts_with(y.as_str()) {
                    return Err(ProfileError::Ambiguous(x.clone(), y.clone()));
                }
            }
        }
        let mark = &self.answer.quotation_mark;
        let odd = |s: Sentiment| self.labels.get(s).matches(mark.as_str()).count() % 2;
        if !mark.is_empty() && Sentiment::ALL.iter().any(|s| odd(*s) != odd(Sentiment::Positive)) {
            return Err(ProfileError::UnevenMarks(mark.clone()));
        }
        self.answer.check_endings()?;
        let c = &self.calibration;
        let usable = [false, true].iter().all(|video| c.scaling(*video).is_usable());
        if usable && (0.0..=1.0).contains(&c.abstain_below) { Ok(()) } else { Err(ProfileError::Calibration) }
    }

    /// The answer's text up to the reasons, for one sentiment.
    pub fn answer_start(&self, sentiment: Sentiment) -> String {
        format!("{}{}{}", self.answer.prefix, self.labels.get(sentiment), self.answer.suffix)
    }

    /// The sentiment that a free answer names: the label whose quoted form (`'긍정'`) comes first,
    /// else the label that comes first at all. `None` if it names none.
    pub fn stated(&self, answer: &str) -> Option<Sentiment> {
        let first = |form: &dyn Fn(&str) -> String| {
            Sentiment::ALL
                .into_iter()
                .filter_map(|s| Some((answer.find(&form(self.labels.get(s)))?, s)))
                .min()
                .map(|(_, s)| s)
        };
        first(&|label| format!("'{label}'")).or_else(|| first(&str::to_owned))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn default() -> Profile {
        Profile::from_toml(DEFAULT_TOML).unwrap()
    }

    #[test]
    fn the_default_survives_a_round_trip() {
        let profile = default();
        assert_eq!(Profile::from_toml(&profile.to_toml().unwrap()).unwrap(), profile);
    }

    #[test]
    fn the_hash_is_of_the_meaning() {
        let profile = default();
        let laid_out = format!("# A comment.\n{}", profile.to_toml().unwrap());
        assert_eq!(Profile::from_toml(&laid_out).unwrap().sha256(), profile.sha256());
        let check = |change: fn(&mut Profile)| {
            let mut other = default();
            change(&mut other);
            assert_ne!(other.sha256(), profile.sha256());
        };
        check(|p| p.calibration.abstain_below = 0.5);
        check(|p| p.calibration.bias.neutral += 1e-9);
        check(|p| p.calibration.with_video = Some(p.calibration.scaling(false)));
        check(|p| p.instruction.push(' '));
        check(|p| std::mem::swap(&mut p.labels.positive, &mut p.labels.negative));
    }

    #[test]
    fn line_ends_are_not_part_of_the_prompt() {
        let windows = DEFAULT_TOML.replace('\n', "\r\n");
        assert_eq!(Profile::from_toml(&windows).unwrap(), default());
        assert_eq!(Profile::from_toml(&format!("\u{feff}{windows}")).unwrap(), default());
        // What is written as an escape is meant.
        let escaped = DEFAULT_TOML.replace("{comment}\\n", "{comment}\\r\\n");
        assert_eq!(Profile::from_toml(&escaped).unwrap().comment, "댓글: {comment}\r\n");
    }

    #[test]
    fn the_label_may_come_first() {
        let first =
            DEFAULT_TOML.replace("prefix = \"댓글을 분석한 결과, 이 댓글의 감정은 '\"", "prefix = \"\"");
        assert_eq!(Profile::from_toml(&first).unwrap().answer_start(Sentiment::Neutral), "중립'입니다.");
    }

    /// What is wrong with the default after a change.
    fn check(change: &dyn Fn(&mut Profile), expect: &str) {
        let mut profile = default();
        change(&mut profile);
        let error = profile.check().unwrap_err().to_string();
        assert!(error.contains(expect), "{error:?} does not say {expect:?}");
    }

    #[test]
    fn faults_are_named() {
        check(&|p| p.comment = "댓글:".into(), "{comment} exactly once");
        check(&|p| p.video.title = "{title}{title}".into(), "{title} exactly once");
        check(&|p| p.labels.neutral = " ".into(), "labels.neutral");
        check(&|p| p.labels.neutral = "긍정적".into(), "cannot be told apart");
        check(
            &|p| (p.answer.quotation_mark, p.labels.neutral) = ("'".into(), "'중립".into()),
            "different numbers",
        );
        check(&|p| p.calibration.temperature = 0.0, "temperature");
        check(&|p| p.calibration.bias.negative = f64::NAN, "biases");
        let cold = Scaling { temperature: -1.0, ..Scaling::NONE };
        check(&|p| p.calibration.with_video = Some(cold), "temperature");
    }

    #[test]
    fn a_comment_that_shows_its_video_may_have_its_own_calibration() {
        let own = "\n[calibration.with_video]\ntemperature = 2.0\nbias = { positive = 0.0, neutral = 0.5, negative = 0.0 }\n";
        let profile = Profile::from_toml(&format!("{DEFAULT_TOML}{own}")).unwrap();
        assert_eq!(Profile::from_toml(&profile.to_toml().unwrap()).unwrap(), profile);
        let scaling = |video| profile.calibration.scaling(video);
        assert_eq!((scaling(true).temperature, scaling(true).bias.neutral), (2.0, 0.5));
        assert_eq!(scaling(false), Scaling::NONE);
        assert_eq!(default().calibration.scaling(true), Scaling::NONE);
    }

    #[test]
    fn faults_of_reasons_are_named() {
        let endings = |text: &str| {
            let all = || vec![text.to_owned()];
            Some(Labels { positive: all(), neutral: all(), negative: all() })
        };
        check(&|p| p.answer.endings = endings("."), "answer.quotation_mark");
        check(&|p| p.answer.shortest_quotation = 5, "answer.quotation_mark");
        check(
            &|p| (p.answer.quotation_mark, p.answer.endings) = ("'".into(), endings(" ")),
            "answer.endings",
        );
        let cue = |word: &str| {
            let all = || BTreeMap::from([(word.to_owned(), "라며 웃습니다.".to_owned())]);
            Some(Labels { positive: all(), neutral: all(), negative: all() })
        };
        check(&|p| p.answer.cues = cue("하하"), "answer.endings");
        check(
            &|p| {
                (p.answer.quotation_mark, p.answer.endings) = ("'".into(), endings("."));
                p.answer.cues = cue("");
            },
            "answer.cues",
        );
        let need = |marks: &[&str]| {
            BTreeMap::from([("웃으며".to_owned(), marks.iter().map(|&mark| mark.to_owned()).collect())])
        };
        check(&|p| p.answer.needs = need(&["ㅋ"]), "answer.endings");
        for marks in [&[][..], &[""]] {
            check(
                &|p| {
                    (p.answer.quotation_mark, p.answer.endings) = ("'".into(), endings("."));
                    p.answer.needs = need(marks);
                },
                "answer.needs",
            );
        }
        let unsure = |below, ending: &str| Some(Unsure { below, ending: ending.to_owned() });
        check(&|p| p.answer.unsure = unsure(0.5, "."), "answer.endings");
        for (below, ending, expect) in [(0.5, " ", "answer.unsure.ending"), (1.5, ".", "0..=1")] {
            check(
                &|p| {
                    (p.answer.quotation_mark, p.answer.endings) = ("'".into(), endings("."));
                    p.answer.unsure = unsure(below, ending);
                },
                expect,
            );
        }
    }

    #[test]
    fn unknown_keys_are_refused() {
        let text = DEFAULT_TOML.replace("version = 1", "version = 1\ntempature = 2");
        assert!(Profile::from_toml(&text).unwrap_err().to_string().contains("tempature"));
    }

    #[test]
    fn the_stated_sentiment_is_read_from_the_words() {
        let check = |answer: &str, expect| assert_eq!(default().stated(answer), expect, "{answer}");
        check("이 댓글의 감정은 '부정'입니다.", Some(Sentiment::Negative));
        check(
            "긍정으로 보이지만 이 댓글의 감정은 '중립'입니다. '긍정'은 아닙니다.",
            Some(Sentiment::Neutral),
        );
        check("부정적인 댓글입니다.", Some(Sentiment::Negative));
        check("잘 모르겠습니다.", None);
        check("", None);
    }
}

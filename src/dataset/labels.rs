//! What the labels of a file mean.

use std::path::Path;

use unicode_normalization::UnicodeNormalization;

use crate::files::open;
use crate::sentiment::labels::Sentiment;
use crate::text::shown::shown_path;

/// Maximum size of a file of labels, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// What other words and numbers mean than 긍정, 중립, 부정, positive, neutral and negative.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelMap(Vec<(String, Sentiment)>);

impl std::str::FromStr for LabelMap {
    type Err = String;

    /// Reads `1=긍정,0=중립,-1=부정`.
    fn from_str(text: &str) -> Result<Self, String> {
        Self::from_entries(text.split(','))
    }
}

impl LabelMap {
    /// Reads a file of one `value=label` per line; `#` begins a comment.
    ///
    /// # Errors
    /// The file cannot be read, or a line is none.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = open::read_text(path, MAX_FILE).map_err(|e| format!("{}: {e}", shown_path(path)))?;
        let lines = text.trim_start_matches('\u{feff}').lines();
        let lines = lines.map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self::from_entries(lines).map_err(|e| format!("{}: {e}", shown_path(path)))
    }

    fn from_entries<'a>(entries: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let mut map = Self::default();
        for entry in entries {
            let fault = || format!("{entry:?} is not VALUE=LABEL; write, for example, 1=긍정,0=중립,-1=부정");
            let (value, label) = entry.rsplit_once('=').ok_or_else(fault)?;
            let (value, label) = (unquoted(value), unquoted(label));
            let sentiment = word(label).ok_or_else(fault)?;
            match map.mapped(value) {
                Some(known) if known != sentiment => {
                    return Err(format!("{value:?} is given two labels, {known} and {sentiment}; give one"));
                }
                _ => map.0.push((value.nfc().collect(), sentiment)),
            }
        }
        Ok(map)
    }

    /// The label that `found` stands for.
    pub fn get(&self, found: &str) -> Option<Sentiment> {
        self.mapped(found).or_else(|| word(found))
    }

    fn mapped(&self, found: &str) -> Option<Sentiment> {
        let found: String = found.trim().nfc().collect();
        let same = |value: &str| value == found || number(value).is_some_and(|n| number(&found) == Some(n));
        self.0.iter().find(|(value, _)| same(value)).map(|(_, sentiment)| *sentiment)
    }
}

/// One of the six words; text from macOS may hold decomposed syllables.
fn word(text: &str) -> Option<Sentiment> {
    Sentiment::parse(&text.nfc().collect::<String>())
}

fn unquoted(text: &str) -> &str {
    text.trim().trim_matches('"').trim()
}

/// A number as programs write labels: 1, 1.0, -1.
fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|n: &f64| n.is_finite())
}

/// Labels that nobody has explained.
#[derive(Debug, Default)]
pub(super) struct Unknown {
    seen: Vec<String>,
    more: bool,
    /// One of them is a number.
    pub numbers: bool,
}

impl Unknown {
    /// Notes a label.
    pub fn note(&mut self, found: &str) {
        let found = found.trim();
        self.numbers |= number(found).is_some();
        if !self.seen.iter().any(|seen| seen == found) {
            if self.seen.len() < 10 {
                self.seen.push(found.to_owned());
            } else {
                self.more = true;
            }
        }
    }

    /// The values seen, in words; `None` if there are none.
    pub fn seen(&self) -> Option<String> {
        let seen = super::place::listed(self.seen.iter().map(String::as_str));
        (!self.seen.is_empty()).then(|| seen + if self.more { " and more" } else { "" })
    }

    /// A value of `--labels` for them. Which of them is which is only a guess, to be put right.
    pub fn example(&self) -> String {
        let mut seen: Vec<&str> = self.seen.iter().take(3).map(String::as_str).collect();
        seen.sort_by(|a, b| number(b).partial_cmp(&number(a)).unwrap_or(std::cmp::Ordering::Equal));
        let words: &[Sentiment] = match seen.len() {
            2 => &[Sentiment::Positive, Sentiment::Negative],
            _ => &Sentiment::ALL,
        };
        let short = |text: &str| text.chars().filter(|c| !c.is_control()).take(20).collect::<String>();
        let entries = seen.iter().zip(words).map(|(value, label)| format!("{}={label}", short(value)));
        entries.collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_read() {
        let map: LabelMap = "1=긍정,0=중립, -1 = negative".parse().unwrap();
        let check = |found: &str, expect: Option<Sentiment>| assert_eq!(map.get(found), expect, "{found}");
        check("1", Some(Sentiment::Positive));
        check(" 1.0 ", Some(Sentiment::Positive));
        check("0", Some(Sentiment::Neutral));
        check("-1.0", Some(Sentiment::Negative));
        check("2", None);
        check("부정", Some(Sentiment::Negative));
        check(&"부정".nfd().collect::<String>(), Some(Sentiment::Negative));
        let words: LabelMap =
            format!("{}=positive,a=b=neutral", "좋음".nfd().collect::<String>()).parse().unwrap();
        assert_eq!(words.get("좋음"), Some(Sentiment::Positive));
        assert_eq!(words.get("a=b"), Some(Sentiment::Neutral));
        let swapped: LabelMap = "긍정=부정".parse().unwrap();
        assert_eq!(swapped.get("긍정"), Some(Sentiment::Negative), "a map goes before the words");
    }

    #[test]
    fn broken_maps_are_refused() {
        let check = |text: &str, expect: &str| {
            let error = text.parse::<LabelMap>().unwrap_err();
            assert!(error.contains(expect), "{error}");
        };
        check("", "is not VALUE=LABEL");
        check("1=good", "\"1=good\" is not VALUE=LABEL");
        check("1=긍정,1.0=부정", "two labels");
    }

    #[test]
    fn an_example_is_a_map() {
        let mut unknown = Unknown::default();
        assert_eq!(unknown.seen(), None);
        for found in ["0", "1", "0", "-1"] {
            unknown.note(found);
        }
        assert_eq!(unknown.seen().unwrap(), "\"0\", \"1\", \"-1\"");
        assert_eq!(unknown.example(), "1=긍정,0=중립,-1=부정");
        assert!(unknown.numbers && unknown.example().parse::<LabelMap>().is_ok());
    }
}

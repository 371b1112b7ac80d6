//! What an annotated file says, counted row by row.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::time;
use super::top::{Sample, Top};
use super::words::Words;
use crate::dataset::{Comments, DatasetError, ReadOptions, Record};
use crate::sentiment::score::top;
use crate::text::shown::shown_path;

/// Bars of the chart of probabilities, from one third to 1.
pub const BARS: usize = 10;
/// Comments that are shown of a kind.
const SHOWN: usize = 8;
/// Characters of a shown comment.
const LENGTH: usize = 300;
/// Videos that are counted.
const MAX_VIDEOS: usize = 100_000;

const DATES: [&str; 17] = [
    "when",
    "date",
    "publishedat",
    "published",
    "publishedtime",
    "createdat",
    "created",
    "time",
    "timestamp",
    "datetime",
    "writtenat",
    "날짜",
    "작성일",
    "작성일시",
    "작성시간",
    "게시일",
    "일시",
];

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The file cannot be read.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The file has no answers.
    #[error(
        "{} has no columns positive, neutral and negative; make them with `ko-sentiment annotate`, and name its output",
        shown_path(.0)
    )]
    NotAnnotated(PathBuf),
    /// A named column is not there.
    #[error("{} has no column {column:?}; name the dates' column with --date-column", shown_path(path))]
    NoDates {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
    },
}

/// What an annotated file says. Arrays of three are in the order of
/// [`Sentiment::ALL`](crate::sentiment::labels::Sentiment::ALL).
#[derive(Debug)]
pub struct Findings {
    /// Rows in the file.
    pub rows: u64,
    /// Rows answered, by sentiment.
    pub answered: [u64; 3],
    /// Answers that the model withholds, by sentiment.
    pub abstained: [u64; 3],
    /// Sum of the highest probabilities.
    pub sure: f64,
    /// Answers by their highest probability.
    pub bars: [u64; BARS],
    /// Answers by day since 1970-01-01.
    pub days: BTreeMap<i64, [u64; 3]>,
    /// The dates' column.
    pub date_column: Option<String>,
    /// Answers by video.
    pub videos: HashMap<String, [u64; 3]>,
    /// The comments of which the model is surest, by sentiment.
    pub certain: [Top; 3],
    /// The comments between two sentiments.
    pub divided: Top,
    /// Words by sentiment.
    pub words: Words,
}

/// Where the columns stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    scores: [usize; 3],
    abstained: Option<usize>,
    date: Option<usize>,
}

impl Found {
    fn of(names: &[String], date: Option<&str>) -> Option<Self> {
        let position = |wanted: &str| names.iter().rposition(|name| is_ours(name, wanted));
        let scores = [position("positive")?, position("neutral")?, position("negative")?];
        let usual = |name: &String| DATES.contains(&fold(name).as_str());
        let date = match date {
            Some(named) => names.iter().position(|name| name == named),
            None => names.iter().position(usual),
        };
        Some(Self { scores, abstained: position("abstained"), date })
    }

    fn probabilities(&self, record: &Record) -> Option<[f64; 3]> {
        let number = |at: usize| record.values[at].text().ok().flatten()?.parse::<f64>().ok();
        let [positive, neutral, negative] = self.scores.map(number);
        Some([positive?, neutral?, negative?]).filter(|p| p.iter().all(|p| (0.0..=1.0).contains(p)))
    }
}

/// Whether a column is `annotate`'s, under its own or another name.
fn is_ours(name: &str, wanted: &str) -> bool {
    let rest = name.strip_prefix("predicted_").unwrap_or(name);
    let rest = rest.strip_prefix(wanted);
    rest.is_some_and(|rest| {
        rest.is_empty() || rest.strip_prefix('_').is_some_and(|n| n.parse::<u32>().is_ok())
    })
}

fn fold(name: &str) -> String {
    name.to_lowercase().chars().filter(|c| !matches!(c, '_' | '-' | ' ' | '.')).collect()
}

/// Reads an annotated file.
///
/// # Errors
/// See [`ReportError`].
pub fn collect(path: &Path, options: &ReadOptions, date: Option<&str>) -> Result<Findings, ReportError> {
    let options = ReadOptions { all_columns: true, ..options.clone() };
    let mut findings = Findings::default();
    let mut ever = false;
    for row in Comments::open(path, options, false)? {
        findings.rows += 1;
        let Ok(comment) = row? else { continue };
        let Some(found) = Found::of(&comment.record.names, date) else { continue };
        ever = true;
        if let (Some(named), None) = (date, found.date) {
            return Err(ReportError::NoDates { path: path.into(), column: named.into() });
        }
        if let Some(probabilities) = found.probabilities(&comment.record) {
            let title = comment.video_title.as_deref();
            findings.add(&found, &comment.record, (&comment.text, title, probabilities));
        }
    }
    if ever { Ok(findings) } else { Err(ReportError::NotAnnotated(path.into())) }
}

impl Default for Findings {
    fn default() -> Self {
        Self {
            rows: 0,
            answered: [0; 3],
            abstained: [0; 3],
            sure: 0.0,
            bars: [0; BARS],
            days: BTreeMap::new(),
            date_column: None,
            videos: HashMap::new(),
            certain: std::array::from_fn(|_| Top::new(SHOWN)),
            divided: Top::new(SHOWN),
            words: Words::default(),
        }
    }
}

impl Findings {
    /// Answers in all.
    pub fn total(&self) -> u64 {
        self.answered.iter().sum()
    }

    fn add(&mut self, found: &Found, record: &Record, row: (&str, Option<&str>, [f64; 3])) {
        let (text, title, probabilities) = row;
        let class = top(&probabilities).index();
        let highest = probabilities[class];
        self.answered[class] += 1;
        let value = |at: Option<usize>| at.and_then(|at| record.values[at].text().ok().flatten());
        let withheld = value(found.abstained).is_some_and(|text| text.eq_ignore_ascii_case("true"));
        self.abstained[class] += u64::from(withheld);
        self.sure += highest;
        let bar = ((highest - 1.0 / 3.0) * 1.5 * BARS as f64) as usize;
        self.bars[bar.min(BARS - 1)] += 1;
        if let Some(day) = value(found.date).and_then(time::day) {
            self.days.entry(day).or_default()[class] += 1;
            self.date_column = found.date.map(|at| record.names[at].clone());
        }
        if let Some(title) = title.filter(|t| self.videos.len() < MAX_VIDEOS || self.videos.contains_key(*t))
        {
            self.videos.entry(title.to_owned()).or_default()[class] += 1;
        }
        let sample = || Sample { text: short(text), probabilities };
        self.certain[class].offer(highest, sample);
        let mut sorted = probabilities;
        sorted.sort_by(f64::total_cmp);
        self.divided.offer(sorted[1] - sorted[2], sample);
        self.words.add(text, class);
    }
}

/// A comment on one line, cut where it is long.
fn short(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LENGTH) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_columns_are_the_last_ones() {
        let check = |names: &[&str], date: Option<&str>, expect: Option<([usize; 3], Option<usize>)>| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let found = Found::of(&names, date).map(|found| (found.scores, found.date));
            assert_eq!(found, expect, "{names:?}");
        };
        let plain = ["comment", "Published_At", "positive", "neutral", "negative"];
        check(&plain, None, Some(([2, 3, 4], Some(1))));
        check(&plain, Some("comment"), Some(([2, 3, 4], Some(0))));
        let twice =
            ["positive", "neutral", "negative", "predicted_positive", "predicted_neutral_2", "negative"];
        check(&twice, None, Some(([3, 4, 5], None)));
        check(&["comment", "positive", "neutral"], None, None);
    }
}

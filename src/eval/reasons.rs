//! Figures of reasons: what can be told of them without reading them. Whether they fit their comment, only a reader
//! can say.

use std::collections::BTreeSet;

use serde::Serialize;

use super::quotations::{quotations, stands_in};
use crate::ask::Answer;
use crate::sentiment::labels::Sentiment;

/// Marks that end a sentence.
const ENDS: [char; 7] = ['.', '!', '?', '…', '。', '！', '？'];
/// Marks that may follow the end of a sentence.
const CLOSING: [char; 9] = ['\'', '"', '’', '”', '」', '』', ')', ']', '）'];

/// The reasons for one row's verdict, and what is wrong with them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reason {
    /// Index of the row in the data set, from 0, as in a predictions file.
    pub row: usize,
    /// The verdict that the reasons follow.
    pub verdict: Option<Sentiment>,
    /// The reasons.
    pub reason: String,
    /// The words name the verdict's sentiment, or none.
    pub agrees: bool,
    /// The text ends with a sentence.
    pub finished: bool,
    /// Quotations in the text.
    pub quotations: usize,
    /// Those that do not stand in the comment.
    pub not_in_comment: Vec<String>,
    /// Tokens written.
    pub tokens: usize,
}

/// How the answers are read.
#[derive(Debug, Clone)]
pub struct Reading {
    /// The labels as the model writes them: between marks, they quote nothing.
    pub labels: [String; 3],
    /// What the model wrote before the reasons; empty where that isn't known.
    pub begun: String,
}

impl Reading {
    /// The reasons in the answer to the row `row`, whose comment is `comment`. `None` if it has none.
    pub fn of(&self, row: usize, comment: &str, answer: Answer) -> Option<Reason> {
        let (reason, done) = (answer.text?, answer.done?);
        let mut quoted = quotations(&reason, &self.begun);
        quoted.retain(|quoted| !self.is_label(quoted));
        let count = quoted.len();
        quoted.retain(|quoted| !stands_in(quoted, comment));
        Some(Reason {
            row,
            verdict: answer.predicted,
            agrees: done.agrees,
            finished: is_finished(&reason),
            quotations: count,
            not_in_comment: quoted,
            tokens: done.stats.generated_tokens,
            reason,
        })
    }

    /// A label, also as 긍정적인.
    fn is_label(&self, quoted: &str) -> bool {
        let ends = |rest: &str| rest.is_empty() || rest.starts_with('적');
        self.labels.iter().any(|label| quoted.strip_prefix(label.as_str()).is_some_and(ends))
    }
}

fn is_finished(text: &str) -> bool {
    text.trim_end().trim_end_matches(CLOSING).ends_with(ENDS)
}

/// What is wrong with the reasons for some verdicts, counted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Reasons {
    /// Reasons written.
    pub rows: u64,
    /// Comments that are too long for reasons.
    pub refused: u64,
    /// Maximum tokens of each.
    pub max_tokens: u32,
    /// Reasons that name another sentiment than their verdict.
    pub contradictions: u64,
    /// Quotations in all reasons.
    pub quotations: u64,
    /// Those that do not stand in the comment.
    pub quotations_not_in_comment: u64,
    /// Reasons that do not end with a sentence.
    pub unfinished: u64,
    /// Share of the reasons that differ from each other, in 0..=1.
    pub distinct: f64,
    /// Mean length in characters.
    pub mean_characters: f64,
    /// Mean length in tokens.
    pub mean_tokens: f64,
}

impl Reasons {
    /// Counts `reasons` of at most `max_tokens`, which `refused` further comments have no room for.
    pub fn of(reasons: &[Reason], refused: usize, max_tokens: u32) -> Self {
        let rows = reasons.len() as u64;
        let count = |is: fn(&Reason) -> bool| reasons.iter().filter(|reason| is(reason)).count() as u64;
        let sum = |of: fn(&Reason) -> usize| reasons.iter().map(of).sum::<usize>() as u64;
        let mean = |sum: u64| sum as f64 / rows.max(1) as f64;
        let texts: BTreeSet<&str> = reasons.iter().map(|reason| reason.reason.trim()).collect();
        Self {
            rows,
            refused: refused as u64,
            max_tokens,
            contradictions: count(|reason| !reason.agrees),
            quotations: sum(|reason| reason.quotations),
            quotations_not_in_comment: sum(|reason| reason.not_in_comment.len()),
            unfinished: count(|reason| !reason.finished),
            distinct: mean(texts.len() as u64),
            mean_characters: mean(sum(|reason| reason.reason.chars().count())),
            mean_tokens: mean(sum(|reason| reason.tokens)),
        }
    }

    /// The figures in words.
    pub fn sentence(&self) -> String {
        let refused = match self.refused {
            0 => String::new(),
            n => format!("; {n} more comments left no room for reasons"),
        };
        format!(
            "reasons: {} written, at most {} tokens each: {} contradict their verdict, {} of {} quotations are not in \
             the comment, {} are unfinished, {:.1} % are distinct, mean length {:.1} characters, {:.1} tokens{}",
            self.rows,
            self.max_tokens,
            self.contradictions,
            self.quotations_not_in_comment,
            self.quotations,
            self.unfinished,
            100.0 * self.distinct,
            self.mean_characters,
            self.mean_tokens,
            refused
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Finish, Stats};
    use crate::sentiment::classify::ReasonDone;

    fn reason(row: usize, comment: &str, text: &str, agrees: bool) -> Reason {
        let labels = Sentiment::ALL.map(|s| s.korean().to_owned());
        let reading = Reading { labels, begun: String::new() };
        let stats = Stats { generated_tokens: text.len(), ..Stats::default() };
        let done = ReasonDone { finish: Finish::Stop, stated: None, agrees, stats };
        let answer = Answer {
            predicted: Some(Sentiment::Positive),
            abstained: false,
            log_probs: None,
            probabilities: None,
            text: Some(text.to_owned()),
            done: Some(done),
        };
        reading.of(row, comment, answer).unwrap()
    }

    #[test]
    fn a_sentence_ends_with_its_mark() {
        let check = |text: &str, expect| assert_eq!(is_finished(text), expect, "{text:?}");
        check("기쁨을 나타냅니다.", true);
        check("\"정말 좋다.\"\n", true);
        check("웃음을 줍니다…", true);
        check("기쁨을 나타냅", false);
        check("1.5배 빠르다", false);
        check("'좋다'", false);
        check("", false);
    }

    #[test]
    fn labels_between_marks_quote_nothing() {
        let check = |text: &str, count, not_in_comment: &[&str]| {
            let found = reason(0, "노래가 좋다", text, true);
            assert_eq!((found.quotations, found.not_in_comment), (count, vec_of(not_in_comment)), "{text:?}");
        };
        check("'긍정'이며 '긍정적인' 말입니다. '긍정왕'은 없습니다.", 1, &["긍정왕"]);
        check("'노래가 좋다'와 '춤'이라는 말입니다.", 2, &["춤"]);
    }

    fn vec_of(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn faults_are_counted() {
        let all = [
            reason(0, "가", "'가'라고 합니다.", true),
            reason(1, "나", "'가'라고 합니다.", false),
            reason(2, "다", "'나'와 '라'라고", true),
            reason(4, "마", "좋다.", true),
        ];
        let found = Reasons::of(&all, 1, 20);
        assert_eq!((found.rows, found.refused, found.contradictions, found.unfinished), (4, 1, 1, 1));
        assert_eq!((found.quotations, found.quotations_not_in_comment), (4, 3));
        assert_eq!((found.distinct, found.mean_characters), (0.75, 33.0 / 4.0));
        assert_eq!(Reasons::of(&[], 0, 20).distinct, 0.0);
    }
}

//! Metrics, calibration and Parquet reading against scikit-learn, torchmetrics, scipy and pandas.

use std::path::{Path, PathBuf};

use ko_sentiment::dataset::{self, Columns, ReadOptions};
use ko_sentiment::eval::calibrate;
use ko_sentiment::eval::intervals::mcnemar;
use ko_sentiment::eval::metrics::{BINS, Confusion, Scored, Scores, Trust};
use ko_sentiment::eval::report::classification_report;
use ko_sentiment::sentiment::labels::Sentiment;
use ko_sentiment::sentiment::score::top;
use serde::Deserialize;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/eval").join(name)
}

fn golden<T: for<'de> Deserialize<'de>>(name: &str) -> T {
    serde_json::from_str(&std::fs::read_to_string(fixture(name)).unwrap()).unwrap()
}

#[derive(Deserialize)]
struct Metrics {
    bins: usize,
    cases: Vec<Case>,
    unreadable: Unreadable,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    labels: Vec<usize>,
    answers: Vec<usize>,
    probabilities: Vec<[f64; 3]>,
    scores: [[f64; 4]; 3],
    #[serde(rename = "macro")]
    macro_average: [f64; 3],
    text: Option<std::collections::BTreeMap<usize, String>>,
    confusion: [[u64; 3]; 3],
    log_loss: f64,
    brier: f64,
    ece: f64,
}

#[derive(Deserialize)]
struct Unreadable {
    labels: Vec<usize>,
    answers: Vec<usize>,
    scores: [[f64; 4]; 3],
    accuracy: f64,
    confusion: [[u64; 4]; 3],
    #[serde(rename = "macro")]
    macro_average: [f64; 3],
    weighted: [f64; 3],
}

fn scored(labels: &[usize], numbers: &[[f64; 3]]) -> Vec<Scored> {
    let truths = labels.iter().map(|i| Sentiment::ALL[*i]);
    truths.zip(numbers.iter().copied()).collect()
}

fn close(name: &str, ours: f64, theirs: f64, tolerance: f64) {
    assert!((ours - theirs).abs() <= tolerance, "{name}: {ours} is not {theirs}");
}

fn same_scores(name: &str, ours: Scores, theirs: &[f64]) {
    let ours = [ours.precision, ours.recall, ours.f1, ours.support as f64];
    for (ours, theirs) in ours.iter().zip(theirs) {
        close(name, *ours, *theirs, 1e-12);
    }
}

#[test]
fn metrics_agree_with_scikit_learn() {
    let golden: Metrics = golden("metrics.json");
    assert_eq!(golden.bins, BINS);
    for case in golden.cases {
        let name = &case.name;
        let rows = scored(&case.labels, &case.probabilities);
        let answers: Vec<usize> = rows.iter().map(|(_, p)| top(p).index()).collect();
        assert_eq!(answers, case.answers, "{name}");
        let confusion = Confusion::of(rows.iter().map(|(truth, p)| (*truth, Some(top(p)))));
        assert_eq!(confusion.counts, case.confusion, "{name}");
        for (class, expect) in Sentiment::ALL.into_iter().zip(&case.scores) {
            same_scores(name, confusion.scores(class), expect);
        }
        same_scores(name, confusion.macro_average(), &case.macro_average);
        let trust = Trust::of(&rows);
        close(name, trust.log_loss, case.log_loss, 1e-12);
        close(name, trust.brier, case.brier, 1e-12);
        // torchmetrics sums in single precision.
        close(name, trust.ece, case.ece, 1e-6);
    }
}

#[test]
fn the_report_is_scikit_learns() {
    let golden: Metrics = golden("metrics.json");
    let mut compared = 0;
    for case in golden.cases {
        let pairs = case.labels.iter().zip(&case.answers);
        let confusion = Confusion::of(pairs.map(|(l, a)| (Sentiment::ALL[*l], Some(Sentiment::ALL[*a]))));
        for (digits, text) in case.text.into_iter().flatten() {
            // Two columns a syllable, so the table is as wide as with four letters.
            let ours = classification_report(&confusion, digits)
                .replace("긍정", "posi")
                .replace("중립", "neut")
                .replace("부정", "nega");
            assert_eq!(ours, text, "{}", case.name);
            compared += 1;
        }
    }
    assert!(compared >= 8);
}

#[test]
fn unreadable_answers_agree_with_scikit_learn() {
    let golden = golden::<Metrics>("metrics.json").unreadable;
    let pairs = golden.labels.iter().zip(&golden.answers);
    let confusion = Confusion::of(pairs.map(|(l, a)| (Sentiment::ALL[*l], Sentiment::ALL.get(*a).copied())));
    for (i, class) in Sentiment::ALL.into_iter().enumerate() {
        same_scores("class", confusion.scores(class), &golden.scores[i]);
        assert_eq!(confusion.counts[i], golden.confusion[i][..3]);
        assert_eq!(confusion.unreadable[i], golden.confusion[i][3]);
    }
    close("accuracy", confusion.accuracy(), golden.accuracy, 1e-12);
    same_scores("macro", confusion.macro_average(), &golden.macro_average);
    same_scores("weighted", confusion.weighted_average(), &golden.weighted);
}

#[derive(Deserialize)]
struct Fit {
    name: String,
    balance: f64,
    labels: Vec<usize>,
    log_probs: Vec<[f64; 3]>,
    temperature: f64,
    bias: [f64; 3],
}

#[test]
fn calibration_agrees_with_scipy() {
    for case in golden::<Vec<Fit>>("calibration.json") {
        let rows = scored(&case.labels, &case.log_probs);
        let fitted = calibrate::fit(&rows, case.balance).unwrap();
        close(&case.name, fitted.temperature, case.temperature, 1e-4);
        for class in Sentiment::ALL {
            close(&case.name, *fitted.bias.get(class), case.bias[class.index()], 1e-4);
        }
    }
}

#[derive(Deserialize)]
struct McNemar {
    ours: u64,
    theirs: u64,
    p: f64,
}

#[test]
fn mcnemars_test_agrees_with_scipy() {
    for McNemar { ours, theirs, p } in golden::<Vec<McNemar>>("mcnemar.json") {
        close(&format!("{ours} to {theirs}"), mcnemar(ours, theirs) / p, 1.0, 1e-9);
    }
}

#[test]
fn parquet_from_pandas_is_read() {
    let data = dataset::read(&fixture("comments.parquet"), &ReadOptions::default()).unwrap();
    let rows: Vec<_> =
        data.rows.iter().map(|row| (row.comment.as_str(), row.video_title.as_deref(), row.label)).collect();
    let expect = [
        ("정말 감동이었습니다", Some("영상"), Sentiment::Positive),
        ("그냥 그래요", None, Sentiment::Neutral),
        ("돈이 아깝다", Some("제목"), Sentiment::Negative),
    ];
    assert_eq!(rows, expect);
    let columns = Columns { comment: Some("id".into()), ..Columns::default() };
    let options = ReadOptions { columns, ..ReadOptions::default() };
    let error = dataset::read(&fixture("comments.parquet"), &options).unwrap_err().to_string();
    assert!(error.contains("column \"id\" must be text and is INT64"), "{error}");
}

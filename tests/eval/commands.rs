//! `ko-sentiment eval` and `ko-sentiment calibrate`.

use std::collections::HashMap;
use std::path::Path;
use std::process::Output;

use ko_sentiment::eval::predictions::{self, Prediction};
use ko_sentiment::gguf::Header;
use ko_sentiment::sentiment::labels::Sentiment;
use ko_sentiment::sentiment::profile::{METADATA_KEY, Profile};
use ko_sentiment::sentiment::score::probabilities;
use serde_json::Value;

use crate::support::{Fake, TestServer, binary, model};

fn run(args: &[&str]) -> Output {
    binary().args(args).output().unwrap()
}

fn stdout(args: &[&str]) -> String {
    let output = run(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn json(args: &[&str]) -> Value {
    serde_json::from_str(&stdout(args)).unwrap()
}

fn refused(args: &[&str], expect: &str) {
    let output = run(args);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{args:?}: {message}");
    assert!(message.contains(expect), "{args:?}: {message:?} does not say {expect:?}");
}

/// A labelled file; its path as text.
fn data(folder: &Path, name: &str, rows: impl IntoIterator<Item = (String, Sentiment)>) -> String {
    let mut csv = String::from("comment,label\n");
    for (comment, label) in rows {
        csv += &format!("{comment},{label}\n");
    }
    let path = folder.join(name);
    std::fs::write(&path, csv).unwrap();
    path.to_str().unwrap().to_owned()
}

fn answers(path: &str) -> Vec<Prediction> {
    predictions::read(Path::new(path)).unwrap().into_values().collect()
}

fn counted(n: usize) -> impl Iterator<Item = (String, Sentiment)> {
    (0..n).map(|i| (format!("{i}번째 댓글"), Sentiment::ALL[i % 3]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_measured_and_a_run_goes_on() {
    let server = TestServer::start(Fake::default().classifier()).await;
    let endpoint = server.address.to_string();
    let measured = tokio::task::spawn_blocking(move || {
        let folder = tempfile::tempdir().unwrap();
        let csv = data(folder.path(), "data.csv", counted(40));
        let file = folder.path().join("predictions.jsonl").to_str().unwrap().to_owned();
        let eval = ["eval", "--endpoint", &endpoint, "--data", &csv, "--predictions", &file];

        let part = json(&[&eval[..], &["--limit", "25", "--json"]].concat());
        assert_eq!(part["rows"], 25);
        let first = answers(&file);
        assert_eq!(first.len(), 25);

        let pictures = folder.path().join("pictures").to_str().unwrap().to_owned();
        let whole = json(&[&eval[..], &["--json", "--calibrate", "--pictures", &pictures]].concat());
        let all = answers(&file);
        assert_eq!(all.iter().map(|p| p.row).collect::<Vec<_>>(), (0..40).collect::<Vec<_>>());
        assert_eq!(all[..25], first, "the first rows were not asked again");

        let right = all.iter().filter(|p| p.predicted == Some(p.label)).count();
        assert_eq!(whole["accuracy"].as_f64().unwrap(), right as f64 / 40.0);
        let loss: f64 = all.iter().map(|p| -p.probabilities.unwrap()[p.label.index()].ln()).sum();
        assert!((whole["log_loss"].as_f64().unwrap() - loss / 40.0).abs() < 1e-9);
        let names: Vec<_> = std::fs::read_dir(&pictures).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "{names:?}");

        let other = data(folder.path(), "other.csv", counted(39));
        let other = ["eval", "--endpoint", &endpoint, "--data", &other, "--predictions", &file];
        refused(&other, "another data set");
        refused(&[&eval[..], &["--mode", "generate"]].concat(), "another mode");

        let text = stdout(&eval);
        assert!(text.contains("   macro avg") && text.contains("부정"), "{text}");
        let markdown = stdout(&[&eval[..], &["--markdown"]].concat());
        assert!(markdown.contains("| weighted avg |"), "{markdown}");
    });
    measured.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn free_answers_without_a_label_are_counted() {
    let server = TestServer::start(Fake::default().classifier()).await;
    let endpoint = server.address.to_string();
    let measured = tokio::task::spawn_blocking(move || {
        let folder = tempfile::tempdir().unwrap();
        let csv = data(folder.path(), "data.csv", counted(6));
        let mut eval = vec!["eval", "--endpoint", &endpoint, "--data", &csv, "--mode", "generate", "--json"];
        eval.extend(["--max-tokens", "8"]);
        // The stand-in for a model writes noise.
        let report = json(&eval);
        assert_eq!(report["unreadable"], serde_json::json!([2, 2, 2]));
        assert_eq!(report["accuracy"], 0.0);
        assert!(report.get("log_loss").is_none());
        eval.push("--calibrate");
        refused(&eval, "use --mode score");
    });
    measured.await.unwrap();
}

/// Labels that the model's own scores imply once its leaning to one label is taken away, so that
/// there is something to calibrate, whatever the model.
fn implied(folder: &Path, model: &str) -> String {
    let comments = [
        "최고예요",
        "감사합니다",
        "눈물 났어요",
        "별로네요",
        "시간 낭비",
        "광고 너무 많다",
        "몇 시에 하나요",
        "1등",
        "그냥 그래요",
        "구독 취소",
        "사랑해요",
        "화난다",
        "노래 제목이 뭐죠",
        "웃기다",
        "지루해",
    ];
    let rows =
        (0..30).map(|i| (format!("{} {}", comments[i % 15], ["", "ㅋㅋ"][i / 15]), Sentiment::Neutral));
    let csv = data(folder, "plain.csv", rows);
    let file = folder.join("plain.jsonl").to_str().unwrap().to_owned();
    json(&["eval", "--model", model, "--data", &csv, "--predictions", &file, "--json"]);
    let answers = answers(&file);
    let mean = |k: usize| answers.iter().map(|p| p.log_probs.unwrap()[k]).sum::<f64>() / 30.0;
    let means = [mean(0), mean(1), mean(2)];
    let labelled = answers.iter().map(|p| {
        let lead = |s: &Sentiment| p.log_probs.unwrap()[s.index()] - means[s.index()];
        let label = Sentiment::ALL.into_iter().max_by(|a, b| lead(a).total_cmp(&lead(b))).unwrap();
        (p.comment.clone(), label)
    });
    data(folder, "implied.csv", labelled)
}

#[test]
fn calibration_is_written_into_the_model_and_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    std::fs::copy(model(), &path).unwrap();
    let name = path.to_str().unwrap();
    let csv = implied(folder.path(), name);
    let weights = |header: &Header| std::fs::read(&path).unwrap().split_off(header.data_start as usize);
    let before = Header::read(&path).unwrap();
    let weights_before = weights(&before);

    let file = folder.path().join("implied.jsonl").to_str().unwrap().to_owned();
    let calibrate =
        ["calibrate", "--model", name, "--data", &csv, "--predictions", &file, "--abstain-below", "0.4"];
    stdout(&[&calibrate[..], &["--dry-run"]].concat());
    assert_eq!(Header::read(&path).unwrap().metadata, before.metadata, "--dry-run writes nothing");
    let text = stdout(&calibrate);
    assert!(text.contains("temperature"), "{text}");

    let after = Header::read(&path).unwrap();
    let profile =
        |header: &Header| Profile::from_toml(header.metadata.require_str(METADATA_KEY).unwrap()).unwrap();
    let fitted = profile(&after).calibration;
    assert_ne!(fitted.temperature, 1.0);
    assert_eq!(fitted.abstain_below, 0.4);
    let unchanged = Profile { calibration: profile(&before).calibration, ..profile(&after) };
    assert_eq!(unchanged, profile(&before));
    assert!(weights(&after) == weights_before);
    let others = |header: &Header| -> HashMap<String, String> {
        let entries = header.metadata.iter().filter(|(key, _)| *key != METADATA_KEY);
        entries.map(|(key, value)| (key.to_owned(), format!("{value:?}"))).collect()
    };
    assert_eq!(others(&after), others(&before));

    // The same weights, so the same scores, and the fitted probabilities beside them.
    let (against, calibrated) = (model(), folder.path().join("calibrated.jsonl"));
    let (against, file) = (against.to_str().unwrap(), calibrated.to_str().unwrap());
    let mut eval = vec!["eval", "--model", name, "--data", &csv, "--limit", "4", "--json", "--reproducible"];
    eval.extend(["--against", against, "--predictions", file]);
    let fidelity = &json(&eval)["fidelity"];
    assert_eq!((&fidelity["rows"], &fidelity["flips"]), (&4.into(), &0.into()));
    assert!(fidelity["max_kl"].as_f64().unwrap() < 1e-9, "{fidelity}");
    for p in answers(file) {
        let expect = probabilities(p.log_probs.unwrap(), &fitted);
        for (a, b) in p.probabilities.unwrap().iter().zip(expect) {
            assert!((a - b).abs() < 1e-9, "{p:?}");
        }
    }
}

#[test]
fn faults_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let csv = data(folder.path(), "data.csv", counted(3));
    let model = model().to_str().unwrap().to_owned();
    refused(&["eval", "--model", &model, "--data", "/nowhere.csv"], "/nowhere.csv");
    refused(&["eval", "--endpoint", "127.0.0.1:1", "--data", &csv], "is the server running");
    refused(&["calibrate", "--endpoint", "127.0.0.1:1", "--data", &csv], "--model FILE");
    refused(&["calibrate", "--model", &model, "--data", &csv], "3 rows are too few");
}

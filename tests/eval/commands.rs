//! `ko-sentiment eval` and `ko-sentiment calibrate`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Output;

use ko_sentiment::eval::predictions::{self, Prediction};
use ko_sentiment::gguf::Header;
use ko_sentiment::sentiment::labels::Sentiment;
use ko_sentiment::sentiment::profile::{DEFAULT_TOML, METADATA_KEY, Profile};
use ko_sentiment::sentiment::score::{probabilities, top};
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

/// A copy of the small model, to be written into.
fn copied_model(folder: &Path) -> PathBuf {
    let path = folder.join("model.gguf");
    std::fs::copy(model(), &path).unwrap();
    path
}

fn profile(header: &Header) -> Profile {
    Profile::from_toml(header.metadata.require_str(METADATA_KEY).unwrap()).unwrap()
}

/// All metadata but the profile.
fn others(header: &Header) -> HashMap<String, String> {
    let entries = header.metadata.iter().filter(|(key, _)| *key != METADATA_KEY);
    entries.map(|(key, value)| (key.to_owned(), format!("{value:?}"))).collect()
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

        // The folder of the predictions is the pictures', which is new.
        let out = folder.path().join("new/out").to_str().unwrap().to_owned();
        let inside = format!("{out}/answers.jsonl");
        let mut fresh = vec!["eval", "--endpoint", &endpoint, "--data", &csv, "--limit", "3"];
        fresh.extend(["--pictures", &out, "--predictions", &inside]);
        stdout(&fresh);
        assert_eq!(std::fs::read_dir(&out).unwrap().count(), 3);

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
    let path = copied_model(folder.path());
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

    let kept = folder.path().join("model.gguf.profile-1.toml");
    assert!(text.contains(kept.to_str().unwrap()), "{text}");
    assert_eq!(std::fs::read_to_string(kept).unwrap(), before.metadata.require_str(METADATA_KEY).unwrap());
    let after = Header::read(&path).unwrap();
    let fitted = profile(&after).calibration;
    assert_ne!(fitted.temperature, 1.0);
    assert_eq!(fitted.abstain_below, 0.4);
    let unchanged = Profile { calibration: profile(&before).calibration, ..profile(&after) };
    assert_eq!(unchanged, profile(&before));
    assert!(weights(&after) == weights_before);
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
        let expect = probabilities(p.log_probs.unwrap(), &fitted.scaling(false));
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
    // All that is told before the model is loaded or the server asked.
    let nowhere = ["eval", "--model", "/nowhere.gguf", "--data", &csv];
    let told = |more: &[&str], expect: &str| refused(&[&nowhere[..], more].concat(), expect);
    told(&["--pictures", &csv], "cannot write pictures");
    told(&["--predictions", &format!("{csv}/p.jsonl")], "p.jsonl");
    told(&["--against", "/nowhere.jsonl"], "/nowhere.jsonl");
    told(&["--against", &csv], "data.csv");
    told(&["--balance", "0.5"], "add --calibrate");
    told(&["--by-video"], "add --calibrate");
    told(&["--max-tokens", "5"], "use --mode generate");
    told(&["--mode", "generate", "--reasons", "2"], "use --mode score");
    told(&["--reasons", "all", "--reasons-out", &csv], "name a new file with --reasons-out");
    told(&["--slice-column", "video"], "the file has \"comment\", \"label\"; name the right one");
    told(&["--mode", "generate", "--reproducible"], "--reproducible is for scores");
    told(&[], "/nowhere.gguf");
    refused(&["calibrate", "--model", &model, "--data", &csv], "3 rows are too few");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_another_profile_or_option_are_not_mixed_in() {
    let mut fake = Fake::default();
    let first = TestServer::start(fake.clone().classifier()).await;
    fake.profile.instruction.push_str("다른 지시\n");
    let second = TestServer::start(fake.classifier()).await;
    let servers = [first.address.to_string(), second.address.to_string()];
    let measured = tokio::task::spawn_blocking(move || {
        let folder = tempfile::tempdir().unwrap();
        let csv = data(folder.path(), "data.csv", counted(6));
        let [scored, free] =
            ["s.jsonl", "g.jsonl"].map(|name| folder.path().join(name).to_str().unwrap().to_owned());
        let eval = |server: usize, file: &str, more: &[&str]| -> Vec<String> {
            let args = ["eval", "--endpoint", &servers[server], "--data", &csv, "--predictions", file];
            args.iter().chain(more).map(|arg| (*arg).to_owned()).collect()
        };
        let told = |args: Vec<String>, expect: &str| {
            refused(&args.iter().map(String::as_str).collect::<Vec<_>>(), expect);
        };
        let runs = |args: Vec<String>| stdout(&args.iter().map(String::as_str).collect::<Vec<_>>());
        runs(eval(0, &scored, &["--limit", "3"]));
        told(eval(1, &scored, &[]), "another profile");
        told(eval(0, &scored, &["--reproducible"]), "another --reproducible (no");
        let generate = ["--mode", "generate", "--max-tokens"];
        runs(eval(0, &free, &[&generate[..], &["2", "--limit", "3"]].concat()));
        told(
            eval(0, &free, &[&generate[..], &["24"]].concat()),
            "another --max-tokens (2, where this run has 24)",
        );
        runs(eval(0, &scored, &[]));
        // What differs from the reference is told.
        let model = model().to_str().unwrap().to_owned();
        let mut against =
            vec!["eval", "--model", &model, "--data", &csv, "--against", &scored, "--limit", "2"];
        against.push("--json");
        let fidelity = &json(&against)["fidelity"];
        assert!(fidelity["differs"].as_array().unwrap().contains(&"model".into()), "{fidelity}");
        assert!(fidelity["mcnemar_p"].as_f64().unwrap() <= 1.0);
    });
    measured.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn ties_go_to_one_label_everywhere() {
    let mut fake = Fake::default();
    fake.profile.calibration.temperature = 1e300;
    let server = TestServer::start(fake.classifier()).await;
    let endpoint = server.address.to_string();
    let measured = tokio::task::spawn_blocking(move || {
        let folder = tempfile::tempdir().unwrap();
        let labels = [Sentiment::Positive, Sentiment::Negative, Sentiment::Negative];
        let csv = data(folder.path(), "data.csv", (0..6).map(|i| (format!("댓글 {i}"), labels[i % 3])));
        let report = json(&["eval", "--endpoint", &endpoint, "--data", &csv, "--json"]);
        let third = |value: &Value| assert!((value.as_f64().unwrap() - 1.0 / 3.0).abs() < 1e-12, "{report}");
        third(&report["accuracy"]);
        third(&report["selective"][0]["accuracy"]);
        assert!(report["ece"].as_f64().unwrap() < 1e-12, "{report}");
        // F1 of 긍정 1/2, of 부정 0; 중립 does not occur.
        assert_eq!(report["macro_f1"], 0.25);
    });
    measured.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn withheld_answers_are_counted_and_marked() {
    let mut fake = Fake::default();
    let server = TestServer::start(fake.clone().classifier()).await;
    let plain = server.address.to_string();
    let folder = tempfile::tempdir().unwrap();
    let csv = data(folder.path(), "data.csv", counted(40));
    let report = {
        let csv = csv.clone();
        tokio::task::spawn_blocking(move || json(&["eval", "--endpoint", &plain, "--data", &csv, "--json"]))
    };
    let report = report.await.unwrap();
    assert!(report.get("withheld").is_none());
    // The threshold that the report gives for seven of ten answers.
    let row = report["selective"][4].clone();
    fake.profile.calibration.abstain_below = row["abstain_below"].as_f64().unwrap();
    let abstaining = TestServer::start(fake.classifier()).await.address.to_string();
    let measured = tokio::task::spawn_blocking(move || {
        let file = folder.path().join("p.jsonl").to_str().unwrap().to_owned();
        let eval = ["eval", "--endpoint", &abstaining, "--data", &csv, "--predictions", &file];
        let found = json(&[&eval[..], &["--json"]].concat());
        assert_eq!(found["accuracy"], report["accuracy"], "withheld answers count as answered");
        let withheld = &found["withheld"];
        let answered = 40.0 * row["answered"].as_f64().unwrap();
        assert_eq!(withheld["answered"]["rows"].as_f64().unwrap(), answered.round());
        assert_eq!(withheld["answered"]["accuracy"], row["accuracy"]);
        let marked = answers(&file).iter().filter(|p| p.abstained).count();
        assert_eq!(withheld["withheld"], marked);
        assert!(stdout(&eval).contains(&format!("withheld: {marked} of 40 answers")));
    });
    measured.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn slices_and_reasons_are_reported() {
    let server = TestServer::start(Fake::default().classifier()).await;
    let endpoint = server.address.to_string();
    let measured = tokio::task::spawn_blocking(move || {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.csv");
        let mut csv = String::from("comment,label,video\n");
        for i in 0..12 {
            csv += &format!("{i}번째 댓글,중립,{}\n", ["빵|떡", "", "빵|떡"][i % 3]);
        }
        std::fs::write(&path, csv).unwrap();
        let csv = path.to_str().unwrap();
        let out = folder.path().join("reasons.jsonl").to_str().unwrap().to_owned();
        let mut eval = vec!["eval", "--endpoint", &endpoint, "--data", csv, "--slice-column", "video"];
        let whole = json(&[&eval[..], &["--json"]].concat());
        assert!(whole.get("reasons").is_none());
        let slices = &whole["slices"][0];
        assert_eq!((&slices["column"], &slices["others"]), (&"video".into(), &Value::Null));
        let values = slices["values"].as_array().unwrap();
        let named: Vec<_> = values.iter().map(|v| (v["value"].as_str().unwrap(), &v["rows"])).collect();
        assert_eq!(named, [("빵|떡", &8.into()), ("", &4.into())]);
        let right = |v: &Value| v["rows"].as_f64().unwrap() * v["accuracy"].as_f64().unwrap();
        let sum: f64 = values.iter().map(right).sum();
        assert!((sum - 12.0 * whole["accuracy"].as_f64().unwrap()).abs() < 1e-9, "{whole}");
        let markdown = stdout(&[&eval[..], &["--markdown"]].concat());
        assert!(markdown.contains("| 빵\\|떡 | 8 |") && markdown.contains("| (empty) | 4 |"), "{markdown}");

        eval.extend(["--reasons", "5", "--max-tokens", "24", "--reasons-out", &out]);
        let text = stdout(&eval);
        assert!(text.contains("reasons: 5 written, at most 24 tokens each"), "{text}");
        assert!(text.contains("  video\n") && text.contains("  (empty)\n"), "{text}");
        let lines: Vec<Value> = std::fs::read_to_string(&out)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let rows: Vec<_> = lines.iter().map(|line| line["row"].as_u64().unwrap()).collect();
        assert_eq!(rows, [0, 1, 2, 3, 4]);
        refused(&eval, "name a new file");
        // The stand-in for a model writes noise, the same each time.
        eval.truncate(eval.len() - 2);
        eval.push("--json");
        let report = &json(&eval)["reasons"];
        let mean = |of: fn(&Value) -> f64| lines.iter().map(of).sum::<f64>() / 5.0;
        let characters = mean(|line| line["reason"].as_str().unwrap().chars().count() as f64);
        let tokens = mean(|line| line["tokens"].as_f64().unwrap());
        assert_eq!(
            (report["mean_characters"].as_f64(), report["mean_tokens"].as_f64()),
            (Some(characters), Some(tokens))
        );
        assert!(tokens > 0.0 && tokens <= 24.0, "{report}");
        let unfinished = lines.iter().filter(|line| line["finished"] == false).count();
        assert_eq!((&report["rows"], &report["unfinished"]), (&5.into(), &unfinished.into()));
    });
    measured.await.unwrap();
}

/// A predictions file of a model, with made answers: only its first line is the model's own.
fn made(model: &str, csv: &str, file: &str, log_probs: impl Fn(usize) -> [f64; 3]) {
    stdout(&["eval", "--model", model, "--data", csv, "--limit", "1", "--predictions", file]);
    let text = std::fs::read_to_string(file).unwrap();
    let mut lines = vec![text.lines().next().unwrap().to_owned()];
    let csv = std::fs::read_to_string(csv).unwrap();
    for (row, line) in csv.lines().skip(1).enumerate() {
        let fields: Vec<&str> = line.split(',').collect();
        let (comment, label) = (fields[0], fields[1]);
        let log_probs = log_probs(row);
        let probabilities = log_probs.map(f64::exp);
        let prediction = Prediction {
            row,
            comment: comment.to_owned(),
            label: Sentiment::parse(label).unwrap(),
            predicted: Some(top(&probabilities)),
            abstained: false,
            log_probs: Some(log_probs),
            probabilities: Some(probabilities),
            text: None,
        };
        lines.push(serde_json::to_string(&prediction).unwrap());
    }
    std::fs::write(file, lines.join("\n") + "\n").unwrap();
}

#[test]
fn comments_with_a_video_are_calibrated_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = copied_model(folder.path());
    let name = path.to_str().unwrap();
    let titled = |i: usize| i / 3 % 2 == 1;
    let write = |file: &str, rows: &dyn Fn(usize) -> bool| {
        let row = |i: usize| {
            let title = if titled(i) { "영상" } else { "" };
            format!("댓글 {i},{},{title}\n", Sentiment::ALL[i % 3].name())
        };
        let csv = folder.path().join(file);
        let rows = (0..216).filter(|i| rows(*i)).map(row);
        std::fs::write(&csv, "comment,label,video_title\n".to_owned() + &rows.collect::<String>()).unwrap();
        csv.to_str().unwrap().to_owned()
    };
    // Every label is the most probable one in two of three rows: surer than right of those with a title, less
    // sure of the others.
    let scores = |sure: f64, row: usize| {
        let top = if (row / 6).is_multiple_of(3) { (row + 1 + row / 18 % 2) % 3 } else { row % 3 };
        std::array::from_fn(|c| if c == top { sure } else { (1.0 - sure) / 2.0 }.ln())
    };
    let calibration = || profile(&Header::read(&path).unwrap()).calibration;
    let kept = |file: &str| folder.path().join(file).to_str().unwrap().to_owned();
    let (all, file) = (write("all.csv", &|_| true), kept("all.jsonl"));
    made(name, &all, &file, |row| scores(if titled(row) { 0.98 } else { 0.4 }, row));
    let calibrate = ["calibrate", "--model", name, "--data", &all, "--predictions", &file];
    let text = stdout(&[&calibrate[..], &["--by-video"]].concat());
    assert!(text.contains("bias neutral, with a video"), "{text}");
    let first = calibration();
    let of_videos = first.with_video.unwrap();
    assert!(first.temperature < 0.5 && of_videos.temperature > 2.0, "{first:?}");

    // A model that does so goes on doing so: what the data doesn't show stays. These odds are the roots of those.
    let (titled, file) = (write("titled.csv", &titled), kept("titled.jsonl"));
    made(name, &titled, &file, |row| scores(0.832, row / 3 * 6 + 3 + row % 3));
    stdout(&["calibrate", "--model", name, "--data", &titled, "--predictions", &file, "--allow-worse"]);
    let second = calibration();
    assert_eq!(second.scaling(false), first.scaling(false));
    assert!((second.with_video.unwrap().temperature / of_videos.temperature - 0.5).abs() < 0.1, "{second:?}");
    assert!(stdout(&["inspect", name]).contains("bias with a video"));
}

#[test]
fn a_calibration_that_does_worse_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = copied_model(folder.path());
    let name = path.to_str().unwrap();
    let csv = data(folder.path(), "data.csv", counted(60));
    let file = folder.path().join("made.jsonl").to_str().unwrap().to_owned();
    // Calibrated already: each label is the most probable one in two of three rows, at 2/3.
    made(name, &csv, &file, |row| {
        let top = if row / 3 % 3 == 0 { (row + 1 + row / 9 % 2) % 3 } else { row % 3 };
        std::array::from_fn(|c| if c == top { 2.0 / 3.0_f64 } else { 1.0 / 6.0 }.ln())
    });
    let before = std::fs::read(&path).unwrap();
    let calibrate = ["calibrate", "--model", name, "--data", &csv, "--predictions", &file];
    refused(&calibrate, "log-loss goes from");
    assert!(std::fs::read(&path).unwrap() == before, "nothing is written");

    // Another profile than the model's own is never fitted, and never written.
    let other = folder.path().join("other.toml");
    std::fs::write(&other, DEFAULT_TOML.replace("댓글: ", "문장: ")).unwrap();
    let mut overridden = binary();
    overridden.args(calibrate).arg("--allow-worse").env("KO_SENTIMENT_PROFILE", &other);
    let output = overridden.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("unset the variable"));
    refused(&[&calibrate[..], &["--profile", "default"]].concat(), "leave out the flag");
    assert!(std::fs::read(&path).unwrap() == before, "nothing is written");

    // Options that change no prompt leave everything but the calibration as it is.
    let mut allowed = binary();
    allowed.args(calibrate).arg("--allow-worse").env("KO_SENTIMENT_THREADS", "1");
    assert!(allowed.output().unwrap().status.success());
    let parts = |bytes: &[u8]| {
        let file = folder.path().join("copy.gguf");
        std::fs::write(&file, bytes).unwrap();
        let header = Header::read(&file).unwrap();
        (profile(&header), others(&header), bytes[header.data_start as usize..].to_vec())
    };
    let ((old, keys, weights), (new, new_keys, new_weights)) =
        (parts(&before), parts(&std::fs::read(&path).unwrap()));
    assert!(keys == new_keys && weights == new_weights);
    assert_ne!(new.calibration, old.calibration);
    assert_eq!(Profile { calibration: old.calibration.clone(), ..new }, old);
}

//! A run that ends in the middle goes on where it stopped.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::{Place, with};
use crate::support::Fake;

const ROWS: usize = 240;

/// A model that takes its time.
fn slow() -> Fake {
    Fake { step: Duration::from_millis(4), answer_cache: 0, ..Fake::default() }
}

/// Rows of three videos, a blank one and one that is too long among them.
fn input(place: &Place) {
    let mut csv = String::from("comment,video_title,n\n");
    for i in 0..ROWS {
        let comment = match i {
            60 => " ".to_owned(),
            61 => "가".repeat(3_000),
            _ => format!("{i}번째 댓글"),
        };
        csv += &format!("{comment},영상 {},{i}\n", i % 3);
    }
    place.write("in.csv", csv);
}

fn spawn(place: &Place, args: &[&str]) -> Child {
    let mut command = place.command(args);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn lines(journal: &Path) -> usize {
    std::fs::read(journal).map_or(0, |bytes| bytes.iter().filter(|b| **b == b'\n').count())
}

fn wait_for(journal: &Path, count: usize) {
    let begun = Instant::now();
    while lines(journal) < count {
        assert!(begun.elapsed() < Duration::from_secs(60), "{} of {count} lines", lines(journal));
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_run_over_quoted_tsv_finds_its_rows() {
    with(slow(), |place| {
        let mut tsv = String::from("comment\tn\n");
        for i in 0..ROWS {
            // As pandas quotes it, beside a quotation mark that is a letter.
            tsv += &match i % 3 {
                0 => format!("\"{i}번째\n\n댓글\"\t{i}\n"),
                1 => format!("\"{i}번째\" 댓글\t{i}\n"),
                _ => format!("\"{i}번째\t댓글\"\t{i}\n"),
            };
        }
        place.write("in.tsv", tsv);
        place.annotate(&["in.tsv", "--out", "whole.tsv"], 0);
        let mut child = spawn(place, &["in.tsv", "--out", "out.tsv"]);
        wait_for(&place.path(".out.tsv.answers.jsonl"), 60);
        child.kill().unwrap();
        child.wait().unwrap();
        place.annotate(&["in.tsv", "--out", "out.tsv"], 0);
        let whole = place.read("whole.tsv");
        assert_eq!(place.read("out.tsv"), whole);
        assert_eq!(whole.lines().count(), ROWS + 1);
        assert!(
            whole.contains("\n$'0번째\\n\\n댓글'\t0\t") && whole.contains("\n$'2번째\\t댓글'\t2\t"),
            "{whole}"
        );
        assert!(whole.contains("\n$'\\\"1번째\" 댓글'\t1\t"), "{whole}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_run_ends_as_if_never_killed() {
    with(slow(), |place| {
        input(place);
        place.annotate(&["in.csv", "--out", "whole.csv"], 3);
        assert_eq!(place.read("whole.csv").lines().count(), ROWS + 1);
        assert!(!place.path(".whole.csv.answers.jsonl").exists());

        let (args, journal) = (["in.csv", "--out", "out.csv"], place.path(".out.csv.answers.jsonl"));
        for count in [20, 60, 130] {
            let mut child = spawn(place, &args);
            wait_for(&journal, count);
            // SIGKILL.
            child.kill().unwrap();
            child.wait().unwrap();
            assert!(!place.path("out.csv").exists(), "half a file has the name");
        }
        // A line that was cut off in writing.
        let mut torn = std::fs::read(&journal).unwrap();
        let known = torn.iter().filter(|b| **b == b'\n').count();
        torn.extend_from_slice("{\"row\":3,\"answer\":{\"probabil".as_bytes());
        std::fs::write(&journal, &torn).unwrap();

        let refused = |more: &[&str], expect: &str| {
            let message = place.annotate(&[&args[..], more].concat(), 1);
            assert!(message.contains(expect) && message.contains("start over with --restart"), "{message}");
            assert_eq!(lines(&journal), known, "the answers are still there");
        };
        refused(&["--sample", "9"], "another --sample (not set");
        refused(&["--reasons"], "another kind of answer (scores, where");
        refused(&["--html"], "another --html (not set");
        let whole = place.read("in.csv");
        place.write("in.csv", format!("{whole}하나 더,,\n"));
        refused(&[], "another file 1");
        place.write("in.csv", whole);

        place.annotate(&args, 3);
        assert_eq!(place.read("out.csv"), place.read("whole.csv"));
        assert!(!journal.exists());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_keeps_the_answers() {
    with(slow(), |place| {
        input(place);
        let (args, journal) = (["in.csv", "--out", "out.csv"], place.path(".out.csv.answers.jsonl"));
        let mut command = place.command(&args);
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        wait_for(&journal, 30);
        // One run at a time.
        let message = place.annotate(&args, 1);
        assert!(message.contains("another run is writing the same output"), "{message}");
        // SAFETY: the process is our child, and still there because nobody has waited for it.
        unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
        let output = child.wait_with_output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(130), "{message}");
        assert!(message.contains("give the same command again to go on"), "{message}");
        let kept = lines(&journal);
        assert!(kept >= 30);

        // Started over, nothing is left of it; the output is the same.
        place.annotate(&[&args[..], &["--restart"]].concat(), 3);
        place.annotate(&["in.csv", "--out", "whole.csv"], 3);
        assert_eq!(place.read("out.csv"), place.read("whole.csv"));
    })
    .await;
}

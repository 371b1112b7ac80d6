//! Rows that cannot be answered, and which rows are.

use std::io::Write as _;
use std::process::Stdio;

use super::{Place, cell, text, with};
use crate::support::Fake;

#[tokio::test(flavor = "multi_thread")]
async fn rows_without_an_answer_say_why() {
    with(Fake::default(), |place| {
        // The stand-in for a model has a token per byte.
        let long = "가".repeat(3_000);
        let csv = format!("comment,id\n좋아요,1\n ,2\n{long},3\n\"열린,4\n별로,5,6\n네,7\n");
        place.write("in.csv", csv);
        let message = place.annotate(&["in.csv", "--out", "out.jsonl"], 3);
        assert!(
            message.contains("out.jsonl: 6 rows; ") && message.contains("4 of 6 rows are refused"),
            "{message}"
        );
        let rows: Vec<serde_json::Value> =
            place.read("out.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let check = |row: usize, id: &str, error: &str| {
            assert_eq!(rows[row]["id"].as_str().unwrap_or_default(), id);
            let found = rows[row]["error"].as_str().unwrap_or_default();
            assert!(found.starts_with(error) && found.is_empty() == error.is_empty(), "{found}");
            assert_eq!(rows[row]["label"].is_null(), !error.is_empty());
        };
        check(0, "1", "");
        check(1, "2", "line 3: the comment is missing or blank");
        check(2, "3", "line 4: the request needs ");
        check(3, "", "line 5: a quote opens a field and never closes");
        check(4, "", "line 6: has 3 columns where the header has 2");
        check(5, "7", "");

        // With several files, the file is named.
        place.write("more.csv", "comment,id,more\n\t,8,x\n아,9,y\n");
        place.annotate(&["in.csv", "more.csv", "--out", "both.csv"], 3);
        let both = place.read("both.csv");
        assert!(both.starts_with("comment,id,more,label,"), "{both}");
        assert!(
            both.contains("\"more.csv, line 2: the comment is missing") || both.contains("more.csv, line 2")
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn eval_counts_what_the_model_refuses() {
    with(Fake::default(), |place| {
        let long = "가".repeat(3_000);
        place.write("in.csv", format!("comment,label\n좋아요,긍정\n{long},부정\n네,중립\n"));
        let eval = |data: &str| {
            let mut command = crate::support::binary();
            command.args(["eval", "--endpoint", &place.endpoint, "--json", "--data", data]);
            command.current_dir(place.folder.path()).output().unwrap()
        };
        let output = eval("in.csv");
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{message}");
        assert!(
            message.contains("1 of 3 rows are refused") && message.contains("line 3: the request"),
            "{message}"
        );
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["rows"], 2);
        assert_eq!((&report["data_rows"]["read"], &report["data_rows"]["refused"]), (&2.into(), &1.into()));
        assert_eq!(report["data_rows"]["first_refused"][0]["place"], "line 3");
        assert!(report["data"].as_str().unwrap().ends_with("3 rows: 2 read, 1 refused"), "{report}");

        place.write("long.csv", format!("comment,label\n{long},부정\n"));
        let output = eval("long.csv");
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1));
        assert!(
            message.contains("refuses all 1 rows; row 1 of the data set: the request needs"),
            "{message}"
        );
    })
    .await;
}

fn ids(place: &Place, name: &str) -> Vec<usize> {
    place.records(name).iter().map(|record| text(cell(record, "id")).parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_chosen() {
    with(Fake::default(), |place| {
        let rows: String = (0..40).map(|i| format!("{i},{i}번째 댓글\n")).collect();
        place.write("in.csv", format!("id,comment\n{rows}"));
        place.annotate(&["in.csv", "--out", "first.csv", "--limit", "7"], 0);
        assert_eq!(ids(place, "first.csv"), (0..7).collect::<Vec<_>>());
        place.annotate(&["in.csv", "--out", "drawn.csv", "--sample", "7"], 0);
        place.annotate(&["in.csv", "--out", "again.csv", "--sample", "7", "--seed", "0"], 0);
        let drawn = ids(place, "drawn.csv");
        assert!(drawn.len() == 7 && drawn.is_sorted() && drawn != (0..7).collect::<Vec<_>>(), "{drawn:?}");
        assert_eq!(drawn, ids(place, "again.csv"));

        place.annotate(&["in.csv", "--out", "all.csv"], 0);
        let all = place.records("all.csv");
        let labels: Vec<&str> = all.iter().map(|record| text(cell(record, "label"))).collect();
        place.annotate(&["in.csv", "--out", "some.csv", "--where-label", "부정,neutral"], 0);
        let expect: Vec<usize> = (0..40).filter(|i| labels[*i] != "긍정").collect();
        assert_eq!(ids(place, "some.csv"), expect);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pipes_are_read_and_written() {
    with(Fake::default(), |place| {
        let mut command = place.command(&["-", "--format", "csv", "--out", "-", "--out-format", "jsonl"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all("comment,n\n좋아요,1\n별로,2\n".as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = String::from_utf8(output.stdout).unwrap();
        assert_eq!(lines.lines().count(), 2);
        assert!(lines.starts_with("{\"comment\": \"좋아요\", \"n\": \"1\", \"label\": "), "{lines}");
        assert_eq!(std::fs::read_dir(place.folder.path()).unwrap().count(), 0);
    })
    .await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_full_standard_error_ends_nothing() {
    with(Fake::default(), |place| {
        place.write("in.csv", "comment\n좋아요\n \n별로\n");
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let status = place.command(&["in.csv", "--out", "out.csv"]).stderr(full).status().unwrap();
        assert_eq!(status.code(), Some(3), "one row is refused");
        assert_eq!(place.records("out.csv").len(), 3);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_said_first() {
    with(Fake::default(), |place| {
        place.write("in.csv", "comment\n좋아요\n");
        place.write("blank.csv", "comment\n \n");
        place.write("other.csv", "x,y\n1,2\n");
        std::fs::create_dir(place.path("folder")).unwrap();
        let check = |args: &[&str], expect: &str| {
            let message = place.annotate(args, 1);
            assert!(message.contains(expect), "{args:?}: {message}");
        };
        check(
            &["in.csv", "--out", "out.doc"],
            "the name must end in .csv, .tsv, .jsonl, .parquet, .arrow or .xlsx",
        );
        check(&["in.csv", "--out", "in.csv", "--force"], "in.csv is an input; choose another --out");
        check(
            &["in.csv", "--out", "blank.csv"],
            "blank.csv exists; remove it, choose another --out, or pass --force",
        );
        check(&["blank.csv", "--out", "out.csv"], "none of 1 rows can be used; the first is line 2");
        check(&["other.csv", "--out", "out.csv"], "no column for the comment: the file has \"x\", \"y\"");
        check(&["folder", "--out", "out.csv"], "folder is a folder");
        check(&["absent.csv", "--out", "out.csv"], "cannot read absent.csv");
        check(&["in.csv", "--out", "absent/out.csv"], "absent");
        // Nothing is left of any of them.
        assert_eq!(std::fs::read_dir(place.folder.path()).unwrap().count(), 4);
    })
    .await;
}

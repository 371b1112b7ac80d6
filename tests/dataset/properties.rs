//! Whatever bytes come, every row is read or refused, and what was written comes back.

use std::io::Write;
use std::path::Path;

use ko_sentiment::dataset::{Comments, Format, ReadOptions, Value};
use proptest::prelude::*;

use super::{made, usual};

/// Reads to the end; the records' values, and how many rows were refused.
fn read(path: &Path, options: ReadOptions) -> Option<(Vec<Vec<Value>>, u64)> {
    let mut comments = Comments::open(path, options, false).ok()?;
    let (mut records, mut refused) = (Vec::new(), 0);
    for row in comments.by_ref() {
        match row {
            Ok(Ok(row)) => {
                assert_eq!(row.record.values.len(), row.record.names.len());
                records.push(row.record.values);
            }
            Ok(Err(row)) => {
                assert!(row.reason.chars().count() < 400 && !row.reason.contains('\n'), "{row}");
                refused += 1;
            }
            Err(error) => {
                assert!(error.to_string().chars().count() < 400, "{error}");
                return None;
            }
        }
    }
    let counts = comments.counts();
    assert_eq!((counts.read, counts.refused), (records.len() as u64, refused));
    Some((records, refused))
}

/// Text that tries the readers: what they take apart, beside Hangul and what shows nothing.
fn text() -> impl Strategy<Value = String> {
    proptest::collection::vec(
        prop_oneof![
            Just("\""),
            Just(","),
            Just(";"),
            Just("\t"),
            Just("\n"),
            Just("\r\n"),
            Just("\\"),
            Just("{"),
            Just("]"),
            Just("가"),
            Just("좋아요 "),
            Just("a"),
            Just("1"),
            Just("\u{200b}"),
            Just("😀"),
            Just("'"),
            Just("<br>"),
        ],
        0..8,
    )
    .prop_map(|parts| parts.concat())
}

fn comment() -> impl Strategy<Value = String> {
    text().prop_map(|text| format!("글{text}"))
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(
        prop_oneof![
            6 => text().prop_map(String::into_bytes),
            2 => Just("comment,label\n".into()),
            1 => Just("{\"comment\": \"가\"}".into()),
            1 => any::<u8>().prop_map(|byte| vec![byte]),
        ],
        0..20,
    )
    .prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_or_refused(content in bytes()) {
        let formats = [
            Format::Csv, Format::Tsv, Format::Jsonl, Format::Json, Format::Txt, Format::Parquet, Format::Arrow, Format::Xlsx,
        ];
        let file = made("file", &content);
        for format in formats {
            read(&file.path, ReadOptions { format: Some(format), ..usual() });
        }
    }

    #[test]
    fn tsv_counts_its_lines(rows in proptest::collection::vec("[가a\t,;]{1,6}", 0..12)) {
        let file = made("a.tsv", format!("comment\tlabel\n{}\n", rows.join("\n")).as_bytes());
        let (read, refused) = read(&file.path, usual()).unwrap();
        prop_assert_eq!(read.len() + refused as usize, rows.len());
        for record in read {
            prop_assert!(record.iter().all(|value| matches!(value, Value::Text(text) if !text.contains('\t'))));
        }
    }

    /// Quotation marks at any place, where each line has as many columns as the header.
    #[test]
    fn quotes_in_tsv_join_no_rows(rows in proptest::collection::vec(("[가a\",]{0,5}글", "[가a\",]{0,4}"), 0..12)) {
        let lines: String = rows.iter().map(|(a, b)| format!("{a}\t{b}\n")).collect();
        let (read, refused) = read(&made("a.tsv", format!("comment\tx\n{lines}").as_bytes()).path, usual()).unwrap();
        prop_assert_eq!((read.len(), refused), (rows.len(), 0));
        for (record, (comment, _)) in read.iter().zip(rows) {
            prop_assert_eq!(&record[0], &Value::Text(comment));
        }
    }

    #[test]
    fn json_lines_count_their_lines(rows in proptest::collection::vec("[가a\"{}:,1 ]{1,12}", 0..12)) {
        let file = made("a.jsonl", (rows.join("\n") + "\n{\"comment\":\"끝\"}").as_bytes());
        let (read, refused) = read(&file.path, usual()).unwrap();
        let filled = rows.iter().filter(|row| !row.trim().is_empty()).count();
        prop_assert_eq!(read.len() + refused as usize, filled + 1);
    }

    #[test]
    fn csv_comes_back_as_it_was_written(
        rows in proptest::collection::vec((comment(), text(), text()), 0..10),
        delimiter in prop_oneof![Just(b','), Just(b';'), Just(b'\t'), Just(b'|')],
        crlf in any::<bool>(),
    ) {
        let mut file = Vec::new();
        let terminator = if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') };
        let mut writer = csv::WriterBuilder::new().delimiter(delimiter).terminator(terminator).from_writer(&mut file);
        writer.write_record(["comment", "x", "y"]).unwrap();
        for (a, b, c) in &rows {
            writer.write_record([a, b, c]).unwrap();
        }
        writer.flush().unwrap();
        drop(writer);
        let written: Vec<Vec<Value>> =
            rows.into_iter().map(|(a, b, c)| [a, b, c].map(Value::Text).to_vec()).collect();
        let (read, refused) = read(&made("a.csv", &file).path, usual()).unwrap();
        prop_assert_eq!((read, refused), (written, 0));
    }

    /// As pandas and polars write it, but so that no line of a record is a row by itself: texts of several lines have
    /// no tab and are not in the last column.
    #[test]
    fn quoted_tsv_comes_back_as_it_was_written(rows in proptest::collection::vec((comment(), text()), 0..10)) {
        let mut file = Vec::new();
        let mut writer = csv::WriterBuilder::new().delimiter(b'\t').from_writer(&mut file);
        writer.write_record(["comment", "x", "y"]).unwrap();
        let tabs = |text: String| if text.contains('\n') { text.replace('\t', " ") } else { text };
        let rows: Vec<_> = rows.into_iter().map(|(a, b)| [tabs(a), tabs(b), "끝".into()]).collect();
        for row in &rows {
            writer.write_record(row).unwrap();
        }
        writer.flush().unwrap();
        drop(writer);
        let written: Vec<Vec<Value>> = rows.into_iter().map(|row| row.map(Value::Text).to_vec()).collect();
        prop_assert_eq!(read(&made("a.tsv", &file).path, usual()).unwrap(), (written, 0));
    }

    #[test]
    fn json_comes_back_as_it_was_written(rows in proptest::collection::vec((comment(), text()), 1..10), lines in any::<bool>()) {
        let objects: Vec<_> = rows.iter().map(|(a, b)| serde_json::json!({ "x": b, "comment": a })).collect();
        let mut file = Vec::new();
        if lines {
            for object in &objects {
                writeln!(file, "{object}").unwrap();
            }
        } else {
            serde_json::to_writer_pretty(&mut file, &objects).unwrap();
        }
        let name = if lines { "a.jsonl" } else { "a.json" };
        let written: Vec<Vec<Value>> = rows.into_iter().map(|(a, b)| [b, a].map(Value::Text).to_vec()).collect();
        prop_assert_eq!(read(&made(name, &file).path, usual()).unwrap(), (written, 0));
    }
}

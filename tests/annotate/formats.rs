//! A file's own columns come back as they were, in every format.

use std::fs::File;
use std::sync::Arc;

use ko_sentiment::dataset::Value;
use parquet::basic::Type as Physical;
use parquet::data_type::{ByteArray, ByteArrayType, Int32Type, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::record::Field;
use parquet::schema::parser::parse_message_type;
use rust_xlsxwriter::{ExcelDateTime, Format, Workbook};

use super::{Place, cell, text, with};
use crate::support::Fake;

const ADDED: [&str; 7] = ["label", "probability", "positive", "neutral", "negative", "abstained", "error"];

/// Numbers as people write them, a column without a name, line breaks, quotes, and columns called like ours.
const CSV: &str = "id,comment,Label,likes,,when\n\
    007,좋아요,1,1.50,,2025-03-01\n\
    9007199254740993,\"두 줄\n이고 \"\"따옴표\"\", 쉼표\",0,12,x,\n\
    ,감사합니다,,,,=1+1\n";

/// The own columns of each row of a file, and the answers beside them.
fn check(place: &Place, name: &str, expect: &[[&str; 6]]) {
    let records = place.records(name);
    assert_eq!(records.len(), expect.len(), "{name}");
    for (record, expect) in records.iter().zip(expect) {
        let own: Vec<&str> = record.values[..6].iter().map(text).collect();
        assert_eq!(own, expect, "{name}");
        assert_eq!(record.names[..6], ["id", "comment", "Label", "likes", "", "when"], "{name}");
        let added: Vec<&str> = record.names[6..].iter().map(String::as_str).collect();
        assert_eq!(added, [&["predicted_label"], &ADDED[1..]].concat(), "{name}");
        let label = text(cell(record, "predicted_label"));
        assert!(["긍정", "중립", "부정"].contains(&label), "{name}: {label}");
        let scores =
            ["positive", "neutral", "negative"].map(|s| text(cell(record, s)).parse::<f64>().unwrap());
        assert!((scores.iter().sum::<f64>() - 1.0).abs() < 1e-5, "{name}: {scores:?}");
        let top = scores.into_iter().fold(0.0, f64::max);
        assert_eq!(text(cell(record, "probability")).parse::<f64>().unwrap(), top, "{name}");
        assert_eq!((text(cell(record, "abstained")), text(cell(record, "error"))), ("false", ""), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_written_in_every_format() {
    with(Fake::default(), |place| {
        place.write("in.csv", CSV);
        let expect = [
            ["007", "좋아요", "1", "1.50", "", "2025-03-01"],
            ["9007199254740993", "두 줄\n이고 \"따옴표\", 쉼표", "0", "12", "x", ""],
            ["", "감사합니다", "", "", "", "=1+1"],
        ];
        let formats = ["out.csv", "out.tsv", "out.jsonl", "out.parquet", "out.arrow", "out.xlsx"];
        for name in formats {
            place.annotate(&["in.csv", "--out", name], 0);
            check(place, name, &expect);
        }
        let tsv = place.read("out.tsv");
        assert!(tsv.contains("\t$'두 줄\\n이고 \"따옴표\", 쉼표'\t") && tsv.lines().count() == 4, "{tsv}");

        // What each format gives is read again and written as any other.
        for from in formats {
            place.annotate(&[from, "--out", "again.csv", "--force", "--comment-column", "comment"], 0);
            let again = place.records("again.csv");
            assert_eq!(again[1].values[..6].iter().map(text).collect::<Vec<_>>(), expect[1], "{from}");
            assert_eq!(again[1].names[6..8], ["predicted_label", "probability"], "{from}");
            assert_eq!(again[1].names[13..15], ["predicted_label_2", "predicted_probability"], "{from}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn excel_is_met_half_way() {
    with(Fake::default(), |place| {
        place.write("in.csv", CSV);
        place.annotate(&["in.csv", "--out", "bom.csv", "--bom", "--escape-formulas"], 0);
        let csv = place.read("bom.csv");
        assert!(csv.starts_with("\u{feff}id,comment,"), "{csv}");
        assert!(csv.contains(",'=1+1,") && csv.contains("\n007,"), "{csv}");

        let mut book = Workbook::new();
        let sheet = book.add_worksheet();
        for (column, name) in ["comment", "likes", "when", "moment", "code"].into_iter().enumerate() {
            sheet.write(0, column as u16, name).unwrap();
        }
        let day = ExcelDateTime::from_ymd(2025, 3, 1).unwrap();
        let moment = ExcelDateTime::from_ymd(2025, 3, 1).unwrap().and_hms(12, 30, 5).unwrap();
        let format = |text: &str| Format::new().set_num_format(text);
        sheet.write(1, 0, "@여러분 좋아요").unwrap();
        sheet.write(1, 1, 1234.5).unwrap();
        sheet.write_with_format(1, 2, &day, &format("yyyy-mm-dd")).unwrap();
        sheet.write_with_format(1, 3, &moment, &format("yyyy-mm-dd hh:mm:ss")).unwrap();
        sheet.write(1, 4, "007").unwrap();
        place.write("in.xlsx", book.save_to_buffer().unwrap());
        place.annotate(&["in.xlsx", "--out", "out.xlsx"], 0);
        let (before, after) = (place.records("in.xlsx"), place.records("out.xlsx"));
        assert_eq!(after[0].values[..5], before[0].values[..]);
        assert!(matches!(cell(&after[0], "when"), Value::Date(_)));
        assert!(matches!(cell(&after[0], "likes"), Value::Number(_)));
        assert!(matches!(cell(&after[0], "positive"), Value::Number(_)));
        assert_eq!(cell(&after[0], "abstained"), &Value::Bool(false));
        // A date stays a date in Parquet too.
        place.annotate(&["in.xlsx", "--out", "out.parquet"], 0);
        assert_eq!(place.records("out.parquet")[0].values[..5], before[0].values[..]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_cell_cannot_hold_is_said() {
    with(Fake::default(), |place| {
        let long = "글".repeat(40_000);
        place.write("in.csv", format!("comment,note\n좋아요,{long}\n,{long}\n감사합니다,짧다\n"));
        let message = place.annotate(&["in.csv", "--out", "out.xlsx"], 3);
        let expect = "2 rows have texts that were cut; a cell of .xlsx holds 32,767 characters";
        assert!(message.contains(expect), "{message}");
        let note = "column \"note\" is cut, because a cell of .xlsx holds no more";
        let records = place.records("out.xlsx");
        let errors: Vec<&str> = records.iter().map(|record| text(cell(record, "error"))).collect();
        let blank = "line 3: the comment is missing or blank";
        assert_eq!(errors, [&format!("line 2: {note}"), &format!("{blank}; {note}"), ""]);
        assert!(!text(cell(&records[0], "label")).is_empty(), "it has an answer");
        assert_eq!(text(cell(&records[0], "note")), &long[..32_767 * "글".len()]);

        // A format that holds all says nothing.
        let message = place.annotate(&["in.csv", "--out", "out.csv"], 3);
        assert!(!message.contains("cut"), "{message}");
        assert_eq!(text(cell(&place.records("out.csv")[0], "note")), long);
    })
    .await;
}

/// Two groups of rows with a date, a decimal, a required column and a list.
fn parquet() -> Vec<u8> {
    let schema = "message m {
        OPTIONAL BYTE_ARRAY comment (STRING);
        REQUIRED INT32 day (DATE);
        OPTIONAL INT64 price (DECIMAL(9,2));
        OPTIONAL group tags (LIST) { REPEATED group list { OPTIONAL BYTE_ARRAY element (STRING); } }
    }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut writer =
        SerializedFileWriter::new(Vec::new(), schema, Arc::new(WriterProperties::default())).unwrap();
    for group in 0..2 {
        let mut rows = writer.next_row_group().unwrap();
        let texts = |texts: &[&str]| texts.iter().map(|text| ByteArray::from(*text)).collect::<Vec<_>>();
        let mut column = rows.next_column().unwrap().unwrap();
        let comments = texts(&["감동이었어요", "아깝다"]);
        column.typed::<ByteArrayType>().write_batch(&comments, Some(&[1, 0, 1]), None).unwrap();
        column.close().unwrap();
        let mut column = rows.next_column().unwrap().unwrap();
        column.typed::<Int32Type>().write_batch(&[20_148, 20_149 + group, 0], None, None).unwrap();
        column.close().unwrap();
        let mut column = rows.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&[12_345, -5], Some(&[1, 1, 0]), None).unwrap();
        column.close().unwrap();
        let mut column = rows.next_column().unwrap().unwrap();
        let tags = texts(&["가", "나", "다"]);
        // Two tags; no list; one tag and an empty place.
        let (definitions, repetitions) = ([3, 3, 0, 3, 2], [0, 1, 0, 0, 1]);
        column.typed::<ByteArrayType>().write_batch(&tags, Some(&definitions), Some(&repetitions)).unwrap();
        column.close().unwrap();
        rows.close().unwrap();
    }
    writer.into_inner().unwrap()
}

fn open(place: &Place, name: &str) -> SerializedFileReader<File> {
    SerializedFileReader::new(File::open(place.path(name)).unwrap()).unwrap()
}

/// The first four columns of all rows of a Parquet file, as its own library reads them.
fn rows_of(place: &Place, name: &str) -> Vec<Vec<Field>> {
    let reader = open(place, name);
    let rows = reader.get_row_iter(None).unwrap();
    rows.map(|row| row.unwrap().get_column_iter().take(4).map(|(_, f)| f.clone()).collect()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn parquet_keeps_its_types() {
    with(Fake::default(), |place| {
        place.write("in.parquet", parquet());
        let message = place.annotate(&["in.parquet", "--out", "out.parquet"], 3);
        assert!(message.contains("2 of 6 rows are refused") && message.contains("row 2: "), "{message}");
        let all = rows_of(place, "in.parquet");
        assert_eq!(rows_of(place, "out.parquet"), all);
        let schema = |name: &str| open(place, name).metadata().file_metadata().schema().get_fields().to_vec();
        let (before, after) = (schema("in.parquet"), schema("out.parquet"));
        assert_eq!(after[..4], before[..]);
        assert_eq!(after[4..].iter().map(|field| field.name()).collect::<Vec<_>>(), ADDED);
        assert_eq!(after[5].get_physical_type(), Physical::DOUBLE);

        // Some of the rows, and the file twice.
        place.annotate(&["in.parquet", "--out", "some.parquet", "--sample", "2", "--seed", "3"], 0);
        let some = rows_of(place, "some.parquet");
        assert!(some.len() == 2 && some.iter().all(|row| all.contains(row)), "{some:?}");
        place.annotate(&["in.parquet", "in.parquet", "--out", "twice.parquet", "--limit", "8"], 3);
        assert_eq!(rows_of(place, "twice.parquet"), [&all[..], &all[..2]].concat());

        // In another format, dates are dates and lists are JSON.
        place.annotate(&["in.parquet", "--out", "out.csv"], 3);
        let csv = place.read("out.csv");
        let first = csv.lines().nth(1).unwrap();
        assert!(first.starts_with("감동이었어요,2025-03-01,123.45,\"[\"\"가\"\",\"\"나\"\"]\","), "{csv}");
    })
    .await;
}

//! Arrow's files and streams.

use std::io::Cursor;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringDictionaryBuilder};
use arrow_array::types::{Int8Type, Int32Type};
use arrow_array::{
    ArrayRef, Date32Array, Int64Array, LargeStringArray, RecordBatch, StringArray, StringViewArray,
    TimestampMillisecondArray,
};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use ko_sentiment::dataset::{Comments, ReadOptions, Value};
use proptest::prelude::*;

use super::{check, made, refused, rows, usual};

/// Two batches of a comment, its label in a dictionary, and columns of other kinds.
fn batches(comment: impl Fn(Vec<Option<&'static str>>) -> ArrayRef) -> Vec<RecordBatch> {
    let batch = |texts: [Option<&'static str>; 3], labels: [Option<&str>; 3]| {
        let mut label = StringDictionaryBuilder::<Int8Type>::new();
        labels.into_iter().for_each(|text| label.append_option(text));
        let mut tags = ListBuilder::new(arrow_array::builder::StringBuilder::new());
        tags.append_value([Some("가"), None]);
        tags.append_null();
        tags.append_value([None::<&str>; 0]);
        let moments = TimestampMillisecondArray::from(vec![Some(1_740_832_200_000), None, Some(0)]);
        RecordBatch::try_from_iter_with_nullable([
            ("comment", comment(texts.to_vec()), true),
            ("label", Arc::new(label.finish()), true),
            ("likes", Arc::new(Int64Array::from(vec![Some(1), None, Some(-3)])) as ArrayRef, true),
            ("day", Arc::new(Date32Array::from(vec![20_148, 0, 1])), true),
            ("at", Arc::new(moments), true),
            ("utc", Arc::new(TimestampMillisecondArray::from(vec![0, 1, 2]).with_timezone("UTC")), true),
            ("tags", Arc::new(tags.finish()), true),
        ])
        .unwrap()
    };
    vec![
        batch([Some("감동이었어요"), None, Some("아깝다")], [Some("긍정"), Some("중립"), Some("부정")]),
        batch([Some("네"), Some("최고"), Some("음")], [Some("중립"), Some("positive"), None]),
    ]
}

fn utf8(texts: Vec<Option<&'static str>>) -> ArrayRef {
    Arc::new(StringArray::from(texts))
}

const EXPECT: [&str; 6] = [
    "감동이었어요|긍정",
    "!row 2: the comment is missing or blank",
    "아깝다|부정",
    "네|중립",
    "최고|긍정",
    "!row 6: the label is missing",
];

fn file(batches: &[RecordBatch], compression: Option<CompressionType>) -> Vec<u8> {
    let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
    let mut writer =
        FileWriter::try_new_with_options(Cursor::new(Vec::new()), &batches[0].schema(), options).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
    writer.into_inner().unwrap().into_inner()
}

fn stream(batches: &[RecordBatch]) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batches[0].schema()).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.into_inner().unwrap()
}

#[test]
fn files_and_streams_are_read() {
    // A dictionary of a file stays as it is from batch to batch.
    let one = |batches: Vec<RecordBatch>| vec![batches[0].clone()];
    for compression in [None, Some(CompressionType::LZ4_FRAME), Some(CompressionType::ZSTD)] {
        let bytes = file(&one(batches(utf8)), compression);
        for name in ["a.arrow", "a.feather", "a.ipc", "unsaid.bin", "unsaid.csv"] {
            check(name, &bytes, &usual(), &EXPECT[..3]);
        }
        check("a.arrow.zst", zstd::encode_all(&bytes[..], 1).unwrap(), &usual(), &EXPECT[..3]);
    }
    let texts: [fn(Vec<Option<&'static str>>) -> ArrayRef; 4] = [
        utf8,
        |texts| Arc::new(LargeStringArray::from(texts)),
        |texts| Arc::new(StringViewArray::from(texts)),
        |texts| {
            let mut builder = StringDictionaryBuilder::<Int32Type>::new();
            texts.into_iter().for_each(|text| builder.append_option(text));
            Arc::new(builder.finish())
        },
    ];
    for comment in texts {
        let bytes = stream(&batches(comment));
        check("a.arrows", &bytes, &usual(), &EXPECT);
        check("unsaid", &bytes, &usual(), &EXPECT);
        // The mark of the end may be missing.
        check("a.arrows", &bytes[..bytes.len() - 8], &usual(), &EXPECT);
        check("a.arrows.zst", zstd::encode_all(&bytes[..], 1).unwrap(), &usual(), &EXPECT);
    }
}

/// Made by pyarrow 26: `write_feather(table, path, compression="lz4")`, as pandas' `to_feather` does, of a table whose
/// label is a dictionary, as that of a categorical column.
#[test]
fn pandas_feather_is_read() {
    let bytes = include_bytes!("../fixtures/pandas.feather");
    check("a.feather", bytes, &usual(), &["좋아요|긍정", "!row 2", "별로|부정", "네|중립"]);
}

#[test]
fn every_column_is_shown() {
    let path = made("a.arrows", &stream(&batches(utf8)));
    let options = ReadOptions { all_columns: true, ..usual() };
    let record = Comments::open(&path.path, options, false).unwrap().next().unwrap().unwrap().unwrap().record;
    let text = |text: &str| Value::Text(text.into());
    let expect = [
        text("감동이었어요"),
        text("긍정"),
        Value::Number("1".into()),
        Value::Date("2025-03-01".into()),
        Value::Date("2025-03-01 12:30:00".into()),
        text("1970-01-01 00:00:00+00:00"),
        Value::Json("[\"가\",null]".into()),
    ];
    assert_eq!(record.values, expect);
}

#[test]
fn what_cannot_be_read_is_said() {
    let plain = file(&batches(utf8)[..1], None);
    let named = |name: &str| {
        let mut options = usual();
        options.columns.comment = Some(name.into());
        options
    };
    let reason = "FILE is not readable as Arrow: column";
    refused(
        "a.arrow",
        &plain,
        &named("tags"),
        &format!("{reason} \"tags\" must be text and is a nested column"),
    );
    refused("a.arrow", &plain, &named("likes"), &format!("{reason} \"likes\" must be text and is Int64"));
    refused(
        "a.arrow",
        &plain[..plain.len() - 9],
        &usual(),
        "FILE is not readable as Arrow: it has no footer",
    );
    refused("a.arrow", "comment,label\n", &usual(), "FILE is not readable as Arrow: ");
    refused("a.arrow", "ARROW1", &usual(), "FILE is not readable as Arrow: it has no footer");
    refused("a.feather", b"FEA1\0\0\0\0", &usual(), "FILE is Feather of version 1; write it again");
    let bytes = stream(&batches(utf8));
    let cut = rows(&made("a.arrows", &bytes[..bytes.len() - 100]).path, &usual(), true).unwrap_err();
    let expect =
        "FILE is not readable as Arrow: row 4: it ends within a message; the file is damaged, get it again";
    assert_eq!(cut, expect);
}

proptest! {
    /// Whatever a byte is changed to: rows, refusals or a message; no panic and no huge allocation.
    #[test]
    fn damaged_files_do_no_harm(at in 0.0..1.0, bytes in any::<[u8; 4]>(), compressed in any::<bool>()) {
        let mut damaged = match compressed {
            true => file(&batches(utf8)[..1], Some(CompressionType::LZ4_FRAME)),
            false => stream(&batches(utf8)),
        };
        let at = ((damaged.len() - bytes.len()) as f64 * at) as usize;
        damaged[at..at + bytes.len()].copy_from_slice(&bytes);
        for all_columns in [false, true] {
            let options = ReadOptions { all_columns, ..usual() };
            let _either = rows(&made("a.arrow", &damaged).path, &options, true);
        }
    }
}

//! Any bytes as a file of comments, in the format that they look like and in one that is named: rows, refused rows
//! or an error, none lost, and messages of one line.
#![no_main]

use std::io::Write;

use ko_sentiment_fuzz::dataset::{Comments, Format, ReadOptions};
use libfuzzer_sys::fuzz_target;

const FORMATS: [Option<Format>; 9] = [
    None,
    Some(Format::Csv),
    Some(Format::Tsv),
    Some(Format::Jsonl),
    Some(Format::Json),
    Some(Format::Txt),
    Some(Format::Parquet),
    Some(Format::Arrow),
    Some(Format::Xlsx),
];

fuzz_target!(|input: (u8, bool, &[u8])| {
    let (format, labelled, bytes) = input;
    let Ok(mut file) = tempfile::NamedTempFile::new() else { return };
    if file.write_all(bytes).is_err() {
        return;
    }
    let format = FORMATS[usize::from(format) % FORMATS.len()];
    let options = ReadOptions { format, all_columns: true, ..ReadOptions::default() };
    let Ok(mut comments) = Comments::open(file.path(), options, labelled) else { return };
    let mut rows = 0;
    for row in comments.by_ref() {
        let message = match row {
            Ok(Ok(comment)) => {
                assert!(comment.record.values.len() == comment.record.names.len());
                String::new()
            }
            Ok(Err(refused)) => refused.to_string(),
            Err(_ends_the_file) => return,
        };
        assert!(!message.chars().any(char::is_control), "{message:?}");
        rows += 1;
    }
    assert_eq!(comments.counts().total(), rows);
});

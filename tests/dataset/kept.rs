//! Columns that are kept beside the rows, in every format.

use std::sync::Arc;

use ko_sentiment::dataset::ReadOptions;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use rust_xlsxwriter::Workbook;

use super::{read, refused, usual};

fn keeping(names: &[&str]) -> ReadOptions {
    ReadOptions { kept: names.iter().map(|name| (*name).to_owned()).collect(), ..usual() }
}

/// Two labelled rows with a video and a number, and one without a comment between them.
fn parquet() -> Vec<u8> {
    let schema = "message m { OPTIONAL BYTE_ARRAY comment (STRING); REQUIRED BYTE_ARRAY label (STRING); \
                  OPTIONAL BYTE_ARRAY video (STRING); REQUIRED INT64 likes; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let texts = [
        (["감동", "아깝다"].map(ByteArray::from).to_vec(), Some([1, 0, 1])),
        (["긍정", "중립", "부정"].map(ByteArray::from).to_vec(), None),
        (["가", "나"].map(ByteArray::from).to_vec(), Some([1, 1, 0])),
    ];
    for (values, levels) in &texts {
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(values, levels.as_ref().map(|l| &l[..]), None).unwrap();
        column.close().unwrap();
    }
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int64Type>().write_batch(&[3, 4, 5], None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.into_inner().unwrap()
}

fn sheet() -> Vec<u8> {
    let mut book = Workbook::new();
    let sheet = book.add_worksheet();
    for (row, cells) in
        [["comment", "label", "video"], ["감동", "긍정", "가"], ["", "중립", "나"]].into_iter().enumerate()
    {
        for (column, text) in cells.into_iter().enumerate().filter(|(_, text)| !text.is_empty()) {
            sheet.write(row as u32, column as u16, text).unwrap();
        }
    }
    sheet.write(1, 3, 3).unwrap();
    sheet.write(0, 3, "likes").unwrap();
    sheet.write(3, 0, "아깝다").unwrap();
    sheet.write(3, 1, "부정").unwrap();
    sheet.write(3, 3, 5).unwrap();
    book.save_to_buffer().unwrap()
}

#[test]
fn values_are_those_of_the_rows_that_are_read() {
    let files: [(&str, Vec<u8>); 5] = [
        ("a.csv", "likes,video,comment,label\n3, 가 ,감동,긍정\n4,나,,중립\n5,,아깝다,부정\n".into()),
        ("a.tsv", "comment\tlabel\tlikes\tVideo\n감동\t긍정\t3\t가\n\t중립\t4\t나\n아깝다\t부정\t5\t\n".into()),
        (
            "a.jsonl",
            "{\"comment\":\"감동\",\"label\":\"긍정\",\"video\":\"가\",\"likes\":3}\n{\"label\":\"중립\",\"video\":\"나\"}\n\
             {\"likes\":5,\"comment\":\"아깝다\",\"label\":\"부정\"}\n"
                .into(),
        ),
        ("a.parquet", parquet()),
        ("a.xlsx", sheet()),
    ];
    let plain = read("a.csv", &files[0].1, &usual()).unwrap();
    assert!(plain.kept.is_empty());
    for (name, content) in files {
        let found = read(name, &content, &keeping(&["video", "likes", "label"])).unwrap();
        let column = |i: usize| found.kept[i].iter().map(|value| value.to_string()).collect::<Vec<_>>();
        assert_eq!([column(0), column(1), column(2)], [["가", ""], ["3", "5"], ["긍정", "부정"]], "{name}");
        assert_eq!((&found.rows, &found.fingerprint), (&plain.rows, &plain.fingerprint), "{name}");
    }
}

#[test]
fn a_column_that_is_not_there_is_refused() {
    let check = |name: &str, content: &[u8], columns: &str| {
        let expect =
            format!("no column \"genre\": the file has {columns}; name the right one with --slice-column");
        refused(name, content, &keeping(&["label", "genre"]), &expect);
    };
    check("a.csv", "comment,label\n감동,긍정\n".as_bytes(), "\"comment\", \"label\"");
    check("a.parquet", &parquet(), "\"comment\", \"label\", \"video\", \"likes\"");
    check("a.xlsx", &sheet(), "\"comment\", \"label\", \"video\", \"likes\"");
    let lines =
        "{\"comment\":\"감동\",\"label\":\"긍정\"}\n{\"comment\":\"네\",\"label\":\"중립\",\"likes\":1}\n";
    check("a.jsonl", lines.as_bytes(), "\"comment\", \"label\", \"likes\"");
    let two = "\"My Video\", \"my_video\" could each be the column that is meant; name the right one with --slice-column";
    refused("a.csv", "comment,label,My Video,my_video\n감동,긍정,가,나\n", &keeping(&["my-video"]), two);
}

//! Parquet and Excel.

use std::sync::Arc;

use ko_sentiment::dataset::{LabelMap, ReadOptions};
use parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use rust_xlsxwriter::{ExcelDateTime, Format, Formula, Workbook};

use super::{check, refused, usual};

/// A file of comments, labels as numbers, and a column that is a list.
fn parquet(compression: Compression) -> Vec<u8> {
    let schema =
        "message m { OPTIONAL BYTE_ARRAY comment (STRING); REQUIRED INT64 label; REPEATED INT64 scores; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = Arc::new(WriterProperties::builder().set_compression(compression).build());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, properties).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let texts = ["감동이었어요", "아깝다"].map(ByteArray::from);
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<ByteArrayType>().write_batch(&texts, Some(&[1, 0, 1]), None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int64Type>().write_batch(&[1, 0, -1], None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int64Type>().write_batch(&[7, 8], Some(&[1, 0, 1]), Some(&[0, 0, 0])).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.into_inner().unwrap()
}

#[test]
fn every_codec_of_parquet_is_read() {
    let options =
        ReadOptions { labels: "1=긍정,0=중립,-1=부정".parse::<LabelMap>().unwrap(), ..usual() };
    let codecs = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
        Compression::ZSTD(ZstdLevel::default()),
    ];
    for codec in codecs {
        let expect = ["감동이었어요|긍정", "!row 2: the comment is missing or blank", "아깝다|부정"];
        check("a.parquet", parquet(codec), &options, &expect);
    }
    let plain = parquet(Compression::UNCOMPRESSED);
    check("unsaid.bin", &plain, &options, &["감동이었어요|긍정", "!row 2", "아깝다|부정"]);
    check(
        "a.parquet.zst",
        zstd::encode_all(&plain[..], 1).unwrap(),
        &options,
        &["감동이었어요|긍정", "!row 2", "아깝다|부정"],
    );
    refused("a.parquet", &plain, &usual(), "the labels of column \"label\" are not known: \"1\"");
    refused("a.parquet", &plain[..plain.len() - 9], &options, "FILE is not readable as Parquet");
    refused("a.parquet", "PAR1", &options, "FILE is not readable as Parquet");
    let named = |name: &str| {
        let mut options = options.clone();
        options.columns.comment = Some(name.into());
        options
    };
    refused(
        "a.parquet",
        &plain,
        &named("label"),
        "FILE is not readable as Parquet: column \"label\" must be text and is INT64",
    );
    let nested = "FILE is not readable as Parquet: column \"scores\" must be text and is ";
    refused("a.parquet", &plain, &named("scores"), nested);
}

#[test]
fn sheets_are_read() {
    let mut book = Workbook::new();
    let sheet = book.add_worksheet().set_name("댓글").unwrap();
    sheet.merge_range(0, 0, 0, 2, "3월 반응", &Format::new()).unwrap();
    for (column, name) in ["댓글", "감정", "날짜"].into_iter().enumerate() {
        sheet.write(1, column as u16, name).unwrap();
    }
    sheet.write(2, 0, "좋아요").unwrap();
    sheet.write(2, 1, "긍정").unwrap();
    let date = ExcelDateTime::from_ymd(2025, 3, 1).unwrap().and_hms(12, 30, 0).unwrap();
    sheet.write_with_format(2, 2, &date, &Format::new().set_num_format("yyyy-mm-dd hh:mm")).unwrap();
    sheet.write(4, 0, 100).unwrap();
    sheet.write(4, 1, "중립").unwrap();
    sheet.write(5, 1, "중립").unwrap();
    sheet.write(6, 0, Formula::new("=A1/0").set_result("#DIV/0!")).unwrap();
    sheet.write(6, 1, "부정").unwrap();
    sheet.write(7, 0, Formula::new("=\"별\"&\"로\"").set_result("별로")).unwrap();
    sheet.write(7, 1, "부정").unwrap();
    sheet.write(8, 0, "네").unwrap();
    sheet.write(8, 1, "중립").unwrap();
    sheet.write(8, 4, "어디?").unwrap();
    book.add_worksheet().set_name("빈 시트").unwrap();
    let bytes = book.save_to_buffer().unwrap();
    let expect = [
        "좋아요|긍정",
        "100|중립",
        "!row 6: the comment is missing or blank",
        "!row 7: ",
        "별로|부정",
        "!row 9: has a value in column 5, but the header has 3 columns",
    ];
    check("a.xlsx", &bytes, &usual(), &expect);
    check("unsaid.csv", &bytes, &usual(), &expect);
    let numbered = ReadOptions { sheet: Some("1".into()), ..usual() };
    check("a.xlsx", &bytes, &numbered, &expect);
    refused("a.xlsx", &bytes, &ReadOptions { sheet: Some("2".into()), ..usual() }, "FILE: no rows");
    let other = ReadOptions { sheet: Some("없음".into()), ..usual() };
    refused("a.xlsx", &bytes, &other, "FILE has no sheet \"없음\": it has \"댓글\", \"빈 시트\"");
    refused("a.xlsx", &bytes[..2000], &usual(), "FILE is not readable as xlsx");
}

#[test]
fn one_of_several_sheets_must_be_named() {
    let mut book = Workbook::new();
    for (name, text) in [("1월", "좋아요"), ("2월", "최고")] {
        let sheet = book.add_worksheet().set_name(name).unwrap();
        for (row, cells) in [["comment", "label"], [text, "긍정"]].iter().enumerate() {
            for (column, cell) in cells.iter().enumerate() {
                sheet.write(row as u32, column as u16, *cell).unwrap();
            }
        }
    }
    let bytes = book.save_to_buffer().unwrap();
    refused(
        "a.xlsx",
        &bytes,
        &usual(),
        "FILE has 2 sheets with rows: \"1월\", \"2월\"; choose one with --sheet",
    );
    check("a.xlsx", &bytes, &ReadOptions { sheet: Some("2월".into()), ..usual() }, &["최고|긍정"]);
}

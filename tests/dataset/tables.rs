//! CSV, TSV and plain text.

use std::io::Write;

use encoding_rs::EUC_KR;
use ko_sentiment::dataset::{Columns, Encoding, Format, LabelMap, ReadOptions, Row};
use ko_sentiment::sentiment::labels::Sentiment;
use unicode_normalization::UnicodeNormalization;

use super::{check, made, read, refused, rows, same, usual};

fn mapped(map: &str) -> ReadOptions {
    ReadOptions { labels: map.parse::<LabelMap>().unwrap(), ..usual() }
}

#[test]
fn formats_agree() {
    let row = |comment: &str, title: Option<&str>, label| Row {
        comment: comment.into(),
        video_title: title.map(Into::into),
        video_summary: None,
        label,
    };
    let expect = [
        row("정말, \"감동\"\n이었습니다", Some("영상"), Sentiment::Positive),
        row("그냥 그래요", None, Sentiment::Neutral),
    ];
    let csv = "id,comment,label,video_title\n\
               1,\"정말, \"\"감동\"\"\n이었습니다\",긍정,영상\n\
               2,그냥 그래요,neutral,\n";
    let tabs = "\u{feff}label\tcomment\tvideo_title\r\n\
                POSITIVE\t\"정말, \"\"감동\"\"\n이었습니다\"\t영상\r\n\
                중립 \t그냥 그래요\t \r\n";
    let json = "\u{feff}{\"comment\": \"정말, \\\"감동\\\"\\n이었습니다\", \"label\": \"긍정\", \"video_title\": \"영상\"}\n\
                \n\
                {\"comment\": \"그냥 그래요\", \"label\": \"중립\", \"score\": 3}";
    let mut prints = Vec::new();
    for (name, content) in [("a.csv", csv), ("tabs.csv", tabs), ("a.jsonl", json), ("a.json", json)] {
        let data = read(name, content.as_bytes(), &usual()).unwrap();
        assert_eq!(data.rows, expect, "{name}");
        prints.push(data.fingerprint);
    }
    prints.dedup();
    assert_eq!(prints.len(), 1);
}

#[test]
fn fingerprint_sees_field_borders() {
    let print = |csv: &str| read("a.csv", csv.as_bytes(), &usual()).unwrap().fingerprint;
    let head = "comment,video_title,label\n";
    assert_ne!(print(&format!("{head}ab,c,긍정\n")), print(&format!("{head}a,bc,긍정\n")));
    assert_ne!(print(&format!("{head}ab,c,긍정\n")), print(&format!("{head}ab,c,중립\n")));
}

#[test]
fn a_quote_is_a_letter_in_tsv() {
    let tsv = "document\tlabel\n\"명작이다\t긍정\n산만해요\t부정\n\"역대급이라더니\t부정\n\"인용\"\t중립\n";
    let expect = ["\"명작이다|긍정", "산만해요|부정", "\"역대급이라더니|부정", "\"인용\"|중립"];
    check("a.tsv", tsv, &usual(), &expect);
    check("ratings.txt", tsv, &usual(), &expect);
}

/// What pandas 3 makes of comments with `to_csv(sep="\t", index=False)`.
const PANDAS: &str = "id\tcomment\tlabel\n\
                      1\t\"두 줄\n이고\ttab\"\t긍정\n\
                      2\t\"\"\"인용\"\" 뒤\"\t부정\n\
                      3\t쉼표, 있음\t중립\n\
                      4\t\"끝\n\n\"\t긍정\n";

#[test]
fn quoted_tsv_is_read() {
    let expect = ["두 줄\n이고\ttab|긍정", "\"인용\" 뒤|부정", "쉼표, 있음|중립", "끝\n\n|긍정"];
    check("pandas.tsv", PANDAS, &usual(), &expect);
    check("table.txt", PANDAS, &usual(), &expect);
    // A file that quotes all texts, its header too, as R's does.
    let r = "\"comment\"\t\"label\"\n\"인용\"\t\"긍정\"\n\"그 \\\"명장면\\\"\n최고\"\t\"부정\"\n";
    check("r.tsv", r, &usual(), &["인용|긍정", "그 \"명장면\"\n최고|부정"]);
    let excel = "label\t\"댓글\n내용\"\r\n긍정\t\"쉼표, 있음\"\r\n부정\t\"두\n줄\"\r\n중립\t\"인용\"\r\n";
    let columns = Columns { comment: Some("댓글\n내용".into()), ..Columns::default() };
    let named = ReadOptions { columns, ..usual() };
    check("excel.tsv", excel, &named, &["쉼표, 있음|긍정", "두\n줄|부정", "\"인용\"|중립"]);
    let one = made("one.tsv", "comment\n\"두\n줄\"\n\"여기서 웃었다\" ㅋㅋ\n\"끝\n".as_bytes());
    let expect = ["두\n줄", "\"여기서 웃었다\" ㅋㅋ", "\"끝"];
    same("one.tsv", &rows(&one.path, &usual(), false).unwrap(), &expect);
}

#[test]
fn a_stray_quote_in_tsv_costs_no_row() {
    // Rows by themselves, between two quotes that would pair; lines after them keep their numbers.
    let tsv = "label\tcomment\n긍정\t\"명작이다\n부정\t산만해요\n중립\t끝\"\n모름\t\"몇 시?\n";
    let wrong = "!line 5: label \"모름\" is none of 긍정";
    check("pair.tsv", tsv, &usual(), &["\"명작이다|긍정", "산만해요|부정", "끝\"|중립", wrong]);
    let tsv = "label\tcomment\n긍정\t\"두\n줄\"\n모름\t\"여기서\" ㅋㅋ\n부정\t\"a\tb\n중립\t네\n";
    let wide = "!line 5: has 3 columns where the header has 2";
    let wrong = "!line 4: label \"모름\" is none of 긍정";
    check("lines.tsv", tsv, &usual(), &["두\n줄|긍정", wrong, wide, "네|중립"]);
    // The look-ahead ends, however long the file is.
    let many: String = (0..60_000).map(|i| format!("{i}번째 댓글입니다\n")).collect();
    let tsv = format!("label\tcomment\n긍정\t\"명작이다\n{many}중립\t\"끝\"\n");
    let found = rows(&made("long.tsv", tsv.as_bytes()).path, &usual(), true).unwrap();
    assert_eq!((found.len(), &*found[0], &*found[60_001]), (60_002, "\"명작이다|긍정", "\"끝\"|중립"));
}

#[test]
fn a_stray_quote_costs_its_own_row() {
    let never = "!line 3: a quote opens a field and never closes";
    let mid = "!line 3: a quote opens a field but closes in the middle of it";
    let csv = "label,comment\n긍정,좋네요\n부정,\"명작이다\n부정,산만해요\n중립,몇 시?\n";
    check("never.csv", csv, &usual(), &["좋네요|긍정", never, "산만해요|부정", "몇 시?|중립"]);
    let csv = "comment,label\n좋네요,긍정\n\"명작\"이라더니,부정\n산만해요,부정\n";
    check("mid.csv", csv, &usual(), &["좋네요|긍정", mid, "산만해요|부정"]);
    // Two stray quotes: neither swallows what is between them.
    let csv = "comment,label\n좋네요,긍정\n\"명작이다,긍정\n산만해요,부정\n\"실망,부정\n끝,중립\n";
    let never_5 = "!line 5: a quote opens a field and never closes";
    check("two.csv", csv, &usual(), &["좋네요|긍정", mid, "산만해요|부정", never_5, "끝|중립"]);
    // A pair that is whole by the letter of RFC 4180, over lines that have labels of their own.
    let csv = "comment,label\n좋네요,긍정\n\"명작이다,긍정\n산만해요,부정\n실망\",부정\n끝,중립\n";
    let over = "!line 3: a quote opens here and closes on line 5";
    check("pair.csv", csv, &usual(), &["좋네요|긍정", over, "산만해요|부정", "실망\"|부정", "끝|중립"]);
    let csv = "comment,label\n24\" 화면,중립\n그 \"명장면\" 최고,긍정\n역대급\"이라더니,부정\n";
    check(
        "inside.csv",
        csv,
        &usual(),
        &["24\" 화면|중립", "그 \"명장면\" 최고|긍정", "역대급\"이라더니|부정"],
    );
}

#[test]
fn quoted_fields_may_run_over_lines() {
    let csv = "comment,label\r\n\"정말, 최고\r\n\r\n감사, 진짜\r\n끝\",긍정\r\n\"\",중립\r\n\"\"\"인용\"\"\",부정\r\n";
    let expect = [
        "정말, 최고\r\n\r\n감사, 진짜\r\n끝|긍정",
        "!line 6: the comment is missing or blank",
        "\"인용\"|부정",
    ];
    check("a.csv", csv, &usual(), &expect);
}

#[test]
fn lines_are_the_files_own() {
    let wrong = |line: u64| format!("!line {line}: label \"모름\" is none of 긍정");
    let csv = "comment,label\r\n좋네요,긍정\r\n\"두\r\n줄\",부정\r\n몇 시?,모름\r\n";
    check("crlf.csv", csv, &usual(), &["좋네요|긍정", "두\r\n줄|부정", &wrong(5)]);
    let old_mac =
        read("cr.csv", b"comment,label\r\xec\xa2\x8b\xeb\x84\xa4,\xea\xb8\x8d\xec\xa0\x95\r", &usual())
            .unwrap_err();
    assert!(old_mac.contains("carriage returns alone"), "{old_mac}");
    let csv = "\ncomment,label\n\n좋네요,긍정\n\n\r\n몇 시?,모름\n실망,부정";
    check("blank.csv", csv, &usual(), &["좋네요|긍정", &wrong(7), "실망|부정"]);
    let json =
        "\n{\"comment\":\"좋네요\",\"label\":\"긍정\"}\r\n\r\n{\"comment\":\"몇 시?\",\"label\":\"모름\"}";
    check("a.jsonl", json, &usual(), &["좋네요|긍정", &wrong(4)]);
}

#[test]
fn a_row_of_another_width_is_refused() {
    let csv = "comment,label\n좋아요, 최고,긍정\n끝\n네,중립\n";
    let expect = ["!line 2: has 3 columns where the header has 2", "!line 3: has 1 columns", "네|중립"];
    check("a.csv", csv, &usual(), &expect);
}

#[test]
fn delimiters_are_recognised() {
    let expect = ["음향이 작아서, 아쉬워요|부정", "몇 시?|중립"];
    for delimiter in [";", "\t", "|"] {
        let text = "comment;label\n음향이 작아서, 아쉬워요;부정\n몇 시?;중립\n".replace(';', delimiter);
        check("a.csv", &text, &usual(), &expect);
        check("a.csv", format!("sep={delimiter}\r\n{text}"), &usual(), &expect);
    }
    let named = ReadOptions { delimiter: Some(b':'), ..usual() };
    check("a.csv", "comment:label\n가,나;다:긍정\n", &named, &["가,나;다|긍정"]);
    let csv = ReadOptions { format: Some(Format::Csv), delimiter: Some(b'\t'), ..usual() };
    check("quoted.tsv", "comment\tlabel\n\"두\n줄\"\t긍정\n", &csv, &["두\n줄|긍정"]);
}

#[test]
fn encodings_are_read() {
    let text = "댓글,감정\n좋아요 정말,긍정\n\"쉼표, 있음\",부정\n";
    let expect = ["좋아요 정말|긍정", "쉼표, 있음|부정"];
    let utf16 = |bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
        format!("\u{feff}{text}").encode_utf16().flat_map(bytes).collect()
    };
    check("bom.csv", format!("\u{feff}{text}"), &usual(), &expect);
    check("utf16le.csv", utf16(u16::to_le_bytes), &usual(), &expect);
    check("utf16be.csv", utf16(u16::to_be_bytes), &usual(), &expect);
    check("cp949.csv", EUC_KR.encode(text).0, &usual(), &expect);
    let decomposed: String = text.nfd().collect();
    let found = rows(&made("nfd.csv", decomposed.as_bytes()).path, &usual(), true).unwrap();
    assert_eq!(found.len(), 2);
    assert!(found[0].ends_with("|긍정") && !found[0].starts_with('!'), "{found:?}");
    // One wrong byte costs its row; the encoding that was named decides.
    let broken =
        [b"comment,label\n", "좋아요,긍정\n".as_bytes(), b"\xc1\xc1,x\n", "네,중립\n".as_bytes()].concat();
    check("broken.csv", &broken, &usual(), &["좋아요|긍정", "!line 3: not UTF-8", "네|중립"]);
    let named = ReadOptions { encoding: Some(Encoding::Cp949), ..usual() };
    check("named.csv", b"comment,label\n\xc1\xc1,positive\n", &named, &["좋|긍정"]);
}

#[test]
fn packed_files_are_read() {
    let csv = "comment,label\n좋아요,긍정\n네,중립\n";
    let gzip = || {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(csv.as_bytes()).unwrap();
        packer.finish().unwrap()
    };
    let zstd = zstd::encode_all(csv.as_bytes(), 1).unwrap();
    let expect = ["좋아요|긍정", "네|중립"];
    check("a.csv.gz", gzip(), &usual(), &expect);
    check("a.csv.zst", &zstd, &usual(), &expect);
    check("unsaid.csv", gzip(), &usual(), &expect);
    let said = "cannot read FILE: its compression is damaged or cut off";
    refused("cut.csv.gz", &gzip()[..30], &usual(), said);
    refused("cut.csv.zst", &zstd[..zstd.len() - 4], &usual(), said);
}

#[test]
fn plain_text_is_a_comment_per_line() {
    let text = "좋아요\r\n\r\n  \n\"인용\", 쉼표\n\u{3164}\n";
    let file = made("comments.txt", text.as_bytes());
    let expect = ["좋아요", "\"인용\", 쉼표", "!line 5: the comment is missing or blank"];
    same("comments.txt", &rows(&file.path, &usual(), false).unwrap(), &expect);
    refused("comments.txt", text, &usual(), "no column for the label: the file has \"comment\"");
}

#[test]
fn labels_need_a_meaning() {
    let csv = "comment,label\n감동,2\n그냥,1\n아깝다,0\n";
    let ask = "the labels of column \"label\" are not known: \"2\", \"1\", \"0\"; say what they mean, for example --labels 2=긍정,1=중립,0=부정";
    refused("a.csv", csv, &usual(), ask);
    check("a.csv", csv, &mapped("2=긍정,1=중립,0=부정"), &["감동|긍정", "그냥|중립", "아깝다|부정"]);
    check("a.csv", csv, &mapped("2=긍정,0=부정"), &["감동|긍정", "!line 3: label \"1\"", "아깝다|부정"]);
    let floats = "comment,label\n감동,1.0\n아깝다,-1.0\n";
    check("a.csv", floats, &mapped("1=긍정,-1=부정"), &["감동|긍정", "아깝다|부정"]);
    // Some numbers among words are no less silent.
    refused("a.csv", "comment,label\n감동,긍정\n그냥,1\n", &usual(), "the labels of column \"label\"");
    refused(
        "a.csv",
        "comment,label\n감동,pos\n그냥,neg\n",
        &usual(),
        "the labels of column \"label\" are not known: \"pos\", \"neg\"",
    );
    let data = read("a.csv", "comment,label\n감동,긍정\n그냥,mixed\n".as_bytes(), &usual()).unwrap();
    assert_eq!((data.rows.len(), data.refused.count), (1, 1));
}

#[test]
fn columns_by_name() {
    let columns = Columns {
        comment: Some("text".into()),
        label: Some("y".into()),
        video_title: Some("kind".into()),
        video_summary: None,
    };
    let named = ReadOptions { columns, ..usual() };
    check("a.csv", "y,kind,text,comment,label\n부정,제목,별로,x,y\n", &named, &["제목|별로|부정"]);
    let decomposed: String = "댓글,감정\n별로,부정\n".nfd().collect();
    let columns =
        Columns { comment: Some("댓글".into()), label: Some("감정".into()), ..Columns::default() };
    let found = rows(&made("a.csv", decomposed.as_bytes()).path, &ReadOptions { columns, ..usual() }, true);
    assert_eq!(found.unwrap().len(), 1);
    let ask = "\"comment\", \"text\" could each be the comment; name the right one with --comment-column";
    refused("a.csv", "comment,text,label\na,b,긍정\n", &usual(), ask);
    refused(
        "a.csv",
        "comment,label,comment\na,긍정,b\n",
        &usual(),
        "two columns are named \"comment\"; rename",
    );
    let none =
        "no column for the comment: the file has \"x\", \"label\"; name the right one with --comment-column";
    refused("a.csv", "x,label\na,긍정\n", &usual(), none);
    refused("a.jsonl", "{\"x\":\"a\",\"label\":\"긍정\"}", &usual(), none);
    let wide: String = (0..2000).map(|i| format!("column_{i},")).collect();
    refused("wide.csv", wide, &usual(), "no column for the comment: the file has \"column_0\"");
    let titled = Columns { video_title: Some("t".into()), ..Columns::default() };
    refused(
        "a.csv",
        "comment,label\na,긍정\n",
        &ReadOptions { columns: titled, ..usual() },
        "no column \"t\"",
    );
}

#[test]
fn a_row_that_cannot_be_classified_is_refused() {
    let long = "하".repeat(10_001);
    let csv = format!(
        "comment,label\n좋아요,긍정\n   ,중립\n네,중립\n\u{3164}\u{200b},중립\n{long},긍정\n끝,부정\n"
    );
    let blank = |line: u64| format!("!line {line}: the comment is missing or blank");
    let long = "!line 6: column \"comment\" has more than 10000 characters; shorten it";
    check("a.csv", &csv, &usual(), &["좋아요|긍정", &blank(3), "네|중립", &blank(5), long, "끝|부정"]);
    let data = read("a.csv", csv.as_bytes(), &usual()).unwrap();
    assert_eq!((data.rows.len(), data.refused.count, data.refused.first.len()), (3, 3, 3));
    refused(
        "a.csv",
        "comment,label\n ,긍정\n",
        &usual(),
        "FILE: none of 1 rows can be used; the first is line 2",
    );
}

#[test]
fn html_is_decoded_where_it_is_known() {
    let csv = "comment,label\n&quot;최고&quot;<br>&#39;진짜&#39; &lt;3,긍정\n";
    check("a.csv", csv, &usual(), &["&quot;최고&quot;<br>&#39;진짜&#39; &lt;3|긍정"]);
    check("a.csv", csv, &ReadOptions { html: true, ..usual() }, &["\"최고\"\n'진짜' <3|긍정"]);
    check("a.csv", csv.replace("comment", "textDisplay"), &usual(), &["\"최고\"\n'진짜' <3|긍정"]);
}

#[test]
fn a_file_without_rows_is_told() {
    refused("a.csv", "", &usual(), "FILE: no rows");
    refused("a.csv", "comment,label\n", &usual(), "FILE: no rows");
    refused("a.jsonl", "\n", &usual(), "FILE: no rows");
    refused("a.json", "[]", &usual(), "FILE: no rows");
    refused("a.md", "좋아요\n", &usual(), "FILE: the name must end in .jsonl");
    refused(
        "a.csv",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1....",
        &usual(),
        "FILE is an Excel file with a password",
    );
    let folder = tempfile::tempdir().unwrap();
    let error = rows(folder.path(), &usual(), true).unwrap_err();
    assert_eq!(error, "FILE is a folder; name a file in it");
}

//! JSON: lines, arrays, yt-dlp's videos and the Data API's pages.

use super::{check, made, refused, rows, same, usual};

#[test]
fn arrays_and_values_in_a_row_are_read() {
    let (one, two) = (
        "{\"comment\": \"좋[아]{요\\\"\", \"label\": \"긍정\"}",
        "{\"label\": \"중립\",\n \"comment\": \"네\"}",
    );
    let expect = ["좋[아]{요\"|긍정", "네|중립"];
    check("a.json", format!("[{one},\n{two}]\n"), &usual(), &expect);
    check("a.json", format!("{one}\n{two}"), &usual(), &expect);
    check("a.json", format!("[{one}][{two}]"), &usual(), &expect);
    check("a.json", format!("\u{feff}[\n  {one},\n  {two}\n]"), &usual(), &expect);
    check("a.jsonl", format!("{one}\n\n{}\n", two.replace('\n', "")), &usual(), &expect);
}

#[test]
fn a_broken_value_costs_its_own_row() {
    let good = "{\"comment\":\"좋아요\",\"label\":\"긍정\"}";
    let lines = format!("{good}\n{{\"comment\":\n[1]\n{good}\nnull\n");
    let none = |line: u64| format!("!line {line}: not a JSON object");
    check("a.jsonl", lines, &usual(), &["좋아요|긍정", &none(2), &none(3), "좋아요|긍정", &none(5)]);
    let array = format!("[{good},\n{{\"comment\": nothing}},\n\"text\",\n{{\"comment\": \"열린}},\n{good}]");
    let open = "!line 4: a string does not end on its line";
    check("a.json", array, &usual(), &["좋아요|긍정", &none(2), &none(3), open, "좋아요|긍정"]);
    let twice = format!("{good}\n{{\"comment\":\"a\",\"label\":\"긍정\",\"comment\":\"b\"}}");
    check("a.jsonl", twice, &usual(), &["좋아요|긍정", "!line 2: names \"comment\" twice"]);
    let other = format!(
        "{good}\n{{\"comment\":[1],\"label\":\"긍정\"}}\n{{\"label\":\"긍정\"}}\n{{\"comment\":\"a\"}}"
    );
    let list = "!line 2: column \"comment\" must be text and is a list or an object";
    let missing = ["!line 3: the comment is missing or blank", "!line 4: the label is missing"];
    check("a.jsonl", other, &usual(), &["좋아요|긍정", list, missing[0], missing[1]]);
}

#[test]
fn a_file_that_was_cut_off_says_so() {
    let good = "{\"comment\":\"좋아요\",\"label\":\"긍정\"}";
    let inside = "!line 2: the file ends inside this value";
    check("a.json", format!("[{good},\n{}", &good[..18]), &usual(), &["좋아요|긍정", inside]);
    check(
        "a.json",
        format!("[{good},\n"),
        &usual(),
        &["좋아요|긍정", "!line 2: the file ends before its array"],
    );
    check(
        "a.jsonl",
        format!("{good}\n{}", &good[..18]),
        &usual(),
        &["좋아요|긍정", "!line 2: not a JSON object"],
    );
}

fn unlabelled(name: &str, content: &str, expect: &[&str]) {
    same(name, &rows(&made(name, content.as_bytes()).path, &usual(), false).unwrap(), expect);
}

#[test]
fn videos_of_yt_dlp_are_read() {
    let video = r#"{"id": "v1", "title": "제목", "extractor": "youtube", "webpage_url": "https://x", "formats": [{"id": 1}],
        "comments": [
            {"id": "c1", "text": "좋아요", "timestamp": 1741000000, "author": "@user", "parent": "root", "like_count": 3},
            {"id": "c2", "text": "별로 &amp; 그래요", "parent": "c1"}, {"id": "c3", "text": "\u3164"}, 7]}"#;
    let expect = [
        "제목|좋아요",
        "제목|별로 &amp; 그래요",
        "!line 1, comment 3: the comment is missing or blank",
        "!line 1, comment 4: the comment is not an object",
    ];
    unlabelled("v.info.json", video, &expect);
    unlabelled("v.jsonl", &video.replace('\n', ""), &expect);
    let without = r#"{"id": "v1", "title": "제목", "extractor": "youtube", "webpage_url": "https://x", "description": "x"}"#;
    unlabelled("v.info.json", without, &["!line 1, comment 1: a video without comments; download it again"]);
}

fn comment(id: &str, texts: &str) -> String {
    format!(
        r#"{{"kind": "youtube#comment", "id": "{id}", "snippet": {{"videoId": "v", "likeCount": 1, {texts}}}}}"#
    )
}

fn thread(top: &str, replies: &str) -> String {
    format!(
        r#"{{"kind": "youtube#commentThread", "snippet": {{"topLevelComment": {top}}}, "replies": {{"comments": [{replies}]}}}}"#
    )
}

#[test]
fn pages_of_the_data_api_are_read() {
    let both = comment("a", r#""textDisplay": "&quot;최고&quot;", "textOriginal": "\"최고\" &amp;""#);
    let html = comment("b", r#""textDisplay": "I&#39;m<br>행복""#);
    let neither = comment("c", r#""viewerRating": "none""#);
    let page = |kind: &str, items: &str| {
        format!(r#"{{"kind": "{kind}", "nextPageToken": "t", "items": [{items}]}}"#)
    };
    let threads = page(
        "youtube#commentThreadListResponse",
        &format!("{}, {}", thread(&both, &html), thread(&html, "")),
    );
    let comments = page("youtube#commentListResponse", &format!("{both}, {neither}"));
    let (text, html_text) = ("\"최고\" &amp;", "I'm\n행복");
    let lacking = "!line 1, comment 2: the comment has neither textOriginal nor textDisplay";
    unlabelled("threads.json", &threads, &[text, html_text, html_text]);
    unlabelled("comments.json", &comments, &[text, lacking]);
    unlabelled("pages.json", &format!("{threads}{comments}"), &[text, html_text, html_text, text, lacking]);
    unlabelled(
        "pages.json",
        &format!("[{threads}, {comments}]"),
        &[text, html_text, html_text, text, lacking],
    );
    unlabelled(
        "pages.jsonl",
        &format!("{threads}\n{threads}\n"),
        &[text, html_text, html_text, text, html_text, html_text],
    );
    unlabelled("threads.jsonl", &format!("{}\n{html}\n", thread(&both, "")), &[text, html_text]);
    let bare = threads.replace(r#""kind": "youtube#commentThreadListResponse", "#, "");
    unlabelled("bare.json", &bare, &[text, html_text, html_text]);
    // An object that only looks like one stays what it is.
    unlabelled("own.json", r#"{"comment": "좋아요", "items": [1, 2]}"#, &["좋아요"]);
}

#[test]
fn numbers_stay_as_they_were_written() {
    let json = r#"{"comment": "좋아요", "id": 12345678901234567890123, "score": 1.50, "ok": true, "tags": [1, "a"]}"#;
    let file = made("a.json", json.as_bytes());
    let mut comments = ko_sentiment::dataset::Comments::open(&file.path, usual(), false).unwrap();
    let record = comments.next().unwrap().unwrap().unwrap().record;
    let names: Vec<&str> = record.names.iter().map(String::as_str).collect();
    assert_eq!(names, ["comment", "id", "score", "ok", "tags"]);
    use ko_sentiment::dataset::Value::{Bool, Json, Number, Text};
    let expect = [
        Text("좋아요".into()),
        Number("12345678901234567890123".into()),
        Number("1.50".into()),
        Bool(true),
        Json("[1, \"a\"]".into()),
    ];
    assert_eq!(record.values, expect);
}

#[test]
fn a_video_without_labels_cannot_be_measured() {
    let video = r#"{"id": "v1", "title": "제목", "comments": [{"id": "c1", "text": "좋아요"}]}"#;
    refused("v.info.json", video, &usual(), "no column for the label: the file has \"id\", \"text\"");
}

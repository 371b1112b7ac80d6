//! `ko-sentiment report`: the page says what the file says, and nothing in the file becomes a part of the page.

use super::with;
use crate::support::{Fake, binary};

#[tokio::test(flavor = "multi_thread")]
async fn a_page_says_what_the_file_says() {
    with(Fake::default(), |place| {
        let rows: String = (0..30)
            .map(|i| format!("<script>{i}</script> 댓글,2025-03-{:02},영상 {}\n", 1 + i % 5, i % 2))
            .collect();
        place.write("in.csv", format!("comment,날짜,video_title\n{rows} ,2025-03-01,\n"));
        place.annotate(&["in.csv", "--out", "out.csv"], 3);
        let report = |args: &[&str]| {
            let mut command = binary();
            command.arg("report").args(args).current_dir(place.folder.path());
            let output = command.output().unwrap();
            (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
        };
        let (code, message) = report(&["out.csv", "--out", "ko.html"]);
        assert!(code == Some(0) && message.contains("30 of 31 rows"), "{message}");
        let page = place.read("ko.html");
        assert!(page.contains("댓글 31개 가운데 30개를 분류했습니다"), "{page}");
        assert!(
            page.contains("<html lang=\"ko\">") && page.contains("날짜별 흐름") && page.contains("영상별")
        );
        assert!(page.contains("&lt;script&gt;") && !page.contains("<script") && !page.contains("http://"));
        let days = page.matches("<th scope=\"row\">2025-03-0").count();
        assert_eq!(days, 5);
        let (code, _) = report(&["out.csv", "--out", "en.html", "--language", "en"]);
        assert!(code == Some(0) && place.read("en.html").contains("30 of 31 rows are answered"));

        let refused = |args: &[&str], expect: &str| {
            let (code, message) = report(args);
            assert!(code == Some(1) && message.contains(expect), "{args:?}: {message}");
        };
        refused(&["in.csv", "--out", "no.html"], "in.csv has no columns positive, neutral and negative");
        refused(&["out.csv", "--out", "ko.html"], "ko.html exists");
        refused(&["out.csv", "--out", "no.html", "--date-column", "언제"], "has no column \"언제\"");
    })
    .await;
}

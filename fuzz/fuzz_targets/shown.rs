//! Any text in a message: nothing that a terminal acts on, and an end.
#![no_main]

use ko_sentiment_fuzz::text::escape::{LINE_CHARS, LINES, message, quoted};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let whole = message(text);
    assert!(whole.lines().count() <= LINES + 1);
    assert!(whole.lines().all(|line| line.chars().count() <= LINE_CHARS));
    for shown in [whole, quoted(text).to_string()] {
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
    }
});

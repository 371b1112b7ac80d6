//! Flags that name a comment and its video.

use std::io::Read as _;

use clap::Args;

use crate::sentiment::input::RawInput;

/// Maximum bytes of a comment from standard input: more than the longest comment has.
const MAX_STDIN: u64 = 1 << 20;

/// A comment and its video.
#[derive(Debug, Args)]
pub struct TextArgs {
    /// The comment; `-` reads it from standard input.
    #[arg(value_name = "TEXT")]
    text: String,

    /// Title of the video.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    title: String,

    /// Summary of the video.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    summary: String,

    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

impl TextArgs {
    /// The comment's text.
    pub fn comment(&self) -> std::io::Result<String> {
        if self.text != "-" {
            return Ok(self.text.clone());
        }
        let mut text = Vec::new();
        std::io::stdin().take(MAX_STDIN + 1).read_to_end(&mut text)?;
        if text.len() as u64 > MAX_STDIN {
            let reason =
                "standard input holds more than a comment; annotate a file with `ko-sentiment annotate`";
            return Err(std::io::Error::other(reason));
        }
        let reason = "standard input is not UTF-8; send the comment as UTF-8";
        String::from_utf8(text).map_err(|_| std::io::Error::new(std::io::ErrorKind::InvalidData, reason))
    }

    /// The texts of the request.
    pub fn input<'a>(&'a self, comment: &'a str) -> RawInput<'a> {
        RawInput { comment, video_id: "", title: &self.title, summary: &self.summary }
    }
}

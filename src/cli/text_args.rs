//! Flags that name a comment and its video.

use std::io::Read as _;

use clap::Args;

use crate::sentiment::input::RawInput;

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
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        Ok(text)
    }

    /// The texts of the request.
    pub fn input<'a>(&'a self, comment: &'a str) -> RawInput<'a> {
        RawInput { comment, video_id: "", title: &self.title, summary: &self.summary }
    }
}

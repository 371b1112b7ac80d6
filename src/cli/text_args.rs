//! Flags that name a comment, its video, and who answers.

use std::io::Read as _;
use std::path::PathBuf;

use clap::Args;

use super::model_args::ModelArgs;
use crate::sentiment::input::RawInput;

/// A comment and its video.
#[derive(Debug, Args)]
pub struct TextArgs {
    /// The comment; `-` reads it from standard input.
    #[arg(value_name = "TEXT")]
    text: String,

    /// The video's title.
    #[arg(long, default_value = "", hide_default_value = true)]
    title: String,

    /// What happens in the video.
    #[arg(long, default_value = "", hide_default_value = true)]
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

/// Who answers: a model in this process, or a server.
#[derive(Debug, Clone, Args)]
pub struct AnswererArgs {
    /// Answer in this process, with this model.
    #[arg(
        long,
        short = 'm',
        value_name = "FILE",
        env = "KO_SENTIMENT_MODEL",
        required_unless_present = "endpoint"
    )]
    pub model: Option<PathBuf>,

    /// Ask the server at this address instead.
    #[arg(long, value_name = "HOST:PORT", env = "KO_SENTIMENT_ENDPOINT", conflicts_with = "model")]
    pub endpoint: Option<String>,

    #[command(flatten)]
    pub options: ModelArgs,
}

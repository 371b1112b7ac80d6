//! `ko-sentiment reason`

use std::io::Write as _;

use clap::Args;
use serde_json::json;

use super::answerer_args::AnswererArgs;
use super::classify::{answer_json, timings_json, usage_json, verdict_text};
use super::ranges::temperature;
use super::run::{CliResult, block_on};
use super::session::Session;
use super::text_args::TextArgs;
use crate::engine::Finish;
use crate::grpc::RemoteReason;
use crate::sentiment::classify::ReasonEvent;
use crate::sentiment::input::{DEFAULT_TOKENS, MAX_TOKENS};

/// Classify one comment, then stream the reasons.
///
/// For example: ko-sentiment reason --model model.gguf "정말 감동이었습니다. 눈물이 났어요."
///
/// With --json, the output is one object per line: the verdict, each piece of text, the end.
#[derive(Debug, Args)]
pub struct ReasonArgs {
    #[command(flatten)]
    text: TextArgs,

    /// Maximum tokens of the reasons.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_TOKENS, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_TOKENS)))]
    max_tokens: u32,

    /// Sampling temperature; 0 always takes the most probable token.
    #[arg(long, value_name = "T", default_value_t = 0.0, value_parser = temperature)]
    temperature: f32,

    /// Sampling seed.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    /// Let the model answer freely, and read the verdict from its words.
    #[arg(long)]
    free_answer: bool,

    #[command(flatten)]
    answerer: AnswererArgs,
}

pub fn run(args: &ReasonArgs) -> CliResult {
    let comment = args.text.comment()?;
    let options = RemoteReason {
        max_tokens: args.max_tokens,
        temperature: args.temperature,
        seed: args.seed,
        free_answer: args.free_answer,
    };
    block_on(async {
        let mut session = Session::open(&args.answerer).await?;
        let model = session.model().await?;
        let mut written = Ok(());
        let show = |event: ReasonEvent| {
            let text = if args.text.json {
                let value = match event {
                    ReasonEvent::Verdict(verdict) => json!({ "verdict": answer_json(&verdict, &model) }),
                    ReasonEvent::Text(text) => json!({ "text": text }),
                    ReasonEvent::Done(done) => json!({ "done": {
                        "finish_reason": finish_name(done.finish),
                        "stated_sentiment": done.stated,
                        "agrees": done.agrees,
                        "usage": usage_json(&done.stats),
                        "timings_ms": timings_json(&done.stats),
                    }}),
                };
                format!("{value}\n")
            } else {
                match event {
                    ReasonEvent::Verdict(verdict) => format!("{}\n", verdict_text(&verdict.verdict)),
                    ReasonEvent::Text(text) => text,
                    ReasonEvent::Done(done) if done.finish == Finish::Length => "…\n".to_owned(),
                    ReasonEvent::Done(_) => "\n".to_owned(),
                }
            };
            if written.is_ok() {
                let mut out = std::io::stdout().lock();
                written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            }
        };
        session.reason(args.text.input(&comment), options, show).await?;
        Ok(written?)
    })?
}

fn finish_name(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
    }
}

//! `ko-sentiment classify`

use clap::Args;
use serde_json::{Value, json};

use super::answerer_args::AnswererArgs;
use super::run::{CliResult, block_on};
use super::session::Session;
use super::text_args::TextArgs;
use crate::engine::Stats;
use crate::sentiment::classify::{Classified, ModelCard};
use crate::sentiment::labels::Sentiment;
use crate::sentiment::score::Verdict;

/// Width of a probability of 1 on the terminal.
const BAR: usize = 40;

/// Classify one comment.
///
/// For example: ko-sentiment classify --model model.gguf "정말 감동이었습니다. 눈물이 났어요."
#[derive(Debug, Args)]
pub struct ClassifyArgs {
    #[command(flatten)]
    text: TextArgs,

    /// Compute in isolation, for the same bits on every run.
    #[arg(long)]
    reproducible: bool,

    #[command(flatten)]
    answerer: AnswererArgs,
}

pub fn run(args: &ClassifyArgs) -> CliResult {
    let comment = args.text.comment()?;
    block_on(async {
        let mut session = Session::open(&args.answerer).await?;
        let answer = session.classify(args.text.input(&comment), args.reproducible).await?;
        if args.text.json {
            let value = answer_json(&answer, &session.model().await?);
            println!("{}", serde_json::to_string_pretty(&value)?);
        } else {
            print!("{}", verdict_text(&answer.verdict));
        }
        Ok(())
    })?
}

/// The verdict and a bar for each probability.
pub fn verdict_text(verdict: &Verdict) -> String {
    let mark = if verdict.abstained { " (unsure)" } else { "" };
    let mut text = format!("{}{mark}\n", verdict.sentiment);
    for s in Sentiment::ALL {
        let p = verdict.probabilities[s.index()];
        let bar = "█".repeat((p * BAR as f64).round() as usize);
        text += format!("  {s} {:6.2} % {bar}", 100.0 * p).trim_end();
        text.push('\n');
    }
    text
}

/// The same as an object.
pub fn answer_json(answer: &Classified, model: &ModelCard) -> Value {
    let v = &answer.verdict;
    let by_name = |values: [f64; 3]| -> Value {
        Sentiment::ALL.into_iter().map(|s| (s.name().to_owned(), json!(values[s.index()]))).collect()
    };
    json!({
        "sentiment": v.sentiment,
        "label": v.sentiment.korean(),
        "abstained": v.abstained,
        "probabilities": by_name(v.probabilities),
        "log_probabilities": by_name(v.log_probs),
        "model": { "name": model.name, "sha256": model.sha256, "quantization": model.quantization },
        "usage": usage_json(&answer.stats),
        "timings_ms": timings_json(&answer.stats),
    })
}

/// Tokens, as in the contract.
pub fn usage_json(stats: &Stats) -> Value {
    json!({
        "prompt_tokens": stats.prompt_tokens,
        "cached_tokens": stats.cached_tokens,
        "generated_tokens": stats.generated_tokens,
    })
}

/// Times in milliseconds.
pub fn timings_json(stats: &Stats) -> Value {
    json!({
        "queue": stats.queue.as_secs_f64() * 1e3,
        "compute": stats.compute.as_secs_f64() * 1e3,
    })
}

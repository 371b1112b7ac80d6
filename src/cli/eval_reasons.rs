//! `eval --reasons`: the model's reasons for its verdicts, and what can be told of them without reading them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::data_args::Data;
use super::progress;
use super::run::{CliResult, Failure};
use super::session::Session;
use super::subject::Subject;
use crate::ask::{Answer, Taking};
use crate::eval::predictions::Prediction;
use crate::eval::reasons::{Reading, Reason, Reasons};
use crate::eval::run::{Refusal, ask_rows};
use crate::files::output;
use crate::sentiment::labels::Sentiment;
use crate::text::shown::shown_path;

/// Which reasons are written, and where they are kept.
#[derive(Debug, Args)]
pub struct ReasonsArgs {
    /// Write reasons for the first N answered rows, or for all, and report contradictions, quotations that are not in
    /// the comment, unfinished sentences, distinct reasons and their length: about a hundred times the work per row.
    #[arg(long, value_name = "N|all", value_parser = how_many)]
    reasons: Option<usize>,

    /// Write the reasons to this new file, one JSON object per row.
    #[arg(long, value_name = "FILE.jsonl", requires = "reasons")]
    reasons_out: Option<PathBuf>,
}

fn how_many(text: &str) -> Result<usize, String> {
    match text {
        "all" => Ok(usize::MAX),
        _ => text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "must be a number from 1, or all".to_owned()),
    }
}

/// How reasons are asked for.
pub struct ReasonsAsked<'a> {
    /// Who writes them.
    pub session: &'a Session,
    /// Maximum tokens of each.
    pub max_tokens: u32,
    /// Comments asked for at a time.
    pub in_flight: usize,
}

/// What was written, as far as it went.
pub struct ReasonsWritten {
    /// The figures.
    pub figures: Reasons,
    /// Why there are not all of them, or why they are not kept.
    pub ended: CliResult,
}

impl ReasonsArgs {
    /// Whether reasons are to be written.
    pub fn wanted(&self) -> bool {
        self.reasons.is_some()
    }

    /// Refuses a file that cannot be written, before anything long is begun.
    pub fn check(&self) -> CliResult {
        let Some(path) = &self.reasons_out else { return Ok(()) };
        if path.symlink_metadata().is_ok() {
            return Err(format!("{} exists; name a new file with --reasons-out", shown_path(path)).into());
        }
        Ok(output::check_target(path, 0, false)?)
    }

    /// Has the reasons written for the first answered rows. An interrupt ends the writing, and not the report.
    pub async fn write(
        &self,
        asked: &ReasonsAsked<'_>,
        data: &Data,
        predictions: &[Prediction],
    ) -> Result<Option<ReasonsWritten>, Failure> {
        let Some(most) = self.reasons else { return Ok(None) };
        let todo: Vec<usize> = predictions.iter().take(most).map(|p| p.row).collect();
        let reading = reading(asked.session).await?;
        let mut reasons = Vec::new();
        let answered = answers(asked, data, &todo, |row, answer| {
            reasons.extend(reading.of(row, &data.rows[row].comment, answer));
        });
        let ended = tokio::select! {
            ended = answered => ended,
            _ = tokio::signal::ctrl_c() => Err("interrupted: reasons are missing from the report".into()),
        };
        reasons.sort_by_key(|reason| reason.row);
        let (refused, mut ended) = match ended {
            Ok(refused) => (refused.len(), Ok(())),
            Err(error) => (0, Err(error)),
        };
        if let Some(path) = &self.reasons_out {
            ended = keep(path, &reasons).and(ended);
        }
        Ok(Some(ReasonsWritten { figures: Reasons::of(&reasons, refused, asked.max_tokens), ended }))
    }
}

async fn answers(
    asked: &ReasonsAsked<'_>,
    data: &Data,
    todo: &[usize],
    mut take: impl FnMut(usize, Answer),
) -> Result<Vec<Refusal>, Failure> {
    let subject = Subject::new(asked.session.clone(), Taking::Reasons { max_tokens: asked.max_tokens });
    let bar = progress::bar(todo.len() as u64);
    let keep = |row, answer| {
        take(row, answer);
        bar.inc(1);
        Ok(())
    };
    let refused = ask_rows(Arc::new(subject), &data.rows, todo, asked.in_flight, keep).await?;
    bar.finish_and_clear();
    Ok(refused)
}

/// How a model's reasons are read. A server does not say what it writes before them.
async fn reading(session: &Session) -> Result<Reading, Failure> {
    let labels = session.clone().labels().await?;
    let begun = match session {
        Session::Local(classifier) => classifier.profile().answer_start(Sentiment::Positive),
        Session::Remote(_) => String::new(),
    };
    Ok(Reading { labels, begun })
}

fn keep(path: &Path, reasons: &[Reason]) -> CliResult {
    let mut lines = Vec::new();
    for reason in reasons {
        serde_json::to_writer(&mut lines, reason)?;
        lines.push(b'\n');
    }
    Ok(output::replace(path, &lines)?)
}

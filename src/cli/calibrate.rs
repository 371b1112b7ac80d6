//! `ko-sentiment calibrate`

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;

use super::answerer_args::AnswererArgs;
use super::data_args::{Data, DataArgs};
use super::predict::{Answers, AskArgs, FittingArgs, Keeping, Taking, ask, share};
use super::run::{CliResult, Failure, block_on};
use super::session::Session;
use crate::dataset::Row;
use crate::eval::identity::Mode;
use crate::eval::predictions::Prediction;
use crate::eval::recalibration::{self, Recalibration};
use crate::files::output::check_target;
use crate::gguf::rewrite::set_metadata;
use crate::gguf::{self, Header};
use crate::sentiment::labels::Sentiment;
use crate::sentiment::profile::{Calibration, METADATA_KEY, Profile};
use crate::sentiment::score::Verdict;
use crate::text::shown::shown_path;

/// Fit a model's temperature and class biases to labelled comments, and write them into its profile.
///
/// For example: ko-sentiment calibrate --model model.gguf --data comments.csv
///
/// Prompt, labels and weights stay unchanged. The old profile is saved in a file beside the model.
#[derive(Debug, Args)]
pub struct CalibrateArgs {
    #[command(flatten)]
    answerer: AnswererArgs,

    #[command(flatten)]
    data: DataArgs,

    #[command(flatten)]
    fit: FitArgs,
}

/// What is fitted.
#[derive(Debug, Args)]
#[command(next_help_heading = "Calibration options")]
struct FitArgs {
    #[command(flatten)]
    fitting: FittingArgs,

    /// Probability below which the model abstains, 0 to 1; 0 means never [default: the model's].
    #[arg(long, value_name = "P", value_parser = share)]
    abstain_below: Option<f64>,

    /// Print the report without writing the model file.
    #[arg(long)]
    dry_run: bool,

    /// Write the fitted values even if they do worse on held-out rows: a higher log-loss or, with --balance, a lower
    /// macro F1.
    #[arg(long)]
    allow_worse: bool,

    #[command(flatten)]
    ask: AskArgs,
}

pub fn run(args: &CalibrateArgs) -> CliResult {
    let (Some(model), fit) = (&args.answerer.model, &args.fit) else {
        return Err("calibrate writes into a model file: name it with --model FILE".into());
    };
    if let Some(other) = args.answerer.options.other_profile() {
        return Err(format!(
            "calibrate fits the profile in {}, which --profile or KO_SENTIMENT_PROFILE replaces by {}; leave out the flag, or unset the variable",
            shown_path(model),
            shown_path(other)
        )
        .into());
    }
    let mut data = args.data.read(&[])?;
    data.warn_refused();
    let embedded = embedded_profile(model)?;
    let mut profile = Profile::from_toml(&embedded)?;
    let fitting = fit.fitting.fitting(profile.calibration.clone());
    recalibration::check(&data.rows, fitting.by_video)?;
    if !fit.dry_run {
        let target = fs::canonicalize(model)?;
        check_target(&target, fs::metadata(&target)?.len(), true)?;
    }
    let answers = answers(args, &data)?;
    data.refuse(&answers.refused);
    let change = Recalibration::of(&data.rows, &answers.predictions, &fitting)?;
    let old = fitting.present;
    let abstain_below = fit.abstain_below.unwrap_or(old.abstain_below);
    profile.calibration = Calibration { abstain_below, ..change.fitted.clone() };
    profile.check()?;
    println!("data   {}\n\n{}", data.words(), change.with_thresholds());
    print!("{}", changes(&old, &profile.calibration, &data.rows, &answers.predictions));
    if fit.dry_run {
        println!("{} is left as it is", shown_path(model));
        return Ok(());
    }
    if let Some(worse) = change.worse().filter(|_| !fit.allow_worse) {
        return Err(format!(
            "{} is left as it is, because {worse}; label more rows, or write the values all the same with --allow-worse",
            shown_path(model)
        )
        .into());
    }
    write(model, &embedded, &profile)
}

/// The model's answers. It is closed again: a file in use cannot be replaced everywhere.
fn answers(args: &CalibrateArgs, data: &Data) -> Result<Answers, Failure> {
    let (fit, file) = (&args.fit.ask, args.fit.ask.open()?);
    let taking = Taking { mode: Mode::Score, reproducible: fit.pace.reproducible, max_tokens: 1 };
    block_on(async {
        let session = Session::open(&args.answerer).await?;
        if matches!(session, Session::Remote(_)) {
            return Err("calibrate writes into a model file: it cannot use --endpoint".into());
        }
        Ok(ask(&session, taking, data, Keeping { file, in_flight: fit.pace.in_flight }).await?)
    })?
}

/// The text of the profile in the model file.
fn embedded_profile(model: &Path) -> Result<String, Failure> {
    let header = Header::read(model).map_err(|e| format!("{}: {e}", shown_path(model)))?;
    let text = header.metadata.get(METADATA_KEY).and_then(gguf::Value::as_str);
    let missing = || {
        format!(
            "{} holds no profile to calibrate; convert the model with `ko-sentiment convert-model`",
            shown_path(model)
        )
    };
    Ok(text.ok_or_else(missing)?.to_owned())
}

/// Old and new values, and what the threshold withholds of these rows.
fn changes(old: &Calibration, new: &Calibration, rows: &[Row], predictions: &[Prediction]) -> String {
    let mut lines = Vec::new();
    let apart = old.with_video.is_some() || new.with_video.is_some();
    let kinds: &[_] = if apart { &[(false, ""), (true, ", with a video")] } else { &[(false, "")] };
    for &(shows_video, kind) in kinds {
        let (old, new) = (old.scaling(shows_video), new.scaling(shows_video));
        lines.push((format!("temperature{kind}"), old.temperature, new.temperature));
        let bias = |s: Sentiment| (format!("bias {}{kind}", s.name()), *old.bias.get(s), *new.bias.get(s));
        lines.extend(Sentiment::ALL.map(bias));
    }
    lines.push(("abstain below".to_owned(), old.abstain_below, new.abstain_below));
    let width = lines.iter().map(|(name, ..)| name.len()).max().unwrap_or(0) + 2;
    let mut out = format!("\n{:>width$}{:>12}{:>12}\n", "", "old", "new");
    for (name, old, new) in lines {
        out += &match name.as_str() {
            "abstain below" => format!("{name:>width$}{old:>12}{new:>12}\n"),
            _ => format!("{name:>width$}{old:>12.4}{new:>12.4}\n"),
        };
    }
    let abstains = |p: &&Prediction| {
        p.log_probs.is_some_and(|l| Verdict::new(l, new, rows[p.row].shows_video()).abstained)
    };
    let withheld = predictions.iter().filter(abstains);
    if new.abstain_below > 0.0 {
        out +=
            &format!("withheld from now on: {} of these {} answers\n", withheld.count(), predictions.len());
    }
    out + "\n"
}

fn write(model: &Path, embedded: &str, profile: &Profile) -> CliResult {
    if embedded_profile(model)? != embedded {
        return Err(format!(
            "{} was given another profile meanwhile and is left as it is; calibrate again",
            shown_path(model)
        )
        .into());
    }
    let kept =
        keep(model, embedded).map_err(|e| format!("cannot keep the old profile beside the model: {e}"))?;
    set_metadata(model, METADATA_KEY, profile.to_toml()?.into())?;
    println!("written to the profile in {}", shown_path(model));
    println!("the old profile is kept in {0}; `--profile {0}` goes back to it", shown_path(&kept));
    Ok(())
}

/// Writes the old profile to the first free name beside the model: `model.gguf.profile-1.toml` and so on. A file
/// that has it already will do.
fn keep(model: &Path, text: &str) -> io::Result<PathBuf> {
    let name = model.file_name().unwrap_or_default().to_string_lossy();
    let mut number = 1;
    loop {
        let path = model.with_file_name(format!("{name}.profile-{number}.toml"));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(mut file) => {
                file.write_all(text.as_bytes())?;
                file.sync_all()?;
                return Ok(path);
            }
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Err(_) if fs::read(&path).is_ok_and(|bytes| bytes == text.as_bytes()) => return Ok(path),
            Err(_) => number += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_old_profile_is_kept_once() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model.gguf");
        let check = |text: &str, expect: &str| {
            let path = keep(&model, text).unwrap();
            assert_eq!(path.file_name().unwrap(), expect);
            assert_eq!(fs::read_to_string(path).unwrap(), text);
        };
        check("first", "model.gguf.profile-1.toml");
        check("second", "model.gguf.profile-2.toml");
        check("first", "model.gguf.profile-1.toml");
    }
}

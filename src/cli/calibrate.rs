//! `ko-sentiment calibrate`

use clap::Args;

use super::answerer_args::AnswererArgs;
use super::predict::{AskArgs, BalanceArgs, DataArgs, ask, share};
use super::run::{CliResult, block_on};
use super::session::Session;
use crate::eval::calibrate::check_labels;
use crate::eval::predictions::Mode;
use crate::eval::report::Recalibration;
use crate::gguf::rewrite::set_metadata;
use crate::sentiment::profile::METADATA_KEY;

/// For example: ko-sentiment calibrate --model model.gguf --data comments.csv
///
/// The model file is rewritten with the fitted values in its profile; its weights stay byte for byte.
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
    balance: BalanceArgs,

    /// Mark answers whose probability is below this as abstained; 0 turns it off [default: as in the model].
    #[arg(long, value_name = "P", value_parser = share)]
    abstain_below: Option<f64>,

    /// Report, but leave the model file as it is.
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    ask: AskArgs,
}

pub fn run(args: &CalibrateArgs) -> CliResult {
    let (Some(model), fit) = (&args.answerer.model, &args.fit) else {
        return Err("calibrate writes into a model file: name it with --model FILE".into());
    };
    let data = args.data.read()?;
    check_labels(&data.labels())?;
    let answered = async {
        let session = Session::open(&args.answerer).await?;
        let answers = ask(&session, Mode::Score, &data, &fit.ask).await?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>((session, answers))
    };
    let (session, answers) = block_on(answered)??;
    let Session::Local(classifier) = session else {
        return Err("calibrate writes into a model file: it cannot use --endpoint".into());
    };
    let change = Recalibration::of(&answers.predictions, fit.balance.balance)?;
    let mut profile = classifier.profile().clone();
    let abstain_below = fit.abstain_below.unwrap_or(profile.calibration.abstain_below);
    profile.calibration = change.fitted.clone();
    profile.calibration.abstain_below = abstain_below;
    profile.check()?;
    let text = profile.to_toml()?;
    // Nothing may hold the file open where a file in use cannot be replaced.
    drop(classifier);
    println!("data   {}\n\n{}", data.words, change.text());
    if fit.dry_run {
        println!("{} is left as it is", model.display());
    } else {
        set_metadata(model, METADATA_KEY, text.into())?;
        println!("written to the profile in {}", model.display());
    }
    Ok(())
}

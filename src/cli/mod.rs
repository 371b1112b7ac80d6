//! The command line: one file a subcommand. The only place that prints.

#![allow(clippy::print_stdout, clippy::print_stderr)]

/// As the standard library's, but ends the command quietly if nobody reads its output any more. It stands
/// before the modules that print, so that they all use it.
macro_rules! print {
    ($($text:tt)*) => { $crate::cli::out::write(format_args!($($text)*)) };
}

/// As `print`, with a line's end.
macro_rules! println {
    () => { print!("\n") };
    ($format:literal $($rest:tt)*) => { print!("{}\n", format_args!($format $($rest)*)) };
}

mod annotate;
mod annotate_args;
mod answerer_args;
mod bench;
mod calibrate;
mod classify;
mod client_args;
mod completions;
mod convert;
#[cfg(target_arch = "x86_64")]
pub mod cpu_check;
mod data_args;
mod devices;
mod eval;
mod eval_reasons;
mod health;
mod inspect;
mod interrupt;
mod known_models;
mod man;
mod model_args;
mod model_watch;
pub mod openmp;
mod out;
mod predict;
mod profile_arg;
mod progress;
mod ranges;
mod reason;
mod reference;
mod report;
mod run;
mod serve;
mod session;
mod subject;
mod supervisor;
mod text_args;
mod token;
mod transport_args;
mod trial;
mod try_model;
mod watch_args;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use self::out::tell;
use self::run::Failure;
use crate::telemetry::{self, LogFormat};
use crate::text::escape;

/// Place of the flags that every subcommand has: after its own, before `--help` (999).
const LAST: usize = 900;

/// Sentiment of Korean YouTube comments: 긍정, 중립 or 부정, with probabilities and reasons.
#[derive(Debug, Parser)]
#[command(name = "ko-sentiment", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Log format.
    #[arg(long, global = true, value_name = "FORMAT", value_enum, default_value_t, env = "KO_SENTIMENT_LOG_FORMAT", display_order = LAST)]
    log_format: LogFormat,

    /// Log level: error, warn, info, debug, trace, or directives such as `info,llama-cpp-2=debug` [default: info for
    /// serve, else warn].
    #[arg(long, global = true, value_name = "LEVEL", env = "KO_SENTIMENT_LOG_LEVEL", display_order = LAST)]
    log_level: Option<String>,
}

// The text of `help SUBCOMMAND` stands at its arguments: a doc comment on a variant would replace it.
#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::ServeArgs),
    Classify(classify::ClassifyArgs),
    Reason(reason::ReasonArgs),
    Annotate(annotate::AnnotateArgs),
    Report(report::ReportArgs),
    ConvertModel(convert::ConvertArgs),
    Inspect(inspect::InspectArgs),
    Eval(eval::EvalArgs),
    Calibrate(calibrate::CalibrateArgs),
    Bench(bench::BenchArgs),
    Devices(devices::DevicesArgs),
    Health(health::HealthArgs),
    Token(token::TokenArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
    #[command(hide = true)]
    TryModel(try_model::TryArgs),
}

impl Command {
    fn run(&self) -> Result<ExitCode, Failure> {
        let done = match self {
            Self::Serve(args) => serve::run(args),
            Self::Classify(args) => classify::run(args),
            Self::Reason(args) => reason::run(args),
            Self::Annotate(args) => return annotate::run(args),
            Self::Report(args) => report::run(args),
            Self::ConvertModel(args) => convert::run(args).map_err(Into::into),
            Self::Inspect(args) => inspect::run(args),
            Self::Eval(args) => eval::run(args),
            Self::Calibrate(args) => calibrate::run(args),
            Self::Bench(args) => bench::run(args),
            Self::Devices(args) => devices::run(args),
            Self::Health(args) => health::run(args),
            Self::Token(args) => token::run(args),
            Self::Completions(args) => completions::run(args, &mut Cli::command()),
            Self::Man(args) => man::run(args, Cli::command()),
            Self::TryModel(args) => try_model::run(args),
        };
        done.map(|()| ExitCode::SUCCESS)
    }
}

/// Whether a command only failed because its output's reader is gone.
fn nobody_reads(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Runs a parsed command line. The code is 0, or 1 on a failure (and 2, from the parser, on a wrong usage); `annotate`
/// has more.
pub fn run(cli: Cli) -> ExitCode {
    let level = match (&cli.log_level, &cli.command) {
        (Some(level), _) => level,
        (None, Command::Serve(_)) => "info",
        (None, _) => "warn",
    };
    let result = telemetry::init(cli.log_format, level).map_err(|e| format!("--log-level: {e}").into());
    let result = result.and_then(|()| cli.command.run());
    match result {
        Ok(code) => code,
        Err(error) if nobody_reads(error.as_ref()) => ExitCode::SUCCESS,
        Err(error) => {
            // Whatever a message has picked up from files, servers and arguments.
            tell(format_args!("error: {}", escape::message(&error.to_string())));
            ExitCode::FAILURE
        }
    }
}

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
mod watch_args;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use self::run::Failure;
use crate::telemetry::{self, LogFormat};
use crate::text::escape;

/// How Korean YouTube viewers feel: 긍정 / 중립 / 부정, with probabilities and reasons.
#[derive(Debug, Parser)]
#[command(name = "ko-sentiment", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Lines for people, or JSON for machines.
    #[arg(long, global = true, value_enum, default_value_t, env = "KO_SENTIMENT_LOG_FORMAT")]
    log_format: LogFormat,

    /// error, warn, info, debug or trace, or directives such as `info,llama-cpp-2=debug`.
    /// [default: info for serve, else warn]
    #[arg(long, global = true, env = "KO_SENTIMENT_LOG_LEVEL")]
    log_level: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the model over gRPC.
    Serve(serve::ServeArgs),
    /// Classify one comment.
    Classify(classify::ClassifyArgs),
    /// Classify one comment and tell why, token by token.
    Reason(reason::ReasonArgs),
    /// Add answers to a file of comments: CSV, Excel, JSON, Parquet.
    Annotate(annotate::AnnotateArgs),
    /// Make a page about an annotated file: shares, over time, by video, words.
    Report(report::ReportArgs),
    /// Merge a Hugging Face checkpoint and its LoRA adapter into a quantised GGUF file.
    ConvertModel(convert::ConvertArgs),
    /// Tell what a GGUF file holds.
    Inspect(inspect::InspectArgs),
    /// Measure a model on labelled comments.
    Eval(eval::EvalArgs),
    /// Fit a model's temperature and class biases to labelled comments, and write them into its profile.
    Calibrate(calibrate::CalibrateArgs),
    /// Measure speed and latency under load.
    Bench(bench::BenchArgs),
    /// Tell what llama.cpp computes with on this machine.
    Devices(devices::DevicesArgs),
    /// Check that a server is serving (exit code 0), for probes.
    Health(health::HealthArgs),
    /// Make tokens for `serve --tokens`.
    Token(token::TokenArgs),
    /// Write a shell's completion script.
    Completions(completions::CompletionsArgs),
    /// Write the man pages.
    Man(man::ManArgs),
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
            eprintln!("error: {}", escape::message(&error.to_string()));
            ExitCode::FAILURE
        }
    }
}

//! The command line: one file a subcommand. The only place that prints.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod bench;
mod calibrate;
mod classify;
mod completions;
mod convert;
#[cfg(target_arch = "x86_64")]
pub mod cpu_check;
mod devices;
mod eval;
mod health;
mod inspect;
mod model_args;
mod model_watch;
pub mod openmp;
mod predict;
mod profile_arg;
mod reason;
mod run;
mod serve;
mod session;
mod text_args;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

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
    /// Ask a server whether it serves: exit code 0 if it does, for probes.
    Health(health::HealthArgs),
    /// Write a shell's completion script.
    Completions(completions::CompletionsArgs),
}

/// Runs a parsed command line. The code is 0, or 1 on a failure (and 2, from the parser, on a wrong usage).
pub fn run(cli: Cli) -> ExitCode {
    let level = match (&cli.log_level, &cli.command) {
        (Some(level), _) => level,
        (None, Command::Serve(_)) => "info",
        (None, _) => "warn",
    };
    let result = telemetry::init(cli.log_format, level).map_err(|e| format!("--log-level: {e}").into());
    let result = result.and_then(|()| match &cli.command {
        Command::Serve(args) => serve::run(args),
        Command::Classify(args) => classify::run(args),
        Command::Reason(args) => reason::run(args),
        Command::ConvertModel(args) => convert::run(args).map_err(Into::into),
        Command::Inspect(args) => inspect::run(args),
        Command::Eval(args) => eval::run(args),
        Command::Calibrate(args) => calibrate::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Devices(args) => devices::run(args),
        Command::Health(args) => health::run(args),
        Command::Completions(args) => completions::run(args, &mut Cli::command()),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Whatever a message has picked up from files, servers and arguments.
            eprintln!("error: {}", escape::message(&error.to_string()));
            ExitCode::FAILURE
        }
    }
}

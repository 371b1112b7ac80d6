//! The `ko-sentiment` binary: parse, dispatch, exit code.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    ko_sentiment::cli::openmp::wait_patiently();
    ko_sentiment::cli::run(ko_sentiment::cli::Cli::parse())
}

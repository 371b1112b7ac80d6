//! The `ko-sentiment` binary: parse, dispatch, exit code.

use std::process::ExitCode;

use clap::Parser as _;

/// Called by the dynamic loader before all constructors and `main`.
#[cfg(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu"))]
#[used]
// SAFETY: the section holds pointers to C functions, and this is one.
#[unsafe(link_section = ".preinit_array")]
static CPU_CHECK: extern "C" fn() = ko_sentiment::cli::cpu_check::run;

fn main() -> ExitCode {
    ko_sentiment::cli::openmp::wait_patiently();
    ko_sentiment::cli::run(ko_sentiment::cli::Cli::parse())
}

//! Logs: readable or JSON, llama.cpp's own among them. A comment's text is never logged.

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines: one object a line.
    Json,
}

/// llama.cpp tells a hundred lines of every model at `info`; they are wanted only when asked for.
const QUIET_LLAMA: &str = "llama-cpp-2=error";

/// Sends the log to standard error. `level` is a level, or directives such as `info,llama-cpp-2=debug`.
///
/// # Errors
/// `level` cannot be read.
pub fn init(format: LogFormat, level: &str) -> Result<(), ParseError> {
    let directives =
        if level.contains(['=', ',']) { level.to_owned() } else { format!("{level},{QUIET_LLAMA}") };
    let filter = EnvFilter::builder().parse(directives)?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second initialisation, as in tests, changes nothing.
    let _ = match format {
        LogFormat::Text => log.finish().try_init(),
        LogFormat::Json => log.json().flatten_event(true).finish().try_init(),
    };
    llama_cpp_2::send_logs_to_tracing(llama_cpp_2::LogOptions::default());
    Ok(())
}

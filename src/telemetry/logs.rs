//! Logs: readable or JSON, llama.cpp's own among them. A comment's text is never logged.

use std::ffi::OsString;
use std::io::IsTerminal as _;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    /// Lines to read.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// llama.cpp tells a hundred lines of every model at `info`; they are wanted only when asked for.
const QUIET_LLAMA: &str = "llama-cpp-2=error";

/// Whether to use colours: on a terminal, unless NO_COLOR is set (<https://no-color.org>); elsewhere only if
/// CLICOLOR_FORCE is (<https://bixense.com/clicolors>).
fn colours(variable: impl Fn(&str) -> Option<OsString>, terminal: bool) -> bool {
    let set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
    let forced = set("CLICOLOR_FORCE") && variable("CLICOLOR_FORCE").is_none_or(|value| value != "0");
    !set("NO_COLOR") && (terminal || forced)
}

/// Sends the log to standard error. `level` is a level, or directives such as `info,llama-cpp-2=debug`.
///
/// # Errors
/// `level` cannot be read.
pub fn init(format: LogFormat, level: &str) -> Result<(), ParseError> {
    let directives =
        if level.contains(['=', ',']) { level.to_owned() } else { format!("{level},{QUIET_LLAMA}") };
    let filter = EnvFilter::builder().parse(directives)?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A line that cannot be written, as on a full disk, is lost; saying so on standard error would panic.
    let log = log.log_internal_errors(false);
    let log = log.with_ansi(colours(|name| std::env::var_os(name), std::io::stderr().is_terminal()));
    // A second initialisation, as in tests, changes nothing.
    let _ = match format {
        LogFormat::Text => log.finish().try_init(),
        LogFormat::Json => log.json().flatten_event(true).finish().try_init(),
    };
    llama_cpp_2::send_logs_to_tracing(llama_cpp_2::LogOptions::default());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_and_for_who_asks() {
        let check = |set: &[(&str, &str)], terminal, expect| {
            let variable = |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, value)| value.into());
            assert_eq!(colours(variable, terminal), expect, "{set:?} {terminal}");
        };
        check(&[], true, true);
        check(&[], false, false);
        check(&[("NO_COLOR", "1")], true, false);
        check(&[("NO_COLOR", "")], true, true);
        check(&[("CLICOLOR_FORCE", "1")], false, true);
        check(&[("CLICOLOR_FORCE", "0")], false, false);
        check(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false, false);
    }
}

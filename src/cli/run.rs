//! What every subcommand runs on: its result and its runtime.

/// A failure on its way to the terminal.
pub type CliResult = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Runs a future on a runtime of its own.
pub fn block_on<T>(future: impl Future<Output = T>) -> Result<T, std::io::Error> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(future))
}

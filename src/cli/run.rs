//! What every subcommand runs on: its result and its runtime.

/// A failure on its way to the terminal.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What a subcommand ends with.
pub type CliResult = Result<(), Failure>;

/// Runs a future on a runtime of its own.
pub fn block_on<T>(future: impl Future<Output = T>) -> Result<T, std::io::Error> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(future))
}

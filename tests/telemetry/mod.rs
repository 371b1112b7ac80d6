//! What operators see of a running server.

mod documents;
mod exposition;
mod numbers;
mod port;

pub use exposition::metrics;

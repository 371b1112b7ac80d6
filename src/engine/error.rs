//! What can go wrong between a job and its answer.

use std::time::Duration;

/// Why the engine did not answer a job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The queue is full, by jobs or by tokens.
    #[error("the server is full; retry in about {retry_after:.1?}")]
    Overloaded {
        /// When there should be room again, from the queue's length and the measured speed.
        retry_after: Duration,
    },
    /// What waits already, and the job itself, take longer than the deadline allows.
    #[error(
        "the answer would take about {wait:.1?}, which is past the deadline; retry in about {retry_after:.1?}, or allow more time"
    )]
    TooLate {
        /// How long the answer would take, from what is ahead of the job, its own tokens and the measured speed.
        wait: Duration,
        /// When that should be short enough.
        retry_after: Duration,
    },
    /// The memory that reproducible requests need apart could not be had.
    #[error("the server has no memory left for reproducible requests; see its log")]
    NoRoomApart,
    /// The job needs more tokens than one request may have.
    #[error(
        "the request needs {tokens} tokens, and the limit is {limit}; shorten the comment or the summary"
    )]
    TooLong {
        /// Tokens of the prompt and, if text is generated, its maximum.
        tokens: usize,
        /// Tokens that one request may have.
        limit: usize,
    },
    /// The job's deadline passed, while it waited or between two steps.
    #[error("the deadline passed before the answer was complete")]
    DeadlineExceeded,
    /// The reader of a stream fell too far behind.
    #[error("the stream was closed because the client read it too slowly")]
    SlowReader,
    /// llama.cpp could not compute the step that the job was part of.
    #[error("llama.cpp failed to compute a step (llama_decode returned {0})")]
    Decode(i32),
    /// The model's output is NaN or infinite.
    #[error("the model computed values that are not numbers; its weights are damaged")]
    NotFinite,
    /// The engine stopped and takes no more jobs.
    #[error("the engine is stopped")]
    Stopped,
}

/// Why the engine could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The operating system gives no more threads.
    #[error("no thread for the engine: {0}")]
    Thread(#[from] std::io::Error),
    /// The backend could not be made.
    #[error("{0}")]
    Backend(String),
    /// A setting that can't work.
    #[error("{0}")]
    Config(String),
    /// The first tokens could not be computed.
    #[error("the model loads but cannot compute: {0}")]
    WarmUp(EngineError),
}

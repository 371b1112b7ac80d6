//! ko-sentiment: how Korean viewers feel about a video, read from their comments.
//!
//! The map, from the wire inwards (`ARCHITECTURE.md` tells the same as a story):
//!
//! | module | job | may use |
//! | --- | --- | --- |
//! | [`grpc`] | the contract: validation, status codes, streams | `classify` |
//! | [`classify`] | the use cases: a verdict; a verdict and its reasons | `answer_cache`, `engine`, the pure modules |
//! | [`answer_cache`] | exact repeats answered from memory | `input`, `engine`'s errors |
//! | [`quotes`] | reasons quote only what the comment says | `engine`'s guide, `prompt`, `vocabulary` |
//! | [`engine`] | tokens in, scores or tokens out, many requests a step | `vocabulary` |
//! | [`prompt`], [`profile`], [`score`], [`labels`], [`utf8`], [`vocabulary`] | pure | each other |
//! | [`convert`] | checkpoint and adapter to GGUF | `profile` |
//! | [`eval`] | how good the answers are: metrics, calibration, pictures | `profile`, `score`, `labels` |
//! | [`mod@bench`] | what a load run measured | `engine`'s numbers |
//! | [`telemetry`] | logs | – |
//! | [`cli`] | one file a subcommand; the only place that prints | all of the above |
//!
//! `tests/layers.rs` keeps these edges.

pub mod answer_cache;
pub mod bench;
pub mod classify;
pub mod cli;
pub mod convert;
pub mod engine;
pub mod eval;
pub mod grpc;
pub mod input;
pub mod labels;
pub mod llama_backend;
pub mod load;
pub mod profile;
pub mod prompt;
pub mod quotes;
pub mod score;
pub mod telemetry;
pub mod utf8;
pub mod vocabulary;

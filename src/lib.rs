//! Sentiment analysis for Korean YouTube comments: 긍정, 중립 or 부정, with calibrated probabilities and reasons.
//!
//! The rooms, from the top down. A room uses only the rooms in its row; `tests/layers.rs` keeps this table and
//! refuses circles of files. `ARCHITECTURE.md` tells the same as a story.
//!
//! | room | job | may use |
//! | --- | --- | --- |
//! | [`cli`] | one file per subcommand; the only place that prints | everything below |
//! | [`telemetry`] | logs; metrics and their port; traces exported | `grpc`, `sentiment`, `engine`, `trace`, `meter`, `text` |
//! | [`grpc`] | the API on the wire: validation, status codes, streams | `sentiment`, `engine`, `files`, `trace`, `meter`, `text` |
//! | [`load`] | a model file to a running classifier | `sentiment`, `llama`, `engine`, `files`, `text` |
//! | [`load_test`] | what `bench` measures | `engine` |
//! | [`annotate`] | files of comments with answers added | `ask`, `dataset`, `sentiment`, `files`, `random`, `text` |
//! | [`report`] | a page about an annotated file | `dataset`, `sentiment`, `text` |
//! | [`eval`] | how good the answers are: metrics, calibration, plots | `ask`, `dataset`, `sentiment`, `files`, `random`, `text` |
//! | [`ask`] | comments put to a model, many at a time | `sentiment` |
//! | [`dataset`] | people's files of comments, read and written | `sentiment`, `files`, `text` |
//! | [`convert`] | checkpoint and adapter to GGUF | `convert::*`, `sentiment`, `gguf`, `files`, `text` |
//! | [`convert::finish`] | the result is read again and asked a question | `sentiment`, `llama`, `gguf` |
//! | [`convert::merge`] | PEFT adapters | `convert::quantise`, `convert::input`, `text` |
//! | [`convert::quantise`] | types, mixtures, K-quants, importance matrix, smoothing | `convert::input`, `kernels`, `gguf`, `text` |
//! | [`convert::tokenizer`] | vocabulary and special tokens | `convert::input`, `gguf`, `files`, `text` |
//! | [`convert::input`] | where weights come from: checkpoint, GGUF, hub | `gguf`, `files`, `text` |
//! | [`sentiment`] | prompt, scores, verdict, reasons | `engine`, `text`, `meter` |
//! | [`llama`] | all that calls llama.cpp at run time | `kernels`, `engine`, `random`, `gguf`, `files`, `text` |
//! | [`engine`] | tokens in, scores or tokens out, many requests per step | `kernels`, `random`, `text`, `meter` |
//! | [`random`] | random numbers that depend on their seed alone | |
//! | [`gguf`] | the file format; what llama.cpp must not be given | `files`, `text` |
//! | [`files`] | opening, watching, hashes; outputs that appear whole | `text` |
//! | [`trace`] | traces of calls: ids, sampling, spans | `meter` |
//! | [`meter`] | counters, gauges and histograms | |
//! | [`text`] | tokens and UTF-8; text from outside, escaped | |
//! | [`kernels`](ko_sentiment_kernels) | attention, products, K-quants, reductions: a crate of its own, in `kernels/` | |

pub mod annotate;
pub mod ask;
pub mod cli;
pub mod convert;
pub mod dataset;
pub mod engine;
pub mod eval;
pub mod files;
pub mod gguf;
pub mod grpc;
pub mod llama;
pub mod load;
pub mod load_test;
pub mod meter;
pub mod random;
pub mod report;
pub mod sentiment;
pub mod telemetry;
pub mod text;
pub mod trace;

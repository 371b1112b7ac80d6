//! The parsers of what comes from strangers, compiled from the crate's own files but without llama.cpp: a
//! fuzzer's build takes a minute or two, and what it explores is our code alone. The modules lie as in `src/`,
//! so that their paths hold.
#![allow(dead_code, missing_docs, unused_imports)]

pub mod convert;
#[path = "../../src/dataset/mod.rs"]
pub mod dataset;
#[path = "../../src/engine/mod.rs"]
pub mod engine;
#[path = "../../src/files/mod.rs"]
pub mod files;
#[path = "../../src/gguf/mod.rs"]
pub mod gguf;
pub mod grpc;
#[path = "../../src/meter.rs"]
pub mod meter;
#[path = "../../src/random.rs"]
pub mod random;
pub mod sentiment;
#[path = "../../src/text/mod.rs"]
pub mod text;
#[path = "../../src/trace/mod.rs"]
pub mod trace;

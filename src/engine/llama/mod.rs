//! llama.cpp, pinned by `Cargo.toml`. The only place in the engine that calls it.

mod context;
mod model;

pub use context::{ContextOptions, KvType, LlamaContext};
pub use model::{Model, ModelError};

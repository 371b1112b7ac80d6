//! llama.cpp, pinned by `Cargo.toml`. The only place in the engine that calls it.

mod attention_hook;
mod context;
mod hardware;
mod model;

pub use context::{ContextOptions, KvType, LlamaContext};
pub use hardware::{BackendInfo, CpuInfo, backends, cpu, devices, libraries_not_loaded};
pub use model::{Model, ModelError, file_type_name};

//! llama.cpp, pinned by `Cargo.toml`: all that calls it at run time. It implements the engine's
//! [`Backend`](crate::engine::backend::Backend).

pub mod backend;
mod context;
pub mod crash;
mod features;
mod hardware;
pub mod kernels;
mod model;

pub use context::{ContextOptions, KvType, LlamaContext};
pub use hardware::{BackendInfo, CpuInfo, backends, cpu, devices, libraries_not_loaded};
pub use kernels::{Kernels, Places, product_types};
pub use model::{Model, ModelError, file_type_name};

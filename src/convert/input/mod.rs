//! Where weights come from: a checkpoint folder, a GGUF file, a hub.

pub mod checkpoint;
pub mod error;
pub mod gguf_base;
pub mod hub;
pub mod json;
pub mod layout;
pub mod safetensors;
pub mod tensor;

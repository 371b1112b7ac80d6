//! `src/convert/merge/`.

#[path = "../../../src/convert/merge/adapter.rs"]
pub mod adapter;
#[path = "../../../src/convert/merge/config.rs"]
pub mod config;
#[path = "../../../src/convert/merge/error.rs"]
pub mod error;
#[path = "../../../src/convert/merge/lora.rs"]
pub mod lora;
#[path = "../../../src/convert/merge/modules.rs"]
mod modules;

//! `src/convert/merge/`.

#[path = "../../../src/convert/merge/adapter.rs"]
pub mod adapter;
#[path = "../../../src/convert/merge/lora.rs"]
pub mod lora;

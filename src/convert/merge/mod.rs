//! PEFT adapters: what one holds, and the update of a weight that it makes.

pub mod adapter;
pub mod config;
pub mod error;
pub mod lora;
mod modules;

//! `convert-model` against llama.cpp's converter and quantiser, PEFT and transformers.

mod adapters;
mod containers;
mod goldens;
mod hostile_hub;
mod hub;
mod hub_cache;
mod hub_server;
mod imatrix;
mod llama_quantize;
mod meant;
mod output;
mod padding;
mod peft;
mod pictures;
mod process;
mod refusals;
mod smooth;
mod split;
pub mod support;
mod types;

//! x
pub mod cli;
pub mod convert;
pub mod labels;
pub mod llama_backend;
pub mod profile;

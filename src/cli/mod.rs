//! cli
pub mod convert;

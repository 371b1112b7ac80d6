//! x

pub mod eval;
pub mod labels;
pub mod profile;

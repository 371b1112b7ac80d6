//! What an evaluation found, as text for a terminal, as Markdown and as JSON.

mod content;
mod json;
mod markdown;
mod text;

pub use content::{Comparison, Reliability, Report};
pub use text::classification_report;

//! A page about an annotated file: one HTML file with all that it shows, for people who send it on.

mod charts;
mod collect;
mod html;
mod page;
mod time;
mod top;
mod words;

pub use collect::{Findings, Found, ReportError, collect};
pub use html::Language;
pub use page::page;

//! How good a model's answers are, measured on labelled comments.
//!
//! A [dataset](crate::dataset) goes through a model ([`run`]) into [`predictions`]; [`metrics`], [`calibrate`] and
//! [`fidelity`] are pure functions of those; [`report`] and [`picture`] show them.
//! Every `[_; 3]` is in the order of [`Sentiment::ALL`](crate::sentiment::labels::Sentiment::ALL).

pub mod calibrate;
pub mod fidelity;
mod glyphs;
pub mod metrics;
pub mod picture;
pub mod predictions;
pub mod report;
pub mod run;

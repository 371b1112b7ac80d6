//! How good a model's answers are, measured on labelled comments.
//!
//! A [dataset](crate::dataset) goes through a model ([`run`]) into [`predictions`], which one [`identity`] decides;
//! [`metrics`], [`intervals`], [`slices`], [`withheld`], [`calibrate`] and [`fidelity`] are pure functions of those,
//! [`reasons`] of what the model writes after its verdicts; [`report`] and [`picture`] show them.
//! Every `[_; 3]` is in the order of [`Sentiment::ALL`](crate::sentiment::labels::Sentiment::ALL).

pub mod calibrate;
pub mod fidelity;
pub mod folds;
mod glyphs;
pub mod identity;
pub mod intervals;
pub mod metrics;
mod newton;
pub mod picture;
pub mod predictions;
mod quotations;
pub mod reasons;
pub mod recalibration;
pub mod report;
pub mod run;
pub mod slices;
pub mod threshold;
pub mod withheld;

/// The seed of all that is drawn in an evaluation: folds and bootstrap samples.
pub const SEED: u64 = 20_251_126;

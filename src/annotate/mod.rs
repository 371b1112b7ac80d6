//! Files of comments with a model's answers added.
//!
//! A run reads its inputs three times: to learn their columns and count their rows ([`survey()`]), to ask
//! ([`FileDesk`]), and to write ([`write_all`]). Answers go to a [`Journal`] beside the output as they come, so that
//! an interrupted run goes on where it stopped; the output is written from inputs and journal, in order. No part of
//! it holds a file in memory.

mod desk;
mod error;
mod identity;
mod inputs;
mod journal;
mod queue;
mod reply;
mod rows;
mod survey;
mod write;

pub use desk::FileDesk;
pub use error::AnnotateError;
pub use identity::Identity;
pub use inputs::{Input, open_inputs};
pub use journal::{Journal, WINDOW, journal_path};
pub use reply::Reply;
pub use rows::{Reading, Select};
pub use survey::{Survey, Wish, survey};
pub use write::{Shown, Summary, Target, write_all};

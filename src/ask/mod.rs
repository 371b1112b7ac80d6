//! Comments put to a model, many at a time: in this process or at a server, for `eval` and `annotate` alike.
//!
//! A [`Desk`] hands out questions and takes answers in; [`ask_all`] keeps a fixed number of them under way. An
//! answerer that is full is asked again when it says so. A comment that it refuses, such as one with too many
//! tokens, gets the refusal as its answer, and the others go on.

mod answer;
mod desk;

pub use answer::{Answer, Answerer, NoAnswer, Question, Taking};
pub use desk::{AskError, Desk, ask_all};

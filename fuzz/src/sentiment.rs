//! `src/sentiment/`, as far as files of comments and profiles need it.

#[path = "../../src/sentiment/input.rs"]
pub mod input;
#[path = "../../src/sentiment/labels.rs"]
pub mod labels;
#[path = "../../src/sentiment/profile.rs"]
pub mod profile;
#[path = "../../src/sentiment/prompt.rs"]
pub mod prompt;
#[path = "../../src/sentiment/score.rs"]
pub mod score;

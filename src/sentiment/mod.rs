//! A comment's sentiment: the prompt that asks for it, the scores that answer, the verdict, and its reasons.
//!
//! | file | job |
//! | --- | --- |
//! | `labels` | 긍정, 중립, 부정 |
//! | `profile` | the prompt, labels and calibration that a model was trained with |
//! | `input` | a request's texts, checked and normalised |
//! | `prompt` | profile and request to tokens |
//! | `score` | label log-probabilities to a verdict |
//! | `reasons` | reasons name no other sentiment than the verdict's, and end with a sentence |
//! | `endings` | what may follow a quotation, where the profile says it |
//! | `quotes` | reasons quote only what the comment says |
//! | `answer_cache` | duplicates served from memory |
//! | `classify` | the use cases: a verdict; a verdict with its reasons |
//! | `warm_up` | one comment of each shape, before any client's |

pub mod answer_cache;
pub mod classify;
pub mod endings;
pub mod input;
pub mod labels;
pub mod profile;
pub mod prompt;
pub mod quotes;
pub mod reasons;
pub mod score;
pub mod warm_up;

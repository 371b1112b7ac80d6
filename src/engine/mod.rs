//! The engine: tokens in, scores or tokens out. It knows no label, prompt or wire format.
//!
//! | file | job |
//! | --- | --- |
//! | `job` | what a caller asks, and the events that answer |
//! | `admission` | how much may wait |
//! | `worker` | the one thread that owns the backend |
//! | `scheduler`, `compose`, `write` | which jobs run; which tokens make the next step; which tokens texts get |
//! | `share`, `queue` | whose turn it is: interactive before bulk, fair shares among callers |
//! | `prefix` | segments that jobs share |
//! | `draft` | guesses of a text's next tokens |
//! | `pace` | how many tokens fit a step's time |
//! | `counts`, `meters` | what it did, for those who watch |
//! | `timeline` | a job's moments, for a caller who follows it |
//! | `logits` | reductions over a row |
//! | `backend` | what the scheduler needs of llama.cpp |
//! | `fake` | a deterministic stand-in for tests and load experiments |

mod admission;
pub mod backend;
mod counts;
mod draft;
mod error;
pub mod fake;
mod job;
mod joint;
pub mod logits;
mod meters;
mod pace;
mod prefix;
mod queue;
mod running;
mod scheduler;
mod share;
mod timeline;
mod worker;

pub use counts::StepCounts;
pub use error::{EngineError, StartError};
pub use job::{Event, Finish, Generation, Guide, JobHandle, JobSpec, Stats};
pub use meters::{Meters, Outcome};
pub use scheduler::MAX_BRANCH_CELLS;
pub use share::{Class, Share};
pub use timeline::Timeline;
pub use worker::{Engine, EngineConfig, EngineState, Purpose};

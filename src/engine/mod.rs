//! The engine: tokens in, scores or tokens out. It knows no label, prompt or wire format.
//!
//! | file | job |
//! | --- | --- |
//! | `job` | what a caller asks, and the events that answer |
//! | `admission` | how much may wait |
//! | `worker` | the one thread that owns the backend |
//! | `scheduler` | which tokens make the next step |
//! | `prefix` | segments that jobs share |
//! | `pace` | how many tokens fit a step's time |
//! | `logits` | reductions over a row |
//! | `backend` | what the scheduler needs of llama.cpp |
//! | `fake` | a deterministic stand-in for tests and load experiments |

mod admission;
pub mod backend;
mod error;
pub mod fake;
mod job;
mod joint;
pub mod logits;
mod pace;
mod prefix;
mod running;
mod scheduler;
mod worker;

pub use error::{EngineError, StartError};
pub use job::{Event, Finish, Generation, Guide, JobHandle, JobSpec, Stats};
pub use scheduler::{MAX_BRANCH_CELLS, StepCounts};
pub use worker::{Engine, EngineConfig, EngineState, Purpose};

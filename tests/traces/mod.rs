//! Traces of calls, as a collector gets them.

mod calls;
mod collector;
mod export;
mod served;

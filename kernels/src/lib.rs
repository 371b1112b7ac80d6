//! The arithmetic that takes the CPU's time: pure functions of slices of numbers, which know nothing of llama.cpp's
//! structures, of models or of requests.
//!
//! They are a crate of their own because it is compiled in one unit, where every closure is inlined. Results are given to
//! the caller's closure through a `dyn` reference, so that no arithmetic is compiled in the caller's crate, which has
//! many units and no optimisation between them.

pub mod attention;
pub mod cells;
pub mod exponential;
#[cfg(target_arch = "x86_64")]
pub mod kquants;
mod level;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub mod products;
pub mod reductions;
pub mod rotary;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub mod rowwise;
mod strips;

pub use level::{Level, available};

#[cfg(test)]
#[path = "../../src/random.rs"]
#[allow(dead_code)]
mod random;

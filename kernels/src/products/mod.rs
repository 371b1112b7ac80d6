//! Products of a step's activations with quantised weights, for steps of many tokens (prefill).
//!
//! Activations are rounded to 8 bits exactly as llama.cpp does it: with a scale per 256, or per 32 for Q8_0. Sixteen columns of
//! weights at a time are unpacked into a panel, which stays in the nearest caches while all rows pass by: unpacking
//! costs no memory, and with 100 rows a few per cent of the time.
//!
//! What a row's results are depends on this row, the weights and the [`Form`](activations::Form): not on other rows, nor on
//! threads.

#[cfg(target_arch = "x86_64")]
pub mod activations;
#[cfg(target_arch = "x86_64")]
mod few;
#[cfg(target_arch = "x86_64")]
pub mod multiply;
#[cfg(target_arch = "x86_64")]
pub mod panel;
#[cfg(target_arch = "x86_64")]
pub mod rows;
#[cfg(target_arch = "x86_64")]
mod sixteen;
#[cfg(target_arch = "x86_64")]
pub mod tile;
#[cfg(target_arch = "x86_64")]
mod tile_vnni;
#[cfg(target_arch = "x86_64")]
pub mod weights;

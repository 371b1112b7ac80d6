//! Products of a step's activations with quantised weights, for steps of many tokens (prefill).
//!
//! Activations are rounded to 8 bits exactly as llama.cpp does it: with a scale per 256, or per 32 for Q8_0. Sixteen columns of
//! weights at a time are unpacked into a panel, which stays in the nearest caches while all rows pass by: unpacking
//! costs no memory, and with 100 rows a few per cent of the time.
//!
//! What a row's results are depends on this row, the weights and the [`Form`](activations::Form): not on other rows, nor on
//! threads.
//!
//! Files that end in `_neon` are ARM's; those without a counterpart are for both.

pub mod activations;
pub mod multiply;
pub mod rows;
pub mod unpacked;
pub mod weights;

#[cfg(target_arch = "x86_64")]
mod few;
#[cfg(target_arch = "x86_64")]
mod few_k;
#[cfg(target_arch = "x86_64")]
mod multiply_x86;
#[cfg(target_arch = "x86_64")]
mod panel;
#[cfg(target_arch = "x86_64")]
mod rounding;
#[cfg(target_arch = "x86_64")]
mod sixteen;
#[cfg(target_arch = "x86_64")]
mod sixty_four;
#[cfg(target_arch = "x86_64")]
mod tile;
#[cfg(target_arch = "x86_64")]
mod tile_vnni;

#[cfg(target_arch = "aarch64")]
mod multiply_neon;
#[cfg(target_arch = "aarch64")]
mod panel_neon;
#[cfg(target_arch = "aarch64")]
mod rounding_neon;
#[cfg(target_arch = "aarch64")]
mod tile_neon;

//! Kernels of our own, put in place of llama.cpp's where those are far from the machine.

pub mod attention;
mod attention_hook;
mod choice;
mod custom;
pub mod hook;
mod places;
pub mod products;
#[cfg(target_arch = "x86_64")]
mod products_hook;

pub use choice::Kernels;
pub use places::{Places, product_types};

//! Kernels of our own, put in place of llama.cpp's where those are far from the machine. Their arithmetic is the crate
//! `ko-sentiment-kernels`.

mod attention_hook;
mod choice;
mod custom;
pub mod hook;
mod places;
#[cfg(target_arch = "x86_64")]
mod products_hook;
#[cfg(target_arch = "x86_64")]
mod rowwise_hook;

pub use choice::Kernels;
pub use ko_sentiment_kernels::{attention, available, products};
pub use places::{Places, product_types};

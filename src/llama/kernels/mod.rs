//! Kernels of our own, put in place of llama.cpp's where those are far from the machine. Their arithmetic is the crate
//! `ko-sentiment-kernels`.

mod attention_hook;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod chain;
pub mod choice;
mod custom;
pub mod head;
pub mod hook;
mod places;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod products_hook;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod rowwise_hook;
mod tensor;

pub use choice::Kernels;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub use ko_sentiment_kernels::products;
pub use ko_sentiment_kernels::{Level, attention, available};
pub use places::{Places, product_types};

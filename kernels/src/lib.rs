//! The arithmetic that takes the CPU's time: pure functions of slices of numbers, which know nothing of llama.cpp's
//! structures, of models or of requests.
//!
//! They are a crate of their own because it is compiled in one unit, where every closure is inlined. Results are given to
//! the caller's closure through a `dyn` reference, so that no arithmetic is compiled in the caller's crate, which has
//! many units and no optimisation between them.

pub mod attention;
pub mod exponential;
#[cfg(target_arch = "x86_64")]
pub mod kquants;
pub mod products;
pub mod reductions;

/// Whether attention and products are made for this CPU. Elsewhere llama.cpp has kernels of its own.
pub fn available() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx2")
        && std::arch::is_x86_feature_detected!("fma")
        && std::arch::is_x86_feature_detected!("f16c");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

#[cfg(target_arch = "x86_64")]
/// The instructions that products use. Results are the same to the bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// AVX2.
    Avx2,
    /// AVX-512 with VNNI.
    Avx512,
}

impl Level {
    /// The best that this CPU has, if anything is [`available`].
    pub fn best() -> Self {
        let wide = std::arch::is_x86_feature_detected!("avx512f")
            && std::arch::is_x86_feature_detected!("avx512vnni");
        if wide { Self::Avx512 } else { Self::Avx2 }
    }
}

#[cfg(test)]
#[path = "../../src/random.rs"]
#[allow(dead_code)]
mod random;

//! The instructions that this CPU has, and functions compiled for each.

/// Whether there are kernels for this CPU. Elsewhere llama.cpp has kernels of its own.
pub fn available() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx2")
        && std::arch::is_x86_feature_detected!("fma")
        && std::arch::is_x86_feature_detected!("f16c");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("dotprod");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    false
}

/// The instructions that kernels use. Results are the same to the bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// AVX2.
    Avx2,
    /// AVX2 and AVX-VNNI.
    AvxVnni,
    /// AVX-512 with VNNI.
    Avx512,
    /// ARM's NEON with dot products.
    Neon,
}

impl Level {
    /// From the narrowest to the widest.
    pub const ALL: [Self; 4] = [Self::Avx2, Self::AvxVnni, Self::Avx512, Self::Neon];

    /// Whether this CPU has the instructions, if anything is [`available`].
    pub fn is_here(self) -> bool {
        match self {
            Self::Avx2 => cfg!(target_arch = "x86_64"),
            Self::Neon => cfg!(target_arch = "aarch64"),
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => std::arch::is_x86_feature_detected!("avxvnni"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                std::arch::is_x86_feature_detected!("avx512f")
                    && std::arch::is_x86_feature_detected!("avx512bw")
                    && std::arch::is_x86_feature_detected!("avx512dq")
                    && std::arch::is_x86_feature_detected!("avx512vl")
                    && std::arch::is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }

    /// The best that this CPU has, if anything is [`available`].
    pub fn best() -> Self {
        Self::ALL.into_iter().rev().find(|level| level.is_here()).unwrap_or(Self::Avx2)
    }
}

/// Defines a function of a [`Level`] that is compiled for each, from what is inlined: for AVX2, and for AVX-512.
macro_rules! by_level {
    ($(#[$about:meta])* $visible:vis fn $name:ident($($arg:ident: $kind:ty),* $(,)?) = $narrow:path, $wide:path) => {
        $(#[$about])*
        $visible fn $name(level: $crate::level::Level, $($arg: $kind),*) {
            #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma,f16c"))]
            fn narrow($($arg: $kind),*) {
                $narrow($($arg),*);
            }
            #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl"))]
            fn wide($($arg: $kind),*) {
                $wide($($arg),*);
            }
            assert!($crate::level::available(), "not made for this CPU");
            // SAFETY: the features are there: `available` says so, or the level does.
            #[allow(unused_unsafe)]
            unsafe {
                match level {
                    $crate::level::Level::Avx512 => wide($($arg),*),
                    _ => narrow($($arg),*),
                }
            }
        }
    };
}
pub(crate) use by_level;

//! Whose kernels.

/// Whose kernels compute on the CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kernels {
    /// Our own where there are any for the CPU, the type and the size of the step, else llama.cpp's.
    Ours,
    /// llama.cpp's alone.
    #[value(name = "llama.cpp")]
    LlamaCpp,
}

impl Default for Kernels {
    /// llama.cpp's on ARM, where nobody has measured ours yet.
    fn default() -> Self {
        if cfg!(target_arch = "aarch64") { Self::LlamaCpp } else { Self::Ours }
    }
}

impl std::fmt::Display for Kernels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ours => "ours",
            Self::LlamaCpp => "llama.cpp",
        })
    }
}

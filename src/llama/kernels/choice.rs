//! Whose kernels.

/// Whose kernels compute on the CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Kernels {
    /// Our own where there are any for the CPU, the type and the size of the step, else llama.cpp's.
    #[default]
    Ours,
    /// llama.cpp's alone.
    #[value(name = "llama.cpp")]
    LlamaCpp,
}

impl std::fmt::Display for Kernels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ours => "ours",
            Self::LlamaCpp => "llama.cpp",
        })
    }
}

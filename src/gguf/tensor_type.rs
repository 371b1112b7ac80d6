//! How a tensor's numbers are stored: ggml's types, their block sizes, and the files' types.

use std::fmt;
use std::str::FromStr;

/// A ggml tensor type that files of the supported models use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum TensorType {
    F32,
    F16,
    BF16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
    IQ2XXS,
    IQ2XS,
    IQ3XXS,
    IQ1S,
    IQ4NL,
    IQ3S,
    IQ2S,
    IQ4XS,
    IQ1M,
    TQ1_0,
    TQ2_0,
}

impl TensorType {
    /// Types that are read and not written: those of other people's files.
    pub const READ_ONLY: [Self; 11] = [
        Self::IQ2XXS,
        Self::IQ2XS,
        Self::IQ3XXS,
        Self::IQ1S,
        Self::IQ4NL,
        Self::IQ3S,
        Self::IQ2S,
        Self::IQ4XS,
        Self::IQ1M,
        Self::TQ1_0,
        Self::TQ2_0,
    ];

    /// Every type that is read and written.
    pub const ALL: [Self; 13] = [
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q2K,
        Self::Q3K,
        Self::Q4K,
        Self::Q5K,
        Self::Q6K,
    ];

    /// (ggml's `enum ggml_type`, its name, numbers a block, bytes a block).
    const fn facts(self) -> (u32, &'static str, u64, u64) {
        match self {
            Self::F32 => (0, "F32", 1, 4),
            Self::F16 => (1, "F16", 1, 2),
            Self::Q4_0 => (2, "Q4_0", 32, 18),
            Self::Q4_1 => (3, "Q4_1", 32, 20),
            Self::Q5_0 => (6, "Q5_0", 32, 22),
            Self::Q5_1 => (7, "Q5_1", 32, 24),
            Self::Q8_0 => (8, "Q8_0", 32, 34),
            Self::Q2K => (10, "Q2_K", 256, 84),
            Self::Q3K => (11, "Q3_K", 256, 110),
            Self::Q4K => (12, "Q4_K", 256, 144),
            Self::Q5K => (13, "Q5_K", 256, 176),
            Self::Q6K => (14, "Q6_K", 256, 210),
            Self::BF16 => (30, "BF16", 1, 2),
            Self::IQ2XXS => (16, "IQ2_XXS", 256, 66),
            Self::IQ2XS => (17, "IQ2_XS", 256, 74),
            Self::IQ3XXS => (18, "IQ3_XXS", 256, 98),
            Self::IQ1S => (19, "IQ1_S", 256, 50),
            Self::IQ4NL => (20, "IQ4_NL", 32, 18),
            Self::IQ3S => (21, "IQ3_S", 256, 110),
            Self::IQ2S => (22, "IQ2_S", 256, 82),
            Self::IQ4XS => (23, "IQ4_XS", 256, 136),
            Self::IQ1M => (29, "IQ1_M", 256, 56),
            Self::TQ1_0 => (34, "TQ1_0", 256, 54),
            Self::TQ2_0 => (35, "TQ2_0", 256, 66),
        }
    }

    /// The type's number in ggml.
    pub const fn id(self) -> u32 {
        self.facts().0
    }

    /// The type with this number in ggml.
    pub fn from_id(id: u32) -> Option<Self> {
        Self::ALL.into_iter().chain(Self::READ_ONLY).find(|t| t.id() == id)
    }

    /// Numbers in a block; a row is a whole number of blocks.
    pub const fn block_len(self) -> u64 {
        self.facts().2
    }

    /// Bytes of a row of `columns` numbers.
    pub const fn row_bytes(self, columns: u64) -> u64 {
        columns / self.block_len() * self.facts().3
    }

    /// Whether numbers share a block's scale (F32, F16 and BF16 do not).
    pub const fn is_quantised(self) -> bool {
        self.block_len() > 1
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.facts().1)
    }
}

/// The type of a whole file: a name for a mixture of tensor types (llama.cpp's `llama_ftype`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum FileType {
    #[default]
    Q4KM,
    Q4KS,
    Q4_0,
    Q5KM,
    Q6K,
    Q8_0,
    BF16,
    F16,
    F32,
}

/// A file type that is not supported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown quantisation {0:?}; choose one of {list}", list = FileType::names().join(", "))]
pub struct UnknownFileType(pub String);

impl FileType {
    /// Every supported type, the default first.
    pub const ALL: [Self; 9] = [
        Self::Q4KM,
        Self::Q4KS,
        Self::Q4_0,
        Self::Q5KM,
        Self::Q6K,
        Self::Q8_0,
        Self::BF16,
        Self::F16,
        Self::F32,
    ];

    /// The names that [`FromStr`] takes.
    pub fn names() -> Vec<&'static str> {
        Self::ALL.map(Self::name).to_vec()
    }

    /// Its name, as in `Q4_K_M`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Q4KM => "Q4_K_M",
            Self::Q4KS => "Q4_K_S",
            Self::Q4_0 => "Q4_0",
            Self::Q5KM => "Q5_K_M",
            Self::Q6K => "Q6_K",
            Self::Q8_0 => "Q8_0",
            Self::BF16 => "BF16",
            Self::F16 => "F16",
            Self::F32 => "F32",
        }
    }

    /// `general.file_type`: llama.cpp's `enum llama_ftype`.
    pub const fn id(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q8_0 => 7,
            Self::Q4KS => 14,
            Self::Q4KM => 15,
            Self::Q5KM => 17,
            Self::Q6K => 18,
            Self::BF16 => 32,
        }
    }

    /// The type of a weight that no rule of the mixture names (`llama_ftype_get_default_type`).
    pub const fn default_type(self) -> TensorType {
        match self {
            Self::Q4KM | Self::Q4KS => TensorType::Q4K,
            Self::Q4_0 => TensorType::Q4_0,
            Self::Q5KM => TensorType::Q5K,
            Self::Q6K => TensorType::Q6K,
            Self::Q8_0 => TensorType::Q8_0,
            Self::BF16 => TensorType::BF16,
            Self::F16 => TensorType::F16,
            Self::F32 => TensorType::F32,
        }
    }
}

impl fmt::Display for FileType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for FileType {
    type Err = UnknownFileType;

    fn from_str(name: &str) -> Result<Self, UnknownFileType> {
        Self::ALL
            .into_iter()
            .find(|t| t.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| UnknownFileType(name.to_owned()))
    }
}

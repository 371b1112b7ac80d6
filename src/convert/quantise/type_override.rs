//! Types that the user gives to tensors by name: llama-quantize's `--tensor-type`.
//!
//! Source: `parse_tensor_type` in llama.cpp's `tools/quantize/quantize.cpp` and
//! `llama_tensor_get_type` in `src/llama-quant.cpp`.

use std::fmt;
use std::str::FromStr;

use fancy_regex::Regex;

use crate::gguf::tensor_type::TensorType;
use crate::text::shown::shown;

/// A pattern and the type of the tensors whose names it is found in.
#[derive(Debug, Clone)]
pub struct TypeOverride {
    pattern: String,
    regex: Regex,
    /// The type, unless a row is no whole number of its blocks.
    pub tensor_type: TensorType,
}

/// Why an override can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OverrideError {
    /// No pattern, no type, or no sign between them.
    #[error("{0:?} is not PATTERN=TYPE, as in attn_q=q8_0")]
    Form(String),
    /// A type that is not supported.
    #[error(
        "unknown tensor type {name:?}; choose one of {list}",
        list = TensorType::ALL.map(|t| t.to_string()).join(", ")
    )]
    Type {
        /// What was asked for.
        name: String,
    },
    /// A pattern that is no regular expression.
    #[error("{0:?} is not a regular expression")]
    Pattern(String),
    /// A pattern that is found in no name.
    #[error(
        "--tensor-type {text} matches no weight; use names as in blk.0.attn_q.weight (norms always stay F32)",
        text = shown(.0)
    )]
    NoTensor(String),
    /// A pattern whose tensors all go to earlier ones.
    #[error(
        "--tensor-type {text} has no effect, because earlier ones match all its tensors; put it first",
        text = shown(.0)
    )]
    Shadowed(String),
    /// A file type without blocks, where llama-quantize would ignore it.
    #[error("--tensor-type {text} has no effect on this --quant; choose a quantised one", text = shown(.0))]
    NotQuantised(String),
}

impl TypeOverride {
    /// Whether the pattern is found anywhere in a tensor's name.
    ///
    /// # Errors
    /// [`OverrideError::Pattern`] for one that takes too long.
    pub fn names(&self, tensor: &str) -> Result<bool, OverrideError> {
        self.regex.is_match(tensor).map_err(|_| OverrideError::Pattern(self.pattern.clone()))
    }
}

impl FromStr for TypeOverride {
    type Err = OverrideError;

    fn from_str(text: &str) -> Result<Self, OverrideError> {
        let (pattern, name) = text
            .split_once('=')
            .filter(|(pattern, name)| !pattern.is_empty() && !name.is_empty())
            .ok_or_else(|| OverrideError::Form(text.to_owned()))?;
        let tensor_type = TensorType::ALL
            .into_iter()
            .find(|t| t.to_string().eq_ignore_ascii_case(name))
            .ok_or_else(|| OverrideError::Type { name: name.to_owned() })?;
        // As llama-quantize does; names of tensors are in lower case.
        let pattern = pattern.to_ascii_lowercase();
        let regex = Regex::new(&pattern).map_err(|_| OverrideError::Pattern(pattern.clone()))?;
        Ok(Self { pattern, regex, tensor_type })
    }
}

/// As llama-quantize takes it.
impl fmt::Display for TypeOverride {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.pattern, self.tensor_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_and_what_is_refused() {
        let read = |text: &str| text.parse::<TypeOverride>().map(|o| o.to_string());
        for (text, expect) in [
            ("attn_q=q8_0", "attn_q=Q8_0"),
            (r"BLK\.(0|7)\.FFN_DOWN=Q6_k", r"blk\.(0|7)\.ffn_down=Q6_K"),
            ("token_embd=bf16", "token_embd=BF16"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(expect));
        }
        let form = |text: &str| OverrideError::Form(text.to_owned());
        for (text, expect) in [
            ("attn_q", form("attn_q")),
            ("=q8_0", form("=q8_0")),
            ("attn_q=", form("attn_q=")),
            ("attn_q=q4_k_m", OverrideError::Type { name: "q4_k_m".to_owned() }),
            ("attn_q=iq2_xs", OverrideError::Type { name: "iq2_xs".to_owned() }),
            ("attn_(q=q8_0", OverrideError::Pattern("attn_(q".to_owned())),
        ] {
            assert_eq!(read(text), Err(expect));
        }
    }

    #[test]
    fn patterns_are_found_anywhere_in_a_name() {
        for (pattern, name, expect) in [
            ("attn_q", "blk.3.attn_q.weight", true),
            ("^attn_q", "blk.3.attn_q.weight", false),
            (r"blk\.(1|2)\.", "blk.12.attn_q.weight", false),
            ("blk.1", "blk.12.attn_q.weight", true),
        ] {
            let found = format!("{pattern}=F16").parse::<TypeOverride>().and_then(|o| o.names(name));
            assert_eq!(found, Ok(expect), "{pattern} in {name}");
        }
    }
}

//! The three sentiments.

use serde::{Deserialize, Serialize};

/// What a viewer feels. The order is the order of every `[_; 3]` in this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sentiment {
    /// 긍정
    Positive,
    /// 중립
    Neutral,
    /// 부정
    Negative,
}

impl Sentiment {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::Positive, Self::Neutral, Self::Negative];

    /// Position in [`Self::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// English name, as in `--json` output and data files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Positive => "positive",
            Self::Neutral => "neutral",
            Self::Negative => "negative",
        }
    }

    /// Korean name, as in the model card. What a model writes is its profile's to say.
    pub fn korean(self) -> &'static str {
        match self {
            Self::Positive => "긍정",
            Self::Neutral => "중립",
            Self::Negative => "부정",
        }
    }

    /// Reads an English or Korean name, whatever the case.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        Self::ALL.into_iter().find(|s| text == s.korean() || text.eq_ignore_ascii_case(s.name()))
    }
}

impl std::fmt::Display for Sentiment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.korean())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for s in Sentiment::ALL {
            assert_eq!(Sentiment::ALL[s.index()], s);
            assert_eq!(Sentiment::parse(s.korean()), Some(s));
            assert_eq!(Sentiment::parse(&s.name().to_uppercase()), Some(s));
        }
        assert_eq!(Sentiment::parse("긍정적"), None);
        assert_eq!(Sentiment::parse(""), None);
    }
}

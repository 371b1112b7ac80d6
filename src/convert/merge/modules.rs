//! Which modules a setting names: lists of names, and regular expressions that are compiled once.
//!
//! Source: PEFT's `check_target_module_exists` and `get_pattern_key`.

use fancy_regex::{Regex, RegexBuilder};
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::error::AdapterError;

/// Bytes of one pattern at most: several times one that lists every module of the largest model.
const MAX_PATTERN: usize = 32 << 10;
/// Bytes that all patterns of one setting have at most.
const MAX_PATTERNS: usize = 256 << 10;
/// Bytes of a compiled pattern at most.
const MAX_COMPILED: usize = 4 << 20;
/// Steps back that a pattern may take on one name.
const MAX_STEPS: usize = 100_000;

/// A compiled pattern, and where it stands.
#[derive(Debug, Clone)]
pub struct Pattern {
    key: &'static str,
    text: String,
    regex: Regex,
}

impl Pattern {
    /// Python's `re.fullmatch`.
    fn whole(key: &'static str, text: &str) -> Result<Self, AdapterError> {
        Self::new(key, text, |text| format!(r"\A(?:{text})\z"))
    }

    /// PEFT's `get_pattern_key`: the whole module name or its ending after a dot.
    fn ending(key: &'static str, text: &str) -> Result<Self, AdapterError> {
        Self::new(key, text, |text| format!(r"\A(?:.*\.)?(?:{text})\z"))
    }

    fn new(key: &'static str, text: &str, regex: impl Fn(&str) -> String) -> Result<Self, AdapterError> {
        let bad = |reason| AdapterError::Pattern { key, pattern: text.to_owned(), reason };
        if text.len() > MAX_PATTERN {
            return Err(bad("is longer than 32 KiB: name the modules by their endings"));
        }
        let regex = RegexBuilder::new(&regex(text))
            .backtrack_limit(MAX_STEPS)
            .delegate_size_limit(MAX_COMPILED)
            .build()
            .map_err(|_| bad("is not a regular expression, or too large a one"))?;
        Ok(Self { key, text: text.to_owned(), regex })
    }

    fn matches(&self, module: &str) -> Result<bool, AdapterError> {
        self.regex.is_match(module).map_err(|_| AdapterError::Pattern {
            key: self.key,
            pattern: self.text.clone(),
            reason: "takes too many steps to match: write it without nested repetitions",
        })
    }
}

/// `target_modules`, `exclude_modules`: names (or name endings), or one regular expression.
#[derive(Debug, Clone)]
pub enum Modules {
    /// The word `all-linear`.
    AllLinear,
    /// A regular expression.
    Pattern(Pattern),
    /// Names, or endings of names.
    Names(Vec<String>),
}

/// How a list of modules names one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// By its whole name, or by a pattern.
    Whole,
    /// By the end of its name.
    Ending,
}

impl Modules {
    /// Reads a setting; `None` where it names nothing.
    pub fn parse(key: &'static str, value: NamesOrPattern) -> Result<Option<Self>, AdapterError> {
        Ok(match value {
            NamesOrPattern::Pattern(text) if text.is_empty() => None,
            NamesOrPattern::Pattern(text) if key == "target_modules" && text == "all-linear" => {
                Some(Self::AllLinear)
            }
            NamesOrPattern::Pattern(text) => Some(Self::Pattern(Pattern::whole(key, &text)?)),
            NamesOrPattern::Names(names) => Some(Self::Names(names)),
        })
    }

    /// How this names a module, if it does; [`Modules::AllLinear`] names none here.
    pub fn find(&self, module: &str) -> Result<Option<Match>, AdapterError> {
        let ends = |name: &String| module.strip_suffix(name.as_str()).is_some_and(|head| head.ends_with('.'));
        Ok(match self {
            Self::AllLinear => None,
            Self::Pattern(pattern) => pattern.matches(module)?.then_some(Match::Whole),
            Self::Names(names) if names.iter().any(|name| name == module) => Some(Match::Whole),
            Self::Names(names) => names.iter().any(ends).then_some(Match::Ending),
        })
    }
}

/// How `adapter_config.json` writes a list of modules.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum NamesOrPattern {
    /// One regular expression.
    Pattern(String),
    /// Names.
    Names(Vec<String>),
}

/// `rank_pattern`, `alpha_pattern`: numbers for the modules that a pattern names; the first one decides.
#[derive(Debug, Clone, Default)]
pub struct NumberPatterns(Vec<(Pattern, f64)>);

impl NumberPatterns {
    /// Reads a setting.
    pub fn parse(key: &'static str, patterns: &Map<String, Json>) -> Result<Self, AdapterError> {
        let bad = |name: &String, reason| AdapterError::Pattern { key, pattern: name.clone(), reason };
        let (mut out, mut bytes) = (Vec::new(), 0);
        for (name, value) in patterns {
            bytes += name.len();
            if bytes > MAX_PATTERNS {
                return Err(bad(name, "and those before it are longer than 256 KiB in all"));
            }
            let number = value.as_f64().filter(|number| *number > 0.0);
            let number = number.ok_or_else(|| bad(name, "must have a positive number"))?;
            out.push((Pattern::ending(key, name)?, number));
        }
        Ok(Self(out))
    }

    /// The number of a module.
    pub fn find(&self, module: &str) -> Result<Option<f64>, AdapterError> {
        for (pattern, number) in &self.0 {
            if pattern.matches(module)? {
                return Ok(Some(*number));
            }
        }
        Ok(None)
    }
}

//! What decides a run's answers: they are resumed, compared and reported by it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How answers are taken from the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It scores the three labels; the most probable is the answer.
    #[default]
    Score,
    /// It writes its answer freely (greedy decoding); the label is read from the words.
    Generate,
}

impl Mode {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Score => "score",
            Self::Generate => "generate",
        }
    }
}

/// What decides a run's answers. Equal identities may share one predictions file; others never.
///
/// `--limit` is no part of it: it decides which rows are asked for, and no row's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// SHA-256 of the model, all parts of a split one.
    pub model: String,
    /// [SHA-256](crate::sentiment::profile::Profile::sha256) of the profile in force: prompt, labels, calibration.
    pub profile: String,
    /// [`Dataset::fingerprint`](crate::dataset::Dataset::fingerprint): the rows' texts and their labels, as mapped.
    pub data: String,
    /// How the answers were taken.
    pub mode: Mode,
    /// Options that change an answer, by the names of their flags.
    pub options: BTreeMap<String, String>,
}

/// What differs between two identities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Such as `model` or `--cache-type`.
    pub what: String,
    /// The value of the first.
    pub ours: String,
    /// The value of the other.
    pub theirs: String,
}

impl Identity {
    /// What differs from `other`, the weightiest first.
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        let field = |what: &str, ours: &str, theirs: &str| Difference {
            what: what.to_owned(),
            ours: ours.to_owned(),
            theirs: theirs.to_owned(),
        };
        let mut all = vec![
            field("model", &self.model, &other.model),
            field("profile", &self.profile, &other.profile),
            field("data set", &self.data, &other.data),
            field("mode", self.mode.name(), other.mode.name()),
        ];
        let names: std::collections::BTreeSet<&String> =
            self.options.keys().chain(other.options.keys()).collect();
        let value = |options: &BTreeMap<String, String>, name: &String| {
            options.get(name).cloned().unwrap_or_else(|| "not set".to_owned())
        };
        all.extend(names.into_iter().map(|name| {
            field(&format!("--{name}"), &value(&self.options, name), &value(&other.options, name))
        }));
        all.retain(|d| d.ours != d.theirs);
        all
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn identity() -> Identity {
        let option = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Identity {
            model: "m".into(),
            profile: "p".into(),
            data: "d".into(),
            mode: Mode::Score,
            options: [option("cache-type", "f16"), option("reproducible", "no")].into(),
        }
    }

    #[test]
    fn every_difference_is_named() {
        let check = |change: fn(&mut Identity), expect: &[(&str, &str, &str)]| {
            let mut other = identity();
            change(&mut other);
            let found = identity().differences(&other);
            let found: Vec<_> =
                found.iter().map(|d| (d.what.as_str(), d.ours.as_str(), d.theirs.as_str())).collect();
            assert_eq!(found, expect);
        };
        check(|_| (), &[]);
        check(
            |i| (i.model, i.profile, i.data) = ("n".into(), "q".into(), "e".into()),
            &[("model", "m", "n"), ("profile", "p", "q"), ("data set", "d", "e")],
        );
        check(|i| i.mode = Mode::Generate, &[("mode", "score", "generate")]);
        check(
            |i| i.options = [("cache-type".into(), "q8_0".into()), ("max-tokens".into(), "2".into())].into(),
            &[
                ("--cache-type", "f16", "q8_0"),
                ("--max-tokens", "not set", "2"),
                ("--reproducible", "no", "not set"),
            ],
        );
    }
}

//! What decides a run's answers: an interrupted run goes on only with the same.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What decides a run's answers, by what it is called, such as `model`, `file 1` or `--reasons`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Identity(BTreeMap<String, String>);

impl Identity {
    /// Adds a part.
    #[must_use]
    pub fn with(mut self, what: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.insert(what.into(), value.into());
        self
    }

    /// The first part that differs from `other`: what it is, its value here and there.
    pub fn difference(&self, other: &Self) -> Option<(String, String, String)> {
        let value = |parts: &BTreeMap<String, String>, what: &String| {
            parts.get(what).cloned().unwrap_or_else(|| "not set".to_owned())
        };
        let names = self.0.keys().chain(other.0.keys());
        let mut all = names.map(|what| (what.clone(), value(&self.0, what), value(&other.0, what)));
        all.find(|(_, ours, theirs)| ours != theirs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_is_named() {
        let run = Identity::default().with("model", "m").with("file 1", "a");
        let check = |other: &Identity, expect: Option<(&str, &str, &str)>| {
            let found = run.difference(other);
            assert_eq!(found.as_ref().map(|(a, b, c)| (a.as_str(), b.as_str(), c.as_str())), expect);
        };
        check(&run, None);
        check(&run.clone().with("model", "n"), Some(("model", "m", "n")));
        check(&run.clone().with("file 2", "b"), Some(("file 2", "not set", "b")));
    }
}

//! Where the hub is, where its cache is, and who we are: as `huggingface_hub` reads it from the environment.

use std::fmt::{self, Debug};
use std::path::PathBuf;

use super::patience::Patience;
use crate::files::open;

/// Maximum size of a stored token's file, in bytes.
const MAX_TOKEN: u64 = 64 << 10;

/// Where the hub is, where its cache is, who we are, and whether the hub may be asked at all.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct HubSettings {
    /// `HF_ENDPOINT`; the public hub if absent.
    pub endpoint: Option<String>,
    /// The folder of the cache: `HF_HUB_CACHE`, or `$HF_HOME/hub`; `~/.cache/huggingface/hub` if absent.
    pub cache: Option<PathBuf>,
    /// `HF_TOKEN`, or the token that `hf auth login` stored.
    pub token: Option<String>,
    /// `HF_HUB_OFFLINE`: use the cache and never ask the hub.
    pub offline: bool,
    /// How long to wait, and how often to ask again.
    pub patience: Patience,
}

/// The token is not shown.
impl Debug for HubSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubSettings")
            .field("endpoint", &self.endpoint)
            .field("cache", &self.cache)
            .field("token", &self.token.as_ref().map(|_| "(hidden)"))
            .field("offline", &self.offline)
            .field("patience", &self.patience)
            .finish()
    }
}

impl HubSettings {
    /// The settings of the environment that `variable` reads. A stored token is read from its file.
    pub fn from_env(variable: impl Fn(&str) -> Option<String>) -> Self {
        let variable = |name| variable(name).filter(|value| !value.trim().is_empty());
        let path = |name| variable(name).map(PathBuf::from);
        let caches = path("XDG_CACHE_HOME").or_else(|| Some(path("HOME")?.join(".cache")));
        let home = path("HF_HOME").or_else(|| Some(caches?.join("huggingface")));
        let token_file = path("HF_TOKEN_PATH").or_else(|| Some(home.as_ref()?.join("token")));
        let stored = || open::read_text(&token_file?, MAX_TOKEN).ok();
        let is_true =
            |value: String| ["1", "on", "yes", "true"].contains(&value.trim().to_ascii_lowercase().as_str());
        let token = variable("HF_TOKEN").or_else(stored).map(|token| token.trim().to_owned());
        Self {
            endpoint: variable("HF_ENDPOINT").map(|url| url.trim().trim_end_matches('/').to_owned()),
            cache: path("HF_HUB_CACHE").or_else(|| Some(home.as_ref()?.join("hub"))),
            token: token.filter(|token| !token.is_empty()),
            offline: variable("HF_HUB_OFFLINE").is_some_and(is_true),
            patience: Patience::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> HubSettings {
        let find =
            |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        HubSettings::from_env(find)
    }

    #[test]
    fn settings_of_the_environment() {
        let all = settings(&[
            ("HF_HOME", "/data/hf"),
            ("HF_ENDPOINT", "https://mirror.example/"),
            ("HF_TOKEN", " hf_abc\n"),
            ("HF_HUB_OFFLINE", "Yes"),
        ]);
        assert_eq!(all.cache, Some(PathBuf::from("/data/hf/hub")));
        assert_eq!(all.endpoint.as_deref(), Some("https://mirror.example"));
        assert_eq!(all.token.as_deref(), Some("hf_abc"));
        assert!(all.offline);
        assert_eq!(HubSettings::from_env(|_| Some(" ".to_owned())), HubSettings::default());
        assert!(!settings(&[("HF_HUB_OFFLINE", "0")]).offline);
    }

    #[test]
    fn the_cache_lies_where_huggingface_hub_has_it() {
        let check = |variables: &[(&str, &str)], expect: &str| {
            assert_eq!(settings(variables).cache, Some(PathBuf::from(expect)), "{variables:?}");
        };
        check(&[("HOME", "/root")], "/root/.cache/huggingface/hub");
        check(&[("HOME", "/root"), ("XDG_CACHE_HOME", "/c")], "/c/huggingface/hub");
        check(&[("HF_HOME", "/hf"), ("XDG_CACHE_HOME", "/c")], "/hf/hub");
        check(&[("HF_HOME", "/hf"), ("HF_HUB_CACHE", "/big")], "/big");
    }

    #[test]
    fn a_stored_token_is_found_and_never_shown() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("token"), "hf_stored\n").unwrap();
        let home = home.path().to_str().unwrap();
        let stored = settings(&[("HF_HOME", home)]);
        assert_eq!(stored.token.as_deref(), Some("hf_stored"));
        assert!(!format!("{stored:?}").contains("hf_stored"));
        assert_eq!(settings(&[("HF_HOME", home), ("HF_TOKEN", "hf_x")]).token.as_deref(), Some("hf_x"));
    }
}

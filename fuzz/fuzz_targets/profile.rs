//! Any text as a profile: an error of few characters, or a profile that is the same when written and read again.
#![no_main]

use ko_sentiment_fuzz::sentiment::profile::Profile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(profile) = Profile::from_toml(text) else { return };
    let Ok(written) = profile.to_toml() else { return };
    assert_eq!(Profile::from_toml(&written).ok().as_ref(), Some(&profile), "{written}");
});

//! Any JSON as an adapter's configuration: an error or a configuration.
#![no_main]

use std::path::Path;

use ko_sentiment_fuzz::convert::merge::adapter::AdapterConfig;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(json) = serde_json::from_slice(bytes) {
        let _either = AdapterConfig::parse(json, Path::new("adapter_config.json"));
    }
});

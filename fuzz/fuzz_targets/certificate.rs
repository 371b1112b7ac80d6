//! Any bytes as a certificate, as a client may show one: nothing, or times and names.
#![no_main]

use ko_sentiment_fuzz::grpc::x509::Certificate;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|der: &[u8]| {
    if let Some(certificate) = Certificate::read(der) {
        let names: usize = certificate.names.iter().map(String::len).sum();
        assert!(names <= der.len(), "{certificate:?}");
    }
});

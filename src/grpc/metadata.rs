//! What a call's metadata says that is the same for every method: its id and its deadline.

use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use tonic::codegen::http::{HeaderMap, HeaderValue};
use tonic::metadata::MetadataMap;

/// Header with the caller's id of a request.
pub const REQUEST_ID: &str = "x-request-id";
/// Maximum characters of it.
const MAX_REQUEST_ID: usize = 128;
/// tonic ends a call at its deadline with CANCELLED; the right answer leaves this much earlier.
const DEADLINE_MARGIN: Duration = Duration::from_millis(5);

/// The caller's id, or a new one.
pub fn request_id(headers: &HeaderMap) -> HeaderValue {
    let readable = |id: &&HeaderValue| {
        id.to_str().is_ok_and(|text| {
            (1..=MAX_REQUEST_ID).contains(&text.len()) && text.bytes().all(|b| (b' '..=b'~').contains(&b))
        })
    };
    if let Some(id) = headers.get(REQUEST_ID).filter(readable) {
        return id.clone();
    }
    HeaderValue::from_str(&format!("{:016x}", new_id())).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

/// 64 bits that no other request has: the standard library's randomly keyed hash of a fresh key.
fn new_id() -> u64 {
    RandomState::new().hash_one(Instant::now())
}

/// The caller's deadline, from `grpc-timeout`: digits and a unit
/// (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).
pub fn deadline(metadata: &MetadataMap, begun: Instant) -> Option<Instant> {
    let value = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    let number: u64 = digits.parse().ok()?;
    let timeout = match unit {
        "H" => Duration::from_secs(number.checked_mul(3600)?),
        "M" => Duration::from_secs(number.checked_mul(60)?),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    };
    begun.checked_add(timeout.saturating_sub(DEADLINE_MARGIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_read_as_the_protocol_says() {
        let begun = Instant::now();
        let check = |value: &str, expect: Option<Duration>| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", value.parse().unwrap());
            let got = deadline(&metadata, begun).map(|d| d - begun);
            assert_eq!(got, expect.map(|d| d.saturating_sub(DEADLINE_MARGIN)), "{value}");
        };
        check("2S", Some(Duration::from_secs(2)));
        check("1500m", Some(Duration::from_millis(1500)));
        check("3H", Some(Duration::from_secs(10_800)));
        check("1n", Some(Duration::ZERO));
        check("5x", None);
        check("S", None);
        assert_eq!(deadline(&MetadataMap::new(), begun), None);
    }

    #[test]
    fn an_id_is_kept_if_it_can_be_logged() {
        let check = |value: &[u8], kept: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_bytes(value).unwrap());
            assert_eq!(request_id(&headers).as_bytes() == value, kept, "{value:?}");
        };
        check(b"abc-1 2", true);
        check(&[b'x'; MAX_REQUEST_ID], true);
        check(&[b'x'; MAX_REQUEST_ID + 1], false);
        check(b"", false);
        check(b"a\tb", false);
        check("가".as_bytes(), false);
    }
}

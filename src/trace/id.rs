//! Ids of traces and spans: random bytes, written in lower-case hexadecimal.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::time::Instant;

/// What all spans of a trace share; not zero.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceId(u128);

/// One span's id; not zero.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SpanId(u64);

impl TraceId {
    /// A new one.
    pub fn random() -> Self {
        // One half suffices to make it no zero.
        Self((u128::from(random()) << 64) | u128::from(random()))
    }

    /// Reads 32 lower-case hexadecimal digits.
    pub fn read(digits: &[u8]) -> Option<Self> {
        hexadecimal(digits, 32).filter(|id| *id != 0).map(Self)
    }

    /// Its bytes, as they travel.
    pub fn bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl SpanId {
    /// A new one.
    pub fn random() -> Self {
        Self(random())
    }

    /// Reads 16 lower-case hexadecimal digits.
    pub fn read(digits: &[u8]) -> Option<Self> {
        hexadecimal(digits, 16).and_then(|id| u64::try_from(id).ok()).filter(|id| *id != 0).map(Self)
    }

    /// Its bytes, as they travel.
    pub fn bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The number that exactly so many lower-case hexadecimal digits stand for.
pub(super) fn hexadecimal(digits: &[u8], len: usize) -> Option<u128> {
    let is_digit = |b: &u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    if digits.len() != len || !digits.iter().all(is_digit) {
        return None;
    }
    u128::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// 64 random bits, not all zero: the standard library's randomly keyed hash.
fn random() -> u64 {
    loop {
        let bits = RandomState::new().hash_one(Instant::now());
        if bits != 0 {
            return bits;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_written() {
        let check = |digits: &str, expect: bool| {
            let id = TraceId::read(digits.as_bytes());
            assert_eq!(id.map(|id| id.to_string()), expect.then(|| digits.to_owned()), "{digits}");
        };
        check("0af7651916cd43dd8448eb211c80319c", true);
        check("00000000000000000000000000000001", true);
        check("00000000000000000000000000000000", false);
        check("0AF7651916cd43dd8448eb211c80319c", false);
        check("0af7651916cd43dd8448eb211c80319", false);
        check("+af7651916cd43dd8448eb211c80319c", false);
        assert_eq!(SpanId::read(b"b7ad6b7169203331").unwrap().bytes()[..2], [0xb7, 0xad]);
        assert_eq!(SpanId::read(b"0000000000000000"), None);
    }

    #[test]
    fn new_ids_differ_in_each_half() {
        let ids: Vec<[u8; 16]> = (0..1_000).map(|_| TraceId::random().bytes()).collect();
        for half in [0..8, 8..16] {
            let parts: std::collections::BTreeSet<&[u8]> = ids.iter().map(|id| &id[half.clone()]).collect();
            assert_eq!(parts.len(), ids.len());
        }
    }
}

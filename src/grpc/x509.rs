//! What the server needs to know of a certificate: when it is valid, and whom it names. A reader of DER for
//! these two fields (RFC 5280); trust is rustls' business.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Tags of DER.
const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const OBJECT_ID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// `subjectAltName`, 2.5.29.17.
const ALT_NAME: [u8; 3] = [0x55, 0x1d, 0x11];
/// Kinds of names that are text: e-mail address, DNS name, URI.
const TEXT_NAMES: [u8; 3] = [0x81, 0x82, 0x86];

/// A certificate's own statements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Not valid before.
    pub begins: SystemTime,
    /// Not valid after.
    pub ends: SystemTime,
    /// Its alternative names that are text, in order.
    pub names: Vec<String>,
}

impl Certificate {
    /// Reads a certificate. `None` if it cannot be read.
    pub fn read(der: &[u8]) -> Option<Self> {
        let mut certificate = Der(Der(der).expect(SEQUENCE)?);
        let mut fields = Der(certificate.expect(SEQUENCE)?);
        fields.skip_if(VERSION);
        // Serial number, algorithm, issuer.
        fields.expect(INTEGER)?;
        fields.expect(SEQUENCE)?;
        fields.expect(SEQUENCE)?;
        let mut validity = Der(fields.expect(SEQUENCE)?);
        let (begins, ends) = (validity.time()?, validity.time()?);
        let mut names = Vec::new();
        while let Some((tag, content)) = fields.next() {
            if tag == EXTENSIONS {
                names = alt_names(Der(content).expect(SEQUENCE)?)?;
            }
        }
        Some(Self { begins, ends, names })
    }
}

fn alt_names(extensions: &[u8]) -> Option<Vec<String>> {
    let mut extensions = Der(extensions);
    while let Some((_, extension)) = extensions.next() {
        let mut extension = Der(extension);
        if extension.expect(OBJECT_ID)? != ALT_NAME {
            continue;
        }
        while let Some((tag, value)) = extension.next() {
            if tag == OCTETS {
                let mut names = Der(Der(value).expect(SEQUENCE)?);
                let mut texts = Vec::new();
                while let Some((tag, name)) = names.next() {
                    if TEXT_NAMES.contains(&tag) {
                        texts.push(std::str::from_utf8(name).ok()?.to_owned());
                    }
                }
                return Some(texts);
            }
        }
    }
    Some(Vec::new())
}

/// What is left to read.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next element's tag and content.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], rest) = self.0.split_first_chunk()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (bytes.iter().fold(0, |n, b| n << 8 | usize::from(*b)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    fn expect(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.next().filter(|(tag, _)| *tag == wanted).map(|(_, content)| content)
    }

    fn skip_if(&mut self, tag: u8) {
        if self.0.first() == Some(&tag) {
            self.next();
        }
    }

    fn time(&mut self) -> Option<SystemTime> {
        let (tag, text) = self.next()?;
        let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
        let (year, rest) = match tag {
            UTC_TIME => {
                let (year, rest) = text.split_at_checked(2)?;
                let year: i64 = year.parse().ok()?;
                // RFC 5280: up to 2049.
                (year + if year < 50 { 2000 } else { 1900 }, rest)
            }
            GENERALIZED_TIME => {
                let (year, rest) = text.split_at_checked(4)?;
                (year.parse().ok()?, rest)
            }
            _ => return None,
        };
        let parts: Option<Vec<i64>> = (0..5).map(|i| rest.get(2 * i..2 * i + 2)?.parse().ok()).collect();
        let [month, day, hour, minute, second] = parts?[..] else { return None };
        at(unix_days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
    }
}

/// The time of a number of seconds since 1970; what lies before is 1970.
pub fn at(seconds: i64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// Days from 1970-01-01 to a date of the Gregorian calendar (Howard Hinnant's `days_from_civil`).
pub fn unix_days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted() {
        let check = |(year, month, day), expect| assert_eq!(unix_days(year, month, day), expect);
        check((1970, 1, 1), 0);
        check((2000, 3, 1), 11_017);
        check((2024, 2, 29), 19_782);
        check((2026, 11, 26), 20_783);
    }

    #[test]
    fn times_and_names_are_read() {
        let mut params = rcgen::CertificateParams::new(vec!["team-a.example".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 2);
        params.not_after = rcgen::date_time_ymd(2056, 7, 8);
        let uri = "spiffe://example/team-a".try_into().unwrap();
        params.subject_alt_names.push(rcgen::SanType::URI(uri));
        let key = rcgen::KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        let read = Certificate::read(made.der()).unwrap();
        assert_eq!(read.begins, at(unix_days(2026, 1, 2) * 86_400).unwrap());
        assert_eq!(read.ends, at(unix_days(2056, 7, 8) * 86_400).unwrap());
        assert_eq!(read.names, ["team-a.example", "spiffe://example/team-a"]);
    }

    #[test]
    fn junk_is_no_certificate() {
        let key = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap();
        let der = key.cert.der();
        for end in 0..der.len() {
            assert_eq!(Certificate::read(&der[..end]), None, "{end} bytes");
        }
        assert_eq!(Certificate::read(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}

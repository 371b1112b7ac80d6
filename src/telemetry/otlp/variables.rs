//! Reading `OTEL_*` as OpenTelemetry's specification says: an empty variable is unset, and one that makes no sense is
//! warned of and counts as unset. A warning never holds a value, which may be a secret.

use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// The environment, and what is wrong with it.
pub struct Variables<'a> {
    get: &'a dyn Fn(&str) -> Option<OsString>,
    /// What is wrong, for the log.
    pub warnings: Vec<String>,
}

impl<'a> Variables<'a> {
    /// Reads through `get`.
    pub fn new(get: &'a dyn Fn(&str) -> Option<OsString>) -> Self {
        Self { get, warnings: Vec::new() }
    }

    /// A variable's text.
    pub fn text(&mut self, name: &str) -> Option<String> {
        match (self.get)(name)?.into_string() {
            Ok(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
            Err(_) => {
                self.warn(name, "is not UTF-8");
                None
            }
        }
    }

    /// The name and text of an exporter's variable: the one for traces, or else the one for all signals.
    pub fn exporter(&mut self, ending: &str) -> Option<(String, String)> {
        ["OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_"].into_iter().find_map(|start| {
            let name = format!("{start}{ending}");
            let text = self.text(&name)?;
            Some((name, text))
        })
    }

    /// Whether a variable says `true`.
    pub fn is_true(&mut self, name: &str) -> bool {
        let Some(text) = self.text(name) else { return false };
        self.truth(name, &text)
    }

    /// Whether a variable's text says `true`.
    pub fn truth(&mut self, name: &str, text: &str) -> bool {
        let is_true = text.eq_ignore_ascii_case("true");
        if !is_true && !text.eq_ignore_ascii_case("false") {
            self.warn(name, "is neither true nor false, and counts as false");
        }
        is_true
    }

    /// A variable's number.
    pub fn number<T>(&mut self, name: &str, range: RangeInclusive<T>) -> Option<T>
    where
        T: FromStr + PartialOrd,
    {
        let text = self.text(name)?;
        self.parse(name, &text, range)
    }

    /// The number that a variable's text stands for.
    pub fn parse<T>(&mut self, name: &str, text: &str, range: RangeInclusive<T>) -> Option<T>
    where
        T: FromStr + PartialOrd,
    {
        let number = text.parse().ok().filter(|number| range.contains(number));
        if number.is_none() {
            self.warn(name, "is no number in its range, and is ignored");
        }
        number
    }

    /// Something is wrong with a variable.
    pub fn warn(&mut self, name: &str, fault: &str) {
        self.warnings.push(format!("{name} {fault}"));
    }
}

/// Pairs of `key=value,key=value`, percent-decoded as in W3C's `baggage`; or the number, from 1, of the one that is wrong.
pub fn pairs(text: &str) -> Result<Vec<(String, String)>, usize> {
    let members = text.split(',').enumerate().filter(|(_, member)| !member.trim().is_empty());
    let pair = |(i, member): (usize, &str)| {
        let pair = member.split_once('=').and_then(|(key, value)| {
            let key = key.trim();
            Some((decoded(key)?, decoded(value.trim())?)).filter(|_| !key.is_empty())
        });
        pair.ok_or(i + 1)
    };
    members.map(pair).collect()
}

/// A text without its percent signs.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend(parts.next()?.bytes());
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        let is_digits = digits.bytes().all(|b| b.is_ascii_hexdigit());
        bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| is_digits)?);
        bytes.extend(rest.bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_and_decoded() {
        let check = |text: &str, expect: Result<&[(&str, &str)], usize>| {
            let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
            assert_eq!(pairs(text), expect.map(|pairs| pairs.iter().map(owned).collect()), "{text}");
        };
        check("", Ok(&[]));
        check("a=1", Ok(&[("a", "1")]));
        check(" a = 1 , b=x=y,,c=", Ok(&[("a", "1"), ("b", "x=y"), ("c", "")]));
        check("team=%EA%B0%80%2C%20b", Ok(&[("team", "가, b")]));
        check("a=1,b", Err(2));
        check("=1", Err(1));
        check("a=%", Err(1));
        check("a=%4", Err(1));
        check("a=1,b=%+4", Err(2));
        check("a=%ff", Err(1));
        check("a=%가나", Err(1));
    }
}

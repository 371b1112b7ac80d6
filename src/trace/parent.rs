//! A caller's place in a trace, from the headers `traceparent` and `tracestate` (<https://www.w3.org/TR/trace-context/>).

use super::id::{SpanId, TraceId, hexadecimal};

/// Length of `traceparent` in version 00; later ones may only add to it.
const LENGTH: usize = 55;
/// Maximum length of `tracestate`; a longer one is left out.
const MAX_STATE: usize = 512;
/// Maximum members of `tracestate`.
const MAX_MEMBERS: usize = 32;
/// Maximum characters of a member's key, and of its value.
const MAX_PART: usize = 256;

/// The caller's span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// The trace that it belongs to.
    pub trace: TraceId,
    /// Its id.
    pub span: SpanId,
    /// The caller records the trace.
    pub sampled: bool,
    /// `tracestate`, to be passed on; empty if there is none, or none that can be read.
    pub state: String,
}

impl Parent {
    /// Reads the values of the two headers. `None` if there is not exactly one `traceparent`, or one that is wrong.
    pub fn read<'a>(
        mut parents: impl Iterator<Item = &'a [u8]>,
        states: impl Iterator<Item = &'a [u8]>,
    ) -> Option<Self> {
        let text = parents.next()?;
        if parents.next().is_some() {
            return None;
        }
        let (head, more) = text.split_at_checked(LENGTH)?;
        let [version, trace, span, flags] = head.split(|b| *b == b'-').collect::<Vec<_>>()[..] else {
            return None;
        };
        let version = hexadecimal(version, 2).filter(|version| *version != 0xff)?;
        if !more.is_empty() && (version == 0 || more[0] != b'-') {
            return None;
        }
        let sampled = hexadecimal(flags, 2)? & 1 == 1;
        let (trace, span) = (TraceId::read(trace)?, SpanId::read(span)?);
        Some(Self { trace, span, sampled, state: state(states).unwrap_or_default() })
    }
}

/// `tracestate`, if it is right as a whole.
fn state<'a>(headers: impl Iterator<Item = &'a [u8]>) -> Option<String> {
    let mut members: Vec<(&str, &str)> = Vec::new();
    for header in headers {
        let header = std::str::from_utf8(header).ok().filter(|text| text.len() <= MAX_STATE)?;
        for member in header.split(',').map(|member| member.trim_matches([' ', '\t'])) {
            if member.is_empty() {
                continue;
            }
            let (key, value) = member.split_once('=')?;
            let is_new = members.iter().all(|(other, _)| *other != key);
            if members.len() == MAX_MEMBERS || !is_new || !is_key(key) || !is_value(value) {
                return None;
            }
            members.push((key, value));
        }
    }
    let members: Vec<String> = members.iter().map(|(key, value)| format!("{key}={value}")).collect();
    Some(members.join(",")).filter(|text| text.len() <= MAX_STATE)
}

fn is_key(key: &str) -> bool {
    let may_begin = |b: &u8| matches!(b, b'a'..=b'z' | b'0'..=b'9');
    let may_follow = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@');
    key.len() <= MAX_PART && key.as_bytes().first().is_some_and(may_begin) && key.bytes().all(may_follow)
}

fn is_value(value: &str) -> bool {
    let fits = |b: u8| matches!(b, b' '..=b'~') && b != b'=';
    (1..=MAX_PART).contains(&value.len()) && value.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn read(parents: &[&str], states: &[&str]) -> Option<Parent> {
        Parent::read(parents.iter().map(|text| text.as_bytes()), states.iter().map(|text| text.as_bytes()))
    }

    #[test]
    fn a_parent_is_read_as_the_recommendation_says() {
        let check = |text: &str, expect: Option<bool>| {
            let parent = read(&[text], &[]);
            assert_eq!(parent.as_ref().map(|parent| parent.sampled), expect, "{text}");
            if let Some(parent) = parent {
                assert_eq!(
                    (parent.trace.to_string().as_str(), parent.span.to_string().as_str()),
                    (TRACE, SPAN)
                );
            }
        };
        let ids = format!("{TRACE}-{SPAN}");
        check(&format!("00-{ids}-01"), Some(true));
        check(&format!("00-{ids}-00"), Some(false));
        check(&format!("00-{ids}-03"), Some(true));
        check(&format!("00-{ids}-fe"), Some(false));
        // A version to come.
        check(&format!("cc-{ids}-01"), Some(true));
        check(&format!("cc-{ids}-01-what-will-be"), Some(true));
        check(&format!("cc-{ids}-01."), None);
        check(&format!("cc-{ids}-01{}", "-".repeat(10_000)), Some(true));
        for wrong in [
            format!("00-{ids}-01-more"),
            format!("00-{ids}-01 "),
            format!("ff-{ids}-01"),
            format!("0-{ids}-01"),
            format!("00-{ids}-1"),
            format!("00-{ids}-0G"),
            format!("00-{ids}_01"),
            format!("00-{ids}"),
            format!("00-{}-{SPAN}-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{TRACE}0-{}-01", &SPAN[1..]),
            format!(" 00-{ids}-0"),
            "00-가나다라마바사아자차카타파하가나다라".to_owned(),
            String::new(),
        ] {
            check(&wrong, None);
        }
        let right = format!("00-{ids}-01");
        assert_eq!(read(&[&right, &right], &[]), None, "which of both?");
        assert_eq!(read(&[], &["a=1"]), None);
    }

    #[test]
    fn a_state_is_passed_on_or_left_out_as_a_whole() {
        let parent = format!("00-{TRACE}-{SPAN}-01");
        let check = |states: &[&str], expect: &str| {
            assert_eq!(read(&[&parent], states).unwrap().state, expect, "{states:?}");
        };
        check(&[], "");
        check(&["rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"], "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE");
        check(&["rojo=1 , , congo=2", "", "fw529a3039@dt=FfAxx"], "rojo=1,congo=2,fw529a3039@dt=FfAxx");
        for wrong in ["a", "=1", "A=1", "a=", "a=1,a=2", "a=1,b=가", "a=1=2", "a b=1", "a=1,\u{7f}=1"] {
            check(&[wrong], "");
        }
        let (many, long) = (vec!["a"; 33], "v".repeat(257));
        let members: Vec<String> = many.iter().enumerate().map(|(i, key)| format!("{key}{i}=1")).collect();
        check(&[&members[..32].join(",")], &members[..32].join(","));
        check(&[&members.join(",")], "");
        check(&[&format!("a={long}")], "");
        let half = format!("a={}", &long[..250]);
        check(&[&half], &half);
        check(&[&half, &half.replace('a', "b"), "c=12345678"], "");
    }
}

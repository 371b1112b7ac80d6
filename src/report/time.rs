//! Dates as people's files have them, and spans of time that a chart can show.

use std::collections::BTreeMap;

use crate::dataset::dates;

/// Spans that a chart shows at most.
const MOST: i64 = 62;

/// Days since 1970-01-01 of a date or a time as it is written: `2025-03-01T12:30:00Z`, `2025. 3. 1.`, `20250301` or
/// seconds since 1970.
pub fn day(text: &str) -> Option<i64> {
    let text = text.trim();
    if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') && text.matches('.').count() < 2 {
        let number: f64 = text.parse().ok()?;
        return match number {
            1.9e7..2.2e7 => of(&[number as i64 / 10_000, number as i64 / 100 % 100, number as i64 % 100]),
            1e8..1e11 => Some((number / 86_400.0) as i64),
            1e11..1e14 => Some((number / 86_400_000.0) as i64),
            _ => None,
        };
    }
    let numbers = text.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty()).take(3);
    let numbers: Vec<i64> = numbers.map(str::parse).collect::<Result<_, _>>().ok()?;
    if text.starts_with(|c: char| c.is_ascii_digit()) { of(&numbers) } else { None }
}

fn of(numbers: &[i64]) -> Option<i64> {
    let [year, month, day] = numbers else { return None };
    let found = dates::microseconds(&format!("{year:04}-{month:02}-{day:02}"))?;
    (1970..2200).contains(year).then_some(found.div_euclid(86_400_000_000))
}

/// How long a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A day.
    Day,
    /// From Monday to Sunday.
    Week,
    /// A calendar month.
    Month,
}

/// Counts of spans, each named by its first day or its month.
pub type Spans = Vec<(String, [u64; 3])>;

/// The counts of days as spans of the shortest length that a chart can show. Spans without a comment are there too,
/// unless they are months.
pub fn spans(days: &BTreeMap<i64, [u64; 3]>) -> Option<(Step, Spans)> {
    let (first, last) = (*days.first_key_value()?.0, *days.last_key_value()?.0);
    let step = match last - first {
        0..MOST => Step::Day,
        n if n < 7 * MOST => Step::Week,
        _ => Step::Month,
    };
    let mut spans: BTreeMap<String, [u64; 3]> = BTreeMap::new();
    let name = |day: i64| match step {
        Step::Day => dates::date(day),
        // 1970-01-01 was a Thursday.
        Step::Week => dates::date(day - (day + 3).rem_euclid(7)),
        Step::Month => dates::date(day)[..7].to_owned(),
    };
    if step != Step::Month {
        (first..=last).for_each(|day| _ = spans.entry(name(day)).or_default());
    }
    for (day, counts) in days {
        let span = spans.entry(name(*day)).or_default();
        span.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    Some((step, spans.into_iter().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_as_they_are_written() {
        let check = |text: &str, expect: Option<&str>| {
            assert_eq!(day(text).map(dates::date).as_deref(), expect, "{text}");
        };
        for text in [
            "2025-03-01",
            "2025-03-01T12:30:00Z",
            "2025-03-01 00:00:00+00:00",
            "2025. 3. 1.",
            "2025/3/1",
            "2025년 3월 1일",
            "20250301",
            "1740787200",
            "1740787200000",
        ] {
            check(text, Some("2025-03-01"));
        }
        for text in ["", "3일 전", "12", "2025-13-01", "2025", "좋아요", "어제 2025-03-01"] {
            check(text, None);
        }
    }

    #[test]
    fn spans_fit_a_chart() {
        let start = day("2025-03-01").unwrap();
        let check = |length: i64, step: Step, count: usize, first: &str| {
            let days = [(start, [1, 0, 0]), (start + length, [0, 2, 0])].into();
            let (found, spans) = spans(&days).unwrap();
            assert_eq!((found, spans.len(), spans[0].0.as_str()), (step, count, first));
            assert_eq!(spans.iter().map(|(_, counts)| counts.iter().sum::<u64>()).sum::<u64>(), 3);
        };
        check(9, Step::Day, 10, "2025-03-01");
        check(70, Step::Week, 11, "2025-02-24");
        check(700, Step::Month, 2, "2025-03");
        assert!(spans(&BTreeMap::new()).is_none());
    }
}

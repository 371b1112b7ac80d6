//! Dates as text: `2025-03-01`, or with a time `2025-03-01 12:30:00` and up to nine digits of a second.

const DAY: i64 = 86_400;

/// The civil date of a day since 1970-01-01 (Hinnant's algorithm).
pub fn date(days: i64) -> String {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// A time of day in `units` of a second since midnight, of which a second has `per_second`.
pub fn time(units: i64, per_second: i64) -> String {
    let (seconds, rest) = (units.div_euclid(per_second), units.rem_euclid(per_second));
    let text = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if rest == 0 {
        return text;
    }
    let digits = per_second.ilog10() as usize;
    format!("{text}.{}", format!("{rest:0digits$}").trim_end_matches('0'))
}

/// A moment in `units` of a second since 1970-01-01.
pub fn moment(units: i64, per_second: i64) -> String {
    let day = DAY * per_second;
    format!("{} {}", date(units.div_euclid(day)), time(units.rem_euclid(day), per_second))
}

/// Year, month, day.
type Civil = (i64, u32, u32);

/// The parts of a date's text: the civil date and the seconds since midnight.
pub fn parts(text: &str) -> Option<(Civil, f64)> {
    let (date, time) = text.split_once([' ', 'T']).map_or((text, "00:00:00"), |(date, time)| (date, time));
    let mut numbers = date.split('-');
    let mut next = || numbers.next()?.parse::<u32>().ok();
    let (year, month, day) = (next()?, next()?, next()?);
    let mut clock = time.splitn(3, ':');
    let (hour, minute): (u32, u32) = (clock.next()?.parse().ok()?, clock.next()?.parse().ok()?);
    let second: f64 = clock.next()?.parse().ok()?;
    let fits = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60;
    let fits = fits && (0.0..60.0).contains(&second) && date.split('-').count() == 3;
    fits.then(|| ((i64::from(year), month, day), f64::from(hour * 3600 + minute * 60) + second))
}

/// A date's text in microseconds since 1970-01-01.
pub fn microseconds(text: &str) -> Option<i64> {
    let ((year, month, day), seconds) = parts(text)?;
    let (month, day) = (i64::from(month), i64::from(day));
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    Some(days * DAY * 1_000_000 + (seconds * 1e6).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_and_read() {
        let check = |units: i64, per_second: i64, expect: &str| {
            assert_eq!(moment(units, per_second), expect);
        };
        check(0, 1, "1970-01-01 00:00:00");
        check(1_740_832_200_000, 1000, "2025-03-01 12:30:00");
        check(1_740_832_200_000_001, 1_000_000, "2025-03-01 12:30:00.000001");
        check(-1, 1000, "1969-12-31 23:59:59.999");
        check(951_782_400, 1, "2000-02-29 00:00:00");
        assert_eq!(date(19_782), "2024-02-29");
        assert!(moment(i64::MIN, 1_000_000_000).starts_with("1677-09-21"));
        for text in ["2025-03-01 12:30:00", "1969-12-31 23:59:59", "2000-02-29 00:00:00"] {
            assert_eq!(moment(microseconds(text).unwrap(), 1_000_000), text);
        }
        assert_eq!(microseconds("2025-03-01"), Some(1_740_787_200_000_000));
        for text in ["", "2025-03", "2025-13-01", "어제", "2025-03-01 25:00:00", "2025-03-01-02"] {
            assert_eq!(microseconds(text), None, "{text}");
        }
    }
}

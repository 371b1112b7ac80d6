//! What numbers, switches and addresses a user can give: checked here, before anything is computed.

use std::ops::RangeInclusive;

use clap::builder::RangedU64ValueParser;

use crate::grpc::Target;

/// Maximum CPU threads (llama.cpp's `GGML_MAX_N_THREADS`).
pub const THREADS: RangeInclusive<u64> = 1..=512;

/// Maximum seconds that a user can ask to wait.
const A_YEAR: f64 = 31_536_000.0;

/// A whole number of a range.
pub fn whole<T: TryFrom<u64> + Clone + Send + Sync>(range: RangeInclusive<u64>) -> RangedU64ValueParser<T> {
    RangedU64ValueParser::new().range(range)
}

/// A time in seconds, above 0.
pub fn seconds(text: &str) -> Result<f64, String> {
    let value = text.parse::<f64>().ok().filter(|s| (0.001..=A_YEAR).contains(s));
    value.ok_or_else(|| format!("not 0.001 to {A_YEAR} seconds"))
}

/// A rate, above 0.
pub fn rate(text: &str) -> Result<f64, String> {
    let value = text.parse::<f64>().ok().filter(|r| (0.001..=1e6).contains(r));
    value.ok_or_else(|| "not 0.001 to 1000000 requests per second".to_owned())
}

/// Randomness of sampling.
pub fn temperature(text: &str) -> Result<f32, String> {
    let most = crate::sentiment::input::MAX_TEMPERATURE;
    let value = text.parse::<f32>().ok().filter(|t| (0.0..=most).contains(t));
    value.ok_or_else(|| format!("not 0 to {most}"))
}

/// A switch's value in a variable; an empty variable is off.
pub fn switch(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "" | "0" | "false" | "no" | "off" => Ok(false),
        _ => Err("not 1 or 0, true or false, yes or no, on or off".to_owned()),
    }
}

/// A server's address, kept as it was written.
pub fn endpoint(text: &str) -> Result<String, String> {
    text.parse::<Target>().map(|_| text.to_owned()).map_err(|e| e.to_string())
}

/// A file's size in bytes: a whole number with K, M or G for thousands, millions or billions of them, as llama.cpp's tools
/// read it.
pub fn file_size(text: &str) -> Result<u64, String> {
    let unit = |letter: char| {
        Some(match letter.to_ascii_uppercase() {
            'K' => 1_000,
            'M' => 1_000_000,
            'G' => 1_000_000_000,
            _ => return None,
        })
    };
    let (number, unit) = match text.chars().next_back().and_then(unit) {
        Some(unit) => (&text[..text.len() - 1], unit),
        None => (text, 1),
    };
    let digits = number.bytes().all(|b| b.is_ascii_digit());
    let size = number.parse::<u64>().ok().filter(|n| *n > 0 && digits).and_then(|n| n.checked_mul(unit));
    size.ok_or_else(|| "not a size; write a whole number with K, M or G, such as 500M or 4G".to_owned())
}

/// Permissions of a file, in octal.
pub fn file_mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
    mode.ok_or_else(|| "not file permissions; write three octal digits, such as 660".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_are_read_as_people_write_them() {
        let check = |text, expect: Option<bool>| assert_eq!(switch(text).ok(), expect, "{text:?}");
        for text in ["1", "true", "TRUE", "yes", "On"] {
            check(text, Some(true));
        }
        for text in ["0", "false", "No", "off", ""] {
            check(text, Some(false));
        }
        for text in ["2", "ja", "truely"] {
            check(text, None);
        }
    }

    #[test]
    fn numbers_that_are_none_are_refused() {
        for text in ["0", "-1", "nan", "inf", "1e300", "x", ""] {
            assert!(seconds(text).is_err(), "{text}");
            assert!(rate(text).is_err(), "{text}");
        }
        for text in ["", "0", "0G", "M", "-1M", "+1M", "1.5G", "1T", "4 G", "99999999999G", "4기"] {
            assert!(file_size(text).is_err(), "{text}");
        }
        let sizes = ["4096", "2k", "500M", "4G"].map(|text| file_size(text).unwrap());
        assert_eq!(sizes, [4096, 2_000, 500_000_000, 4_000_000_000]);
        assert_eq!((seconds("1.5"), rate("20")), (Ok(1.5), Ok(20.0)));
        for text in ["-0.1", "2.1", "nan", "inf"] {
            assert!(temperature(text).is_err(), "{text}");
        }
        assert_eq!(
            (file_mode("660"), file_mode("7777").is_err(), file_mode("rw").is_err()),
            (Ok(0o660), true, true)
        );
    }
}

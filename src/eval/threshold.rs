//! Thresholds as a person copies them: with as few digits as tell the answers apart.

/// Digits after the point, at least.
const FEWEST: usize = 3;
/// As many as tell any two probabilities apart.
const MOST: usize = 17;

/// The number with the fewest digits, at least three, that is at most `at` and above `below`: as a threshold it keeps
/// what `at` keeps, and withholds `below`. `below` is `None` where nothing is withheld.
pub fn separating(at: f64, below: Option<f64>) -> f64 {
    let fits = |x: f64| x <= at && below.is_none_or(|b| x > b);
    (FEWEST..=MOST).filter_map(|digits| rounded_down(at, digits)).find(|x| fits(*x)).unwrap_or(at)
}

/// `x`, which is in 0..=1, with so many digits after the point.
fn rounded_down(x: f64, digits: usize) -> Option<f64> {
    let scale = 10f64.powi(i32::try_from(digits).ok()?);
    let units = (x * scale).floor();
    // The product may have been rounded up to the next unit.
    let candidates = [units, units - 1.0];
    candidates.into_iter().filter_map(|u| format!("{:.digits$}", u / scale).parse().ok()).find(|c| *c <= x)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn as_few_digits_as_tell_apart() {
        let check = |at, below, expect: &str| assert_eq!(separating(at, below).to_string(), expect);
        check(0.9, Some(0.7), "0.9");
        check(0.912_345, Some(0.7), "0.912");
        check(0.999_876, Some(0.999_812), "0.99987");
        check(0.5, None, "0.5");
        check(1.0, Some(1.0 - f64::EPSILON), "1");
        check(0.3, Some(0.3 - 1e-16), "0.3");
    }

    proptest! {
        #[test]
        fn the_printed_number_separates(a in 0.0..=1.0, b in 0.0..=1.0, near: bool) {
            let b = if near { a * (1.0 - 1e-12 * b) } else { b };
            let (below, at) = if a < b { (a, b) } else { (b, a) };
            prop_assume!(below < at);
            let printed: f64 = separating(at, Some(below)).to_string().parse().unwrap();
            prop_assert!(below < printed && printed <= at, "{} {} {}", below, printed, at);
        }
    }
}

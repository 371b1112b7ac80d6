//! Charts as SVG. Each has a name for screen readers; the numbers stand in a table beside it.

use std::fmt::Write as _;

use super::html::{Language, count, escaped, percent};

/// A bar of shares, in HTML: `name` says it to screen readers.
pub fn shares(counts: &[u64; 3], language: Language, name: &str) -> String {
    let total: u64 = counts.iter().sum();
    let mut out = format!(
        "<svg class=\"shares\" viewBox=\"0 0 1000 40\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\">",
        escaped(&format!("{name}: {}", in_words(counts, language)))
    );
    let mut x = 0.0;
    for (class, n) in counts.iter().enumerate() {
        let width = 1000.0 * *n as f64 / total.max(1) as f64;
        _ = write!(out, "<rect class=\"c{class}\" x=\"{x:.2}\" width=\"{width:.2}\" height=\"40\"/>");
        x += width;
    }
    out + "</svg>"
}

/// The shares in words.
pub fn in_words(counts: &[u64; 3], language: Language) -> String {
    let total: u64 = counts.iter().sum();
    let part = |class: usize| {
        let share = percent(counts[class] as f64, total as f64);
        format!("{} {share} ({})", language.class(class), count(counts[class]))
    };
    format!("{}, {}, {}", part(0), part(1), part(2))
}

/// Stacked columns, one for each named span.
pub fn columns(spans: &[(String, [u64; 3])], name: &str) -> String {
    const HEIGHT: f64 = 200.0;
    let highest = spans.iter().map(|(_, counts)| counts.iter().sum::<u64>()).max().unwrap_or(0).max(1) as f64;
    let step = 1000.0 / spans.len().max(1) as f64;
    let mut out = format!(
        "<svg class=\"chart\" viewBox=\"0 0 1000 201\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\"><line class=\"axis\" x1=\"0\" x2=\"1000\" y1=\"{HEIGHT}\" y2=\"{HEIGHT}\"/>",
        escaped(name)
    );
    for (i, (span, counts)) in spans.iter().enumerate() {
        let (x, mut y) = (i as f64 * step + step * 0.1, HEIGHT);
        _ = write!(out, "<g><title>{}: {}</title>", escaped(span), count(counts.iter().sum()));
        for class in [2, 1, 0] {
            let height = HEIGHT * counts[class] as f64 / highest;
            y -= height;
            _ = write!(
                out,
                "<rect class=\"c{class}\" x=\"{x:.2}\" y=\"{y:.2}\" width=\"{:.2}\" height=\"{height:.2}\"/>",
                step * 0.8
            );
        }
        out.push_str("</g>");
    }
    let first = spans.first().map_or("", |(first, _)| first);
    let last = spans.last().map_or("", |(last, _)| last);
    out + "</svg>" + &ends([first, if spans.len() > 1 { last } else { "" }])
}

/// What stands under the ends of a chart: as text of the page, it stays readable on a small screen.
fn ends([first, last]: [&str; 2]) -> String {
    format!("<p class=\"ends soft\"><span>{}</span><span>{}</span></p>", escaped(first), escaped(last))
}

/// Columns of one colour, with a name under the first and the last.
pub fn histogram(bars: &[u64], names: [&str; 2], name: &str) -> String {
    const HEIGHT: f64 = 140.0;
    let highest = bars.iter().copied().max().unwrap_or(0).max(1) as f64;
    let step = 1000.0 / bars.len().max(1) as f64;
    let mut out = format!(
        "<svg class=\"chart\" viewBox=\"0 0 1000 141\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\"><line class=\"axis\" x1=\"0\" x2=\"1000\" y1=\"{HEIGHT}\" y2=\"{HEIGHT}\"/>",
        escaped(name)
    );
    for (i, n) in bars.iter().enumerate() {
        let height = HEIGHT * *n as f64 / highest;
        _ = write!(
            out,
            "<rect class=\"plain\" x=\"{:.2}\" y=\"{:.2}\" width=\"{:.2}\" height=\"{height:.2}\"><title>{}</title></rect>",
            i as f64 * step + step * 0.05,
            HEIGHT - height,
            step * 0.9,
            count(*n)
        );
    }
    out + "</svg>" + &ends(names)
}

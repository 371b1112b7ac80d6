//! The text that Prometheus reads, in its own format (0.0.4) and as OpenMetrics (1.0.0).

use std::fmt::Write as _;
use std::time::UNIX_EPOCH;

use super::names::{Family, Kind};
use crate::meter::{Exemplar, Histogram};

/// Which of the two formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `text/plain; version=0.0.4`
    Prometheus,
    /// `application/openmetrics-text; version=1.0.0`
    OpenMetrics,
}

impl Format {
    /// The format that an `Accept` header prefers: OpenMetrics if it names it with no lower weight than plain text.
    pub fn accepted(header: &str) -> Self {
        let weight = |wanted: &str| {
            let ranges = header.split(',').filter_map(|range| {
                let mut parts = range.split(';').map(str::trim);
                let matches = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(wanted));
                let quality = parts.find_map(|part| part.strip_prefix("q=")).unwrap_or("1");
                matches.then(|| quality.parse::<f64>().unwrap_or(0.0))
            });
            ranges.fold(0.0, f64::max)
        };
        let open = weight("application/openmetrics-text");
        if open > 0.0 && open >= weight("text/plain") { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// Its media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// A text in the making.
pub struct Exposition {
    format: Format,
    text: String,
}

impl Exposition {
    /// Empty.
    pub fn new(format: Format) -> Self {
        Self { format, text: String::new() }
    }

    /// Begins a family; its samples follow.
    pub fn family(&mut self, family: &Family) {
        let open = self.format == Format::OpenMetrics;
        // OpenMetrics names a counter's family without the ending of its samples.
        let name = if open { family.name.trim_end_matches("_total") } else { family.name };
        let _ = writeln!(self.text, "# HELP {name} {}.", escape(family.help, false));
        let _ = writeln!(self.text, "# TYPE {name} {}", family.kind.name());
        if open && !family.unit.is_empty() && name.ends_with(family.unit) {
            let _ = writeln!(self.text, "# UNIT {name} {}", family.unit);
        }
    }

    /// A family of one sample without labels.
    pub fn single(&mut self, family: &Family, value: f64) {
        self.family(family);
        self.sample(family, &[], value);
    }

    /// A sample: the values of the family's labels, in order, and the number.
    pub fn sample(&mut self, family: &Family, labels: &[&str], value: f64) {
        debug_assert_ne!(family.kind, Kind::Histogram);
        self.line(family.name, "", family.labels.iter().copied().zip(labels.iter().copied()), value);
    }

    /// A histogram's samples.
    pub fn histogram(&mut self, family: &Family, labels: &[&str], histogram: &Histogram) {
        let named: Vec<(&str, &str)> = family.labels.iter().copied().zip(labels.iter().copied()).collect();
        let mut count = 0;
        for ((bound, up_to), exemplar) in histogram.cumulative().into_iter().zip(histogram.exemplars()) {
            let bound = if bound.is_infinite() { "+Inf".to_owned() } else { format!("{bound:?}") };
            let with_bound = named.iter().copied().chain([("le", bound.as_str())]);
            self.line(family.name, "_bucket", with_bound, up_to as f64);
            if let Some(exemplar) = exemplar.filter(|_| self.format == Format::OpenMetrics) {
                self.exemplar(&exemplar);
            }
            count = up_to;
        }
        self.line(family.name, "_sum", named.iter().copied(), histogram.sum());
        self.line(family.name, "_count", named.iter().copied(), count as f64);
    }

    /// The finished text.
    pub fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    fn line<'a>(
        &mut self,
        name: &str,
        end: &str,
        labels: impl Iterator<Item = (&'a str, &'a str)>,
        value: f64,
    ) {
        self.text.push_str(name);
        self.text.push_str(end);
        self.labels(labels);
        let _ = writeln!(self.text, " {value}");
    }

    /// Adds an exemplar to the last line.
    fn exemplar(&mut self, exemplar: &Exemplar) {
        self.text.truncate(self.text.trim_end().len());
        self.text.push_str(" # ");
        self.labels(exemplar.labels.iter().map(|(label, value)| (*label, value.as_str())));
        let at = exemplar.at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let _ = writeln!(self.text, " {} {at:.3}", exemplar.value);
    }

    fn labels<'a>(&mut self, labels: impl Iterator<Item = (&'a str, &'a str)>) {
        for (i, (label, value)) in labels.enumerate() {
            self.text.push(if i == 0 { '{' } else { ',' });
            let _ = write!(self.text, "{label}=\"{}\"", escape(value, true));
        }
        if self.text.ends_with('"') {
            self.text.push('}');
        }
    }
}

/// Escapes what would end a line or a label's value.
fn escape(text: &str, quoted: bool) -> String {
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    if quoted { text.replace('"', "\\\"") } else { text }
}

#[cfg(test)]
mod tests {
    use super::super::names;
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_accept_header_chooses() {
        let check = |header, expect| assert_eq!(Format::accepted(header), expect, "{header}");
        check("", Format::Prometheus);
        check("*/*", Format::Prometheus);
        check("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", Format::Prometheus);
        check(
            "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5",
            Format::OpenMetrics,
        );
        check("application/openmetrics-text; version=1.0.0; q=0.3, text/plain; q=0.5", Format::Prometheus);
        check("application/openmetrics-text;q=0", Format::Prometheus);
    }

    #[test]
    fn both_formats_are_written_as_they_should_be() {
        let text = |format| {
            let mut out = Exposition::new(format);
            out.family(&names::RELOADS);
            out.sample(&names::RELOADS, &["a\"b\\c\nd", "done"], 3.0);
            out.family(&names::STEP);
            let histogram = Histogram::new(&[0.5]);
            histogram.note(0.25);
            histogram.note(2.0);
            out.histogram(&names::STEP, &[], &histogram);
            out.finish()
        };
        let plain = "# HELP ko_sentiment_reloads_total Certificates and tokens read again.\n\
                     # TYPE ko_sentiment_reloads_total counter\n\
                     ko_sentiment_reloads_total{kind=\"a\\\"b\\\\c\\nd\",outcome=\"done\"} 3\n\
                     # HELP ko_sentiment_step_seconds Time of a step of the model.\n\
                     # TYPE ko_sentiment_step_seconds histogram\n\
                     ko_sentiment_step_seconds_bucket{le=\"0.5\"} 1\n\
                     ko_sentiment_step_seconds_bucket{le=\"+Inf\"} 2\n\
                     ko_sentiment_step_seconds_sum 2.25\n\
                     ko_sentiment_step_seconds_count 2\n";
        assert_eq!(text(Format::Prometheus), plain);
        let open = plain
            .replace("HELP ko_sentiment_reloads_total", "HELP ko_sentiment_reloads")
            .replace("TYPE ko_sentiment_reloads_total", "TYPE ko_sentiment_reloads")
            .replace("seconds histogram\n", "seconds histogram\n# UNIT ko_sentiment_step_seconds seconds\n");
        assert_eq!(text(Format::OpenMetrics), open + "# EOF\n");
    }

    #[test]
    fn exemplars_are_for_openmetrics_alone() {
        let histogram = Histogram::new(&[0.5]);
        let id = "0af7651916cd43dd8448eb211c80319c";
        histogram.time_with(
            Duration::from_millis(250),
            vec![("trace_id", id.to_owned()), ("span_id", "b7".into())],
        );
        let text = |format| {
            let mut out = Exposition::new(format);
            out.histogram(&names::STEP, &[], &histogram);
            out.finish()
        };
        assert!(!text(Format::Prometheus).contains('#'));
        let open = text(Format::OpenMetrics);
        let lines: Vec<&str> = open.lines().collect();
        let bucket = format!(
            r#"ko_sentiment_step_seconds_bucket{{le="0.5"}} 1 # {{trace_id="{id}",span_id="b7"}} 0.25 "#
        );
        let at: f64 = lines[0].strip_prefix(&bucket).unwrap().parse().unwrap();
        assert!(at > 1.7e9, "{at} is no time of this century");
        assert_eq!(lines[1], r#"ko_sentiment_step_seconds_bucket{le="+Inf"} 1"#);
    }
}

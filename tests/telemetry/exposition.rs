//! A reader of the exposition, and what a server exposes against the table of names.

use std::collections::BTreeMap;

use ko_sentiment::telemetry::names::{self, Kind};
use ko_sentiment::telemetry::{Format, Metrics, Readiness};

use crate::support::{Fake, TestServer};

/// A family as a reader finds it.
#[derive(Debug, Default)]
pub struct Found {
    pub kind: String,
    pub help: String,
    /// Name, labels, value.
    pub samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

/// Reads an exposition; every line must be one that the format knows. Exemplars are left out.
pub fn read(text: &str) -> BTreeMap<String, Found> {
    let mut all: BTreeMap<String, Found> = BTreeMap::new();
    let mut family = String::new();
    for line in text.lines() {
        if let Some(meta) = line.strip_prefix("# ") {
            if meta == "EOF" {
                continue;
            }
            let [word, name, rest] = meta.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let found = all.entry(name.to_owned()).or_default();
            match word {
                "HELP" => found.help = rest.to_owned(),
                "TYPE" => found.kind = rest.to_owned(),
                "UNIT" => assert!(name.ends_with(rest), "{line}"),
                _ => panic!("{line}"),
            }
            name.clone_into(&mut family);
            continue;
        }
        let line = line.split_once(" # {").map_or(line, |(sample, _)| sample);
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        assert!(name.starts_with(&family), "{line} stands below {family}");
        let labels = labels.strip_suffix('}').unwrap();
        let pairs = labels.split("\",").filter(|pair| !pair.is_empty()).map(|pair| {
            let (label, value) = pair.split_once("=\"").unwrap();
            (label.to_owned(), value.trim_end_matches('"').to_owned())
        });
        let sample = (name.to_owned(), pairs.collect(), value.parse().unwrap());
        all.get_mut(&family).unwrap().samples.push(sample);
    }
    all
}

/// A server's metrics.
pub fn metrics(server: &TestServer) -> Metrics {
    Metrics::new(server.classifier.clone(), server.meters.clone(), Readiness::default())
}

#[tokio::test]
async fn a_server_exposes_the_table_and_nothing_else() {
    let server = TestServer::start(Fake::default().classifier()).await;
    let mut client = server.client().await;
    client.get_model_info(ko_sentiment::grpc::pb::GetModelInfoRequest {}).await.unwrap();
    assert!(names::ALL.len() >= 20);
    for format in [Format::Prometheus, Format::OpenMetrics] {
        let text = metrics(&server).render(format);
        assert_eq!(text.ends_with("# EOF\n"), format == Format::OpenMetrics);
        let mut found = read(&text);
        for family in names::ALL {
            let open = format == Format::OpenMetrics;
            let name = if open { family.name.trim_end_matches("_total") } else { family.name };
            let got = found.remove(name).unwrap_or_else(|| panic!("{name} is not exposed"));
            assert_eq!((got.kind.as_str(), got.help), (family.kind.name(), format!("{}.", family.help)));
            assert_eq!(family.kind == Kind::Counter, family.name.ends_with("_total"), "{name}");
            for (sample, labels, value) in got.samples {
                let expect = |label: &String| label == "le" || family.labels.contains(&label.as_str());
                let without_bound = labels.keys().filter(|label| *label != "le").count();
                assert!(
                    labels.keys().all(expect) && without_bound == family.labels.len(),
                    "{sample} {labels:?}"
                );
                assert!(value.is_finite() && value >= 0.0, "{sample} {value}");
            }
        }
        assert!(found.is_empty(), "not in the table: {:?}", found.keys());
    }
}

//! Where spans go and how, from the environment (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables>).

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};

use super::variables::{Variables, pairs};
use crate::text::shown::{shown, shown_path};
use crate::trace::Sampler;

/// Where a collector listens, by convention.
const ENDPOINT: &str = "http://localhost:4317";

/// Why no traces can be exported.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// The collector's address.
    #[error("{} holds no address of a trace collector; write http://HOST:PORT or https://HOST:PORT", shown(.0))]
    Endpoint(String),
    /// A header.
    #[error(
        "{}: entry {entry} is no header for the trace collector; write NAME=VALUE, with commas between entries",
        shown(name)
    )]
    Header {
        /// The variable.
        name: String,
        /// Which of its entries, from 1.
        entry: usize,
    },
    /// A file.
    #[error("{} names {}, which cannot be read: {source}; name a PEM file", shown(name), shown_path(path))]
    Read {
        /// The variable.
        name: String,
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A certificate without its key, or the other way round.
    #[error(
        "a certificate for the trace collector needs its key; set OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY together"
    )]
    HalfIdentity,
    /// The certificates.
    #[error("the certificates for the trace collector cannot be used: {}; name PEM files", shown(.0))]
    Tls(String),
}

/// A file that a variable names.
pub type Named = (String, PathBuf);

/// TLS towards the collector.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CollectorTls {
    /// Roots to trust, in PEM, in place of Mozilla's.
    pub ca: Option<Named>,
    /// Our own certificate and its key, in PEM.
    pub identity: Option<(Named, Named)>,
}

/// How spans gather.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batching {
    /// Spans that may wait; more are dropped.
    pub queue: usize,
    /// Maximum spans of a batch.
    pub batch: usize,
    /// How long a batch that is not full waits for more.
    pub delay: Duration,
}

impl Default for Batching {
    fn default() -> Self {
        Self { queue: 2048, batch: 512, delay: Duration::from_secs(5) }
    }
}

/// Where spans go and how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The collector's URL.
    pub endpoint: String,
    /// TLS, where the URL asks for it.
    pub tls: CollectorTls,
    /// What is sent with each batch; may be secret.
    pub headers: MetadataMap,
    /// Time for a batch, with all its tries.
    pub timeout: Duration,
    /// Compress batches.
    pub gzip: bool,
    /// How spans gather.
    pub batching: Batching,
    /// What is known of this process.
    pub resource: Vec<(String, String)>,
    /// Which traces are recorded.
    pub sampler: Sampler,
}

impl Settings {
    /// Reads the variables through `get`, with warnings of those that make no sense. `None` if nobody asks for traces:
    /// without an endpoint, or with traces turned off.
    ///
    /// # Errors
    /// See [`TracesError`].
    pub fn read(get: &dyn Fn(&str) -> Option<OsString>) -> Result<(Option<Self>, Vec<String>), TracesError> {
        let mut variables = Variables::new(get);
        let settings = if is_asked_for(&mut variables) { Some(Self::of(&mut variables)?) } else { None };
        Ok((settings, variables.warnings))
    }

    fn of(variables: &mut Variables<'_>) -> Result<Self, TracesError> {
        let millisecond = Duration::from_millis;
        let timeout = variables
            .exporter("TIMEOUT")
            .and_then(|(name, text)| variables.parse(&name, &text, 1..=3_600_000));
        let default = Batching::default();
        let queue = variables.number("OTEL_BSP_MAX_QUEUE_SIZE", 1..=1 << 20).unwrap_or(default.queue);
        let batch = variables.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 1..=1 << 16).unwrap_or(default.batch);
        let delay = variables.number("OTEL_BSP_SCHEDULE_DELAY", 1..=3_600_000);
        let delay = delay.map_or(default.delay, millisecond);
        Ok(Self {
            endpoint: endpoint(variables)?,
            tls: tls(variables)?,
            headers: headers(variables)?,
            timeout: timeout.map_or(Duration::from_secs(10), millisecond),
            gzip: is_compressed(variables),
            batching: Batching { queue, batch: batch.min(queue), delay },
            resource: resource(variables),
            sampler: sampler(variables),
        })
    }
}

/// Whether the environment asks for traces, in a way that we know.
fn is_asked_for(variables: &mut Variables<'_>) -> bool {
    if variables.is_true("OTEL_SDK_DISABLED") {
        return false;
    }
    const EXPORTER: &str = "OTEL_TRACES_EXPORTER";
    let exporters = variables.text(EXPORTER).map(|text| text.to_ascii_lowercase());
    let is_wanted = match exporters.as_deref() {
        None => variables.exporter("ENDPOINT").is_some(),
        Some(names) => {
            let mut names = names.split(',').map(str::trim);
            let has_otlp = names.clone().any(|name| name == "otlp");
            if names.any(|name| !matches!(name, "otlp" | "none")) {
                variables.warn(EXPORTER, "names an exporter other than otlp and none, which is ignored");
            }
            has_otlp
        }
    };
    if !is_wanted {
        return false;
    }
    match variables.exporter("PROTOCOL") {
        Some((name, protocol)) if !protocol.eq_ignore_ascii_case("grpc") => {
            variables.warn(&name, "asks for another protocol than grpc: no traces are exported");
            false
        }
        _ => true,
    }
}

fn endpoint(variables: &mut Variables<'_>) -> Result<String, TracesError> {
    let Some((name, text)) = variables.exporter("ENDPOINT") else { return Ok(ENDPOINT.to_owned()) };
    let is_url = ["http://", "https://", "unix:"].iter().any(|start| text.starts_with(start));
    if is_url {
        return Ok(text);
    }
    if text.contains("://") || !text.contains(':') {
        return Err(TracesError::Endpoint(name));
    }
    // HOST:PORT, as gRPC writes it: with TLS, unless another variable says otherwise.
    let insecure = variables.exporter("INSECURE").is_some_and(|(name, text)| variables.truth(&name, &text));
    Ok(format!("{}://{text}", if insecure { "http" } else { "https" }))
}

fn tls(variables: &mut Variables<'_>) -> Result<CollectorTls, TracesError> {
    let mut file = |ending| variables.exporter(ending).map(|(name, path)| (name, PathBuf::from(path)));
    let ca = file("CERTIFICATE");
    match (file("CLIENT_CERTIFICATE"), file("CLIENT_KEY")) {
        (Some(certificate), Some(key)) => Ok(CollectorTls { ca, identity: Some((certificate, key)) }),
        (None, None) => Ok(CollectorTls { ca, identity: None }),
        _ => Err(TracesError::HalfIdentity),
    }
}

fn headers(variables: &mut Variables<'_>) -> Result<MetadataMap, TracesError> {
    let mut headers = MetadataMap::new();
    let Some((name, text)) = variables.exporter("HEADERS") else { return Ok(headers) };
    let wrong = |entry| TracesError::Header { name: name.clone(), entry };
    for (i, (key, value)) in pairs(&text).map_err(wrong)?.into_iter().enumerate() {
        let key =
            AsciiMetadataKey::from_bytes(key.to_ascii_lowercase().as_bytes()).map_err(|_| wrong(i + 1))?;
        let mut value = AsciiMetadataValue::try_from(value).map_err(|_| wrong(i + 1))?;
        value.set_sensitive(true);
        headers.append(key, value);
    }
    Ok(headers)
}

fn is_compressed(variables: &mut Variables<'_>) -> bool {
    let Some((name, text)) = variables.exporter("COMPRESSION") else { return false };
    let is_gzip = text.eq_ignore_ascii_case("gzip");
    if !is_gzip && !text.eq_ignore_ascii_case("none") {
        variables.warn(&name, "is neither gzip nor none, and counts as none");
    }
    is_gzip
}

/// What is known of this process; the environment has the last word.
fn resource(variables: &mut Variables<'_>) -> Vec<(String, String)> {
    const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
    let version = env!("CARGO_PKG_VERSION");
    let mut resource: Vec<(String, String)> = [
        ("service.name", "ko-sentiment"),
        ("service.version", version),
        ("telemetry.sdk.name", "ko-sentiment"),
        ("telemetry.sdk.language", "rust"),
        ("telemetry.sdk.version", version),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    let given = variables.text(ATTRIBUTES).map(|text| pairs(&text));
    let given = given.unwrap_or_else(|| Ok(Vec::new())).unwrap_or_else(|entry| {
        variables.warn(ATTRIBUTES, &format!("is ignored: entry {entry} is no key=value"));
        Vec::new()
    });
    let name = variables.text("OTEL_SERVICE_NAME").map(|name| ("service.name".to_owned(), name));
    for (key, value) in given.into_iter().chain(name) {
        match resource.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => *known = value,
            None => resource.push((key, value)),
        }
    }
    resource
}

fn sampler(variables: &mut Variables<'_>) -> Sampler {
    const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
    let name = variables.text(SAMPLER).map(|name| name.to_ascii_lowercase());
    let name = name.as_deref().unwrap_or("parentbased_always_on");
    let plain = name.strip_prefix("parentbased_");
    let parent_based = plain.is_some();
    let share = match plain.unwrap_or(name) {
        "always_on" => 1.0,
        "always_off" => 0.0,
        "traceidratio" => variables.number("OTEL_TRACES_SAMPLER_ARG", 0.0..=1.0).unwrap_or(1.0),
        _ => {
            variables.warn(
                SAMPLER,
                "names a sampler that this server does not have; it uses parentbased_always_on",
            );
            return Sampler::default();
        }
    };
    Sampler { parent_based, share }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(set: &[(&str, &str)]) -> Result<(Option<Settings>, Vec<String>), TracesError> {
        Settings::read(&|name| set.iter().find(|(n, _)| *n == name).map(|(_, value)| value.into()))
    }

    /// With an endpoint and these.
    fn settings(set: &[(&str, &str)]) -> (Settings, Vec<String>) {
        let all = [&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:4317")], set].concat();
        let (settings, warnings) = read(&all).unwrap();
        (settings.unwrap(), warnings)
    }

    #[test]
    fn traces_are_off_unless_asked_for() {
        const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:4317");
        let check = |set: &[(&str, &str)], expect: bool, warnings: usize| {
            let (settings, warned) = read(set).unwrap();
            assert_eq!((settings.is_some(), warned.len()), (expect, warnings), "{set:?} {warned:?}");
        };
        check(&[], false, 0);
        check(&[("OTEL_SERVICE_NAME", "a"), ("OTEL_TRACES_SAMPLER", "always_on")], false, 0);
        check(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")], false, 0);
        check(&[ENDPOINT], true, 0);
        check(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://a:4317")], true, 0);
        check(&[("OTEL_TRACES_EXPORTER", "otlp")], true, 0);
        check(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")], false, 0);
        check(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "OTLP,console")], true, 1);
        check(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "zipkin")], false, 1);
        check(&[ENDPOINT, ("OTEL_SDK_DISABLED", "True")], false, 0);
        check(&[ENDPOINT, ("OTEL_SDK_DISABLED", "false")], true, 0);
        check(&[ENDPOINT, ("OTEL_SDK_DISABLED", "1")], true, 1);
        check(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")], true, 0);
        check(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")], false, 1);
        check(
            &[
                ENDPOINT,
                ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
                ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"),
            ],
            true,
            0,
        );
    }

    #[test]
    fn endpoints_are_urls_or_host_and_port() {
        let check = |set: &[(&str, &str)], expect: Option<&str>| {
            let endpoint = read(set).map(|(settings, _)| settings.unwrap().endpoint);
            assert_eq!(endpoint.as_deref().ok(), expect, "{set:?}");
        };
        const ALL: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
        check(&[("OTEL_TRACES_EXPORTER", "otlp")], Some("http://localhost:4317"));
        check(&[(ALL, "https://a.example:4317/ignored")], Some("https://a.example:4317/ignored"));
        check(
            &[(ALL, "http://a:1"), ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://b:2")],
            Some("http://b:2"),
        );
        check(&[(ALL, "a:4317")], Some("https://a:4317"));
        check(&[(ALL, "a:4317"), ("OTEL_EXPORTER_OTLP_INSECURE", "true")], Some("http://a:4317"));
        check(&[(ALL, "https://a:1"), ("OTEL_EXPORTER_OTLP_INSECURE", "true")], Some("https://a:1"));
        check(&[(ALL, "unix:/run/otel.sock")], Some("unix:/run/otel.sock"));
        check(&[(ALL, "ftp://a:1")], None);
        check(&[(ALL, "a")], None);
    }

    #[test]
    fn what_makes_no_sense_is_warned_of_and_counts_as_unset() {
        let wrong = [
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "ten"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "brotli"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "-5"),
            ("OTEL_BSP_SCHEDULE_DELAY", "1s"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a=1,secret"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ];
        let (settings, warnings) = settings(&wrong);
        for (name, value) in wrong {
            let warning: Vec<_> = warnings.iter().filter(|warning| warning.contains(name)).collect();
            assert!(warning.len() == 1 && !warning[0].contains(value), "{name}: {warnings:?}");
        }
        assert_eq!(settings.timeout, Duration::from_secs(10));
        assert_eq!(
            (settings.gzip, settings.batching, settings.sampler),
            (false, Batching::default(), Sampler::default())
        );
        assert!(settings.resource.iter().all(|(key, _)| key != "a"));
    }

    #[test]
    fn what_is_set_is_used_the_nearer_variable_first() {
        let (settings, warnings) = settings(&[
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "250"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "GZIP"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20abc,x-team=a"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=no,deployment.environment.name=test%2C1"),
            ("OTEL_SERVICE_NAME", "comments"),
        ]);
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!((settings.timeout, settings.gzip), (Duration::from_millis(250), true));
        assert_eq!(
            (settings.batching.queue, settings.batching.batch),
            (100, 100),
            "no batch is longer than the queue"
        );
        assert_eq!(settings.headers.get("authorization").unwrap(), "Bearer abc");
        assert!(!format!("{settings:?}").contains("abc"), "headers are not for the log");
        let value =
            |key: &str| settings.resource.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str());
        assert_eq!(
            (value("service.name"), value("deployment.environment.name")),
            (Some("comments"), Some("test,1"))
        );
        assert_eq!(value("telemetry.sdk.language"), Some("rust"));
    }

    #[test]
    fn samplers_are_known_by_name() {
        let check = |name, argument, (parent_based, share): (bool, f64), warned: usize| {
            let (settings, warnings) =
                settings(&[("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", argument)]);
            assert_eq!(settings.sampler, Sampler { parent_based, share }, "{name} {argument}");
            assert_eq!(warnings.len(), warned, "{warnings:?}");
        };
        check("always_on", "", (false, 1.0), 0);
        check("always_off", "0.5", (false, 0.0), 0);
        check("traceidratio", "0.25", (false, 0.25), 0);
        check("parentbased_always_on", "", (true, 1.0), 0);
        check("parentbased_always_off", "", (true, 0.0), 0);
        check("ParentBased_TraceIdRatio", "0.1", (true, 0.1), 0);
        for wrong in ["2", "-0.1", "NaN", "a"] {
            check("parentbased_traceidratio", wrong, (true, 1.0), 1);
        }
        check("", "0.1", (true, 1.0), 0);
        check("xray", "", (true, 1.0), 1);
    }

    #[test]
    fn what_could_send_secrets_astray_ends_the_start() {
        let check = |set: &[(&str, &str)], part: &str| {
            let all = [&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:4317")], set].concat();
            let error = read(&all).unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains("secret"), "{error}");
        };
        check(&[("OTEL_EXPORTER_OTLP_HEADERS", "a=1,secret")], "OTEL_EXPORTER_OTLP_HEADERS: entry 2");
        check(
            &[("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a b=secret")],
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS: entry 1",
        );
        check(&[("OTEL_EXPORTER_OTLP_HEADERS", "a=secret%0A")], "entry 1");
        check(&[("OTEL_EXPORTER_OTLP_HEADERS", "a-bin=secret")], "entry 1");
        check(&[("OTEL_EXPORTER_OTLP_CLIENT_KEY", "secret.pem")], "together");
    }
}

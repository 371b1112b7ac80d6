//! The one table of metrics. A test compares it with what a server exposes, `docs/operations.md`, the dashboard
//! and the alerts.

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows; its name ends in `_total`.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Counts of values up to some bounds, their sum and their number.
    Histogram,
}

impl Kind {
    /// Name in the exposition.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric: its name, and what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// Name, without the endings of a histogram's parts.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// Unit, which the name contains; empty for a plain number.
    pub unit: &'static str,
    /// Names of labels.
    pub labels: &'static [&'static str],
    /// What it counts or measures.
    pub help: &'static str,
}

macro_rules! families {
    ($($constant:ident = $kind:ident $name:literal $unit:literal [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $constant: Family =
                Family { name: $name, kind: Kind::$kind, unit: $unit, labels: &[$($label),*], help: $help };
        )*
        /// Every metric.
        pub const ALL: &[Family] = &[$($constant),*];
    };
}

families! {
    STARTED = Counter "grpc_server_started_total" "" ["grpc_service", "grpc_method"] "Calls begun";
    HANDLED = Counter "grpc_server_handled_total" "" ["grpc_service", "grpc_method", "grpc_code"] "Calls ended, by status code";
    HANDLING = Histogram "grpc_server_handling_seconds" "seconds" ["grpc_service", "grpc_method"] "Time from a call's headers to its last byte";
    CONNECTIONS = Gauge "ko_sentiment_connections" "" [] "Client connections open now";
    REFUSED_CONNECTIONS = Counter "ko_sentiment_connections_refused_total" "" [] "Connections closed at once because of --max-connections";
    FAILED_HANDSHAKES = Counter "ko_sentiment_tls_handshakes_failed_total" "" [] "TLS handshakes that failed or took too long";
    REFUSED = Counter "ko_sentiment_refused_total" "" ["reason"] "Calls and items refused before anything was computed, by reason";
    ITEM_ERRORS = Counter "ko_sentiment_item_errors_total" "" ["grpc_code"] "Comments of batches and streams that failed while their call went on";
    PRINCIPAL_CALLS = Counter "ko_sentiment_principal_calls_total" "" ["principal"] "Calls let in, by name in the tokens file";
    PRINCIPAL_COMMENTS = Counter "ko_sentiment_principal_comments_total" "" ["principal"] "Comments taken, by name in the tokens file";
    CERTIFICATE_EXPIRY = Gauge "ko_sentiment_certificate_expiry_timestamp_seconds" "seconds" [] "When the server's current certificate expires, in seconds since 1970";
    RELOADS = Counter "ko_sentiment_reloads_total" "" ["kind", "outcome"] "Certificates and tokens read again";
    SPANS_EXPORTED = Counter "ko_sentiment_spans_exported_total" "" [] "Spans that the trace collector took";
    SPANS_DROPPED = Counter "ko_sentiment_spans_dropped_total" "" ["reason"] "Spans lost because the queue was full, an export failed, or the collector rejected them";
    ADMITTED = Counter "ko_sentiment_jobs_admitted_total" "" [] "Jobs that the engine let in";
    ENDED = Counter "ko_sentiment_jobs_ended_total" "" ["outcome"] "Jobs ended: done, cancelled by the client, past the deadline, or failed";
    WAITING = Gauge "ko_sentiment_jobs_waiting" "" ["class"] "Jobs in the queue, before their first step";
    RUNNING = Gauge "ko_sentiment_jobs_running" "" [] "Jobs between their first step and their end";
    QUEUE_WAIT = Histogram "ko_sentiment_queue_wait_seconds" "seconds" ["class"] "Time a job waits for its first step";
    QUEUE_ESTIMATE = Histogram "ko_sentiment_queue_wait_estimate_seconds" "seconds" ["class"] "What was expected of that time when the job came";
    STEP = Histogram "ko_sentiment_step_seconds" "seconds" [] "Time of a step of the model";
    FAILED_STEPS = Counter "ko_sentiment_steps_failed_total" "" [] "Steps that could not be computed";
    BATCH_FILL = Histogram "ko_sentiment_batch_fill_ratio" "ratio" [] "Tokens of a step as a share of --batch-size";
    PREFILLED = Counter "ko_sentiment_tokens_prefilled_total" "" [] "Tokens of prompts and labels computed";
    DECODED = Counter "ko_sentiment_tokens_decoded_total" "" [] "Tokens of generated text computed";
    DRAFTED = Counter "ko_sentiment_tokens_drafted_total" "" [] "Tokens drafted for generated text, guessed or bound to follow";
    ACCEPTED = Counter "ko_sentiment_tokens_accepted_total" "" [] "Drafted tokens that were right";
    REUSED = Counter "ko_sentiment_tokens_reused_total" "" [] "Prompt tokens taken from the KV cache";
    CELLS = Gauge "ko_sentiment_kv_cells" "" [] "Cells of the KV cache (--ctx-size)";
    USED_CELLS = Gauge "ko_sentiment_kv_cells_used" "" [] "Cells of the KV cache in use or reserved, cached videos among them";
    EVICTABLE_CELLS = Gauge "ko_sentiment_kv_cells_evictable" "" [] "Of these, cells of cached videos that no running request uses";
    VIDEOS = Gauge "ko_sentiment_videos_cached" "" [] "Videos in the KV cache";
    EVICTED = Counter "ko_sentiment_videos_evicted_total" "" [] "Videos evicted from the KV cache";
    FIRST_TOKEN = Histogram "ko_sentiment_time_to_first_token_seconds" "seconds" [] "Time from a job's submission to the first token of its reasons";
    TOKEN_GAP = Histogram "ko_sentiment_time_between_tokens_seconds" "seconds" [] "Time between two tokens of a text";
    CACHE_HITS = Counter "ko_sentiment_answer_cache_hits_total" "" [] "Comments answered from the answer cache";
    CACHE_MISSES = Counter "ko_sentiment_answer_cache_misses_total" "" [] "Comments looked up in the answer cache and not found";
    VERDICTS = Counter "ko_sentiment_verdicts_total" "" ["label"] "Verdicts given, by label";
    ABSTAINED = Counter "ko_sentiment_abstained_total" "" [] "Verdicts withheld because the highest probability was below the profile's threshold";
    TOP_PROBABILITY = Histogram "ko_sentiment_top_probability_ratio" "ratio" [] "Highest of a comment's three probabilities";
    ENGINE_UP = Gauge "ko_sentiment_engine_up" "" [] "1 while the engine works";
    READY = Gauge "ko_sentiment_ready" "" [] "1 between warm-up and shutdown";
    BUILD_INFO = Gauge "ko_sentiment_build_info" "" ["version", "model", "quantization", "profile"] "1, with the version of the server and the model that it serves";
    PROCESS_CPU = Counter "process_cpu_seconds_total" "seconds" [] "CPU time used, in user and system mode";
    PROCESS_MEMORY = Gauge "process_resident_memory_bytes" "bytes" [] "Resident memory";
    PROCESS_VIRTUAL = Gauge "process_virtual_memory_bytes" "bytes" [] "Virtual memory";
    PROCESS_FDS = Gauge "process_open_fds" "" [] "Open file descriptors";
    PROCESS_MAX_FDS = Gauge "process_max_fds" "" [] "Maximum open file descriptors";
    PROCESS_THREADS = Gauge "process_threads" "" [] "Threads";
    PROCESS_START = Gauge "process_start_time_seconds" "seconds" [] "When the process started, in seconds since 1970";
}

//! Requests: to the hub with the token, and on to wherever it redirects without.

use std::fmt::{self, Debug};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ureq::http::header::{AUTHORIZATION, IF_RANGE, LOCATION, RANGE, RETRY_AFTER};
use ureq::http::{HeaderMap, HeaderValue, Response};
use ureq::{Agent, Body, Timeout};

use super::location::{BadRedirect, Location};
use super::names::Etag;
use super::patience::{NoTry, Patience, Tries};
use super::report::{OnReport, Report};
use crate::text::shown::shown;

const PUBLIC_HUB: &str = "https://huggingface.co";
const MAX_REDIRECTS: usize = 10;
/// Waits that the user is told of.
const LONG_WAIT: Duration = Duration::from_secs(2);
/// Most bytes of an answer that is read into memory.
const MAX_TEXT: u64 = 16 << 20;

/// Header with the SHA-256 of a large file that another host has.
pub const LINKED_ETAG: &str = "x-linked-etag";
/// Header with its size.
pub const LINKED_SIZE: &str = "x-linked-size";

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection.
    #[error("{host} can't be reached: {reason}", host = shown(host))]
    Unreachable {
        /// The host.
        host: String,
        /// Why.
        reason: String,
    },
    /// A connection that broke, or on which nothing came.
    #[error("{host} {reason}", host = shown(host))]
    Broken {
        /// The host.
        host: String,
        /// What happened.
        reason: String,
        /// Whether time ran out.
        timed_out: bool,
    },
    /// An answer that is not HTTP as it should be, or a certificate that is not the host's.
    #[error("{host}: {reason}", host = shown(host))]
    Protocol {
        /// The host.
        host: String,
        /// What is wrong.
        reason: String,
    },
    /// A redirect that isn't followed.
    #[error("{at} {source}", at = shown(at))]
    Redirect {
        /// Who redirects, without the query.
        at: String,
        /// Why it isn't followed.
        source: BadRedirect,
    },
    /// The hub is full, and asks to wait too long.
    #[error("{host} answers {status} and asks to wait {} s", wait.as_secs(), host = shown(host))]
    Busy {
        /// The host.
        host: String,
        /// The status.
        status: u16,
        /// The wait.
        wait: Duration,
    },
}

impl HttpError {
    /// Whether another try may help.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Broken { .. })
    }
}

/// What to ask for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ask<'a> {
    /// First and last byte.
    pub range: Option<(u64, Option<u64>)>,
    /// The file that the range is of: if it is another one now, all of it is sent.
    pub if_range: Option<&'a Etag>,
    /// Whether a redirect need not be followed once the hub has said what the file is.
    pub only_about: bool,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Headers of the last response.
    pub headers: HeaderMap,
    /// Headers of the last response that came from the hub itself.
    pub hub: HeaderMap,
    /// Whether the last response came from the hub itself.
    pub is_from_hub: bool,
    /// Who sent the last response.
    pub at: Location,
    /// Bytes that follow.
    pub body: Body,
}

/// A token; never shown.
struct Token(HeaderValue);

impl Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// A client of one hub.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    hub: Location,
    token: Option<Token>,
    patience: Patience,
    /// Whether anything has answered yet: until then, a hub that can't be reached is not waited for.
    reached: AtomicBool,
}

impl Client {
    /// A client; nothing is asked yet.
    ///
    /// # Errors
    /// What is wrong with the address or the token, and what to do.
    pub fn new(endpoint: Option<&str>, token: Option<&str>, patience: &Patience) -> Result<Self, String> {
        let endpoint = endpoint.unwrap_or(PUBLIC_HUB);
        let hub = Location::parse(endpoint).filter(|hub| !hub.has_query()).ok_or(
            "HF_ENDPOINT is not an http address; set it to one like https://huggingface.co, without user and query",
        )?;
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("ko-sentiment/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .timeout_resolve(Some(patience.connect))
            .timeout_connect(Some(patience.connect))
            .timeout_send_request(Some(patience.first_byte))
            .timeout_recv_response(Some(patience.first_byte))
            .timeout_per_read(Some(patience.stall))
            .build()
            .new_agent();
        let token = token.map(read_token).transpose()?;
        Ok(Self { agent, hub, token, patience: patience.clone(), reached: AtomicBool::new(false) })
    }

    /// The hub's address.
    pub fn hub(&self) -> &Location {
        &self.hub
    }

    /// Whether requests to the hub carry a token.
    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// How long to wait, and how often to ask again.
    pub fn patience(&self) -> &Patience {
        &self.patience
    }

    /// Asks, follows redirects, and asks again if there is no answer, 408, 429 or 5xx.
    ///
    /// # Errors
    /// Any [`HttpError`]; a status is none.
    pub fn get(&self, start: &Location, ask: Ask, on_report: OnReport) -> Result<Answer, HttpError> {
        let mut tries = Tries::new(&self.patience);
        loop {
            let (error, asked) = match self.follow(start, ask) {
                Ok(answer) if !matches!(answer.status, 408 | 429 | 500..=599) => return Ok(answer),
                Ok(answer) => {
                    let asked = retry_after(&answer.headers);
                    (Ok(answer), asked)
                }
                Err(error) if !self.is_worth_another_try(&error) => return Err(error),
                Err(error) => {
                    // A timeout was wait enough for one try.
                    tries.spend(matches!(error, HttpError::Broken { timed_out: true, .. }).into());
                    (Err(error), None)
                }
            };
            match (tries.next_wait(asked), error) {
                (Ok(wait), last) => {
                    if wait >= LONG_WAIT {
                        let why =
                            last.map_or_else(|e| e.to_string(), |a| format!("the hub answers {}", a.status));
                        on_report(Report::Note(&format!("{why}: trying again in {} s", wait.as_secs())));
                    }
                    thread::sleep(wait);
                }
                (Err(NoTry::TooLong(wait)), Ok(answer)) => {
                    return Err(HttpError::Busy { host: answer.at.authority(), status: answer.status, wait });
                }
                (Err(_), last) => return last,
            }
        }
    }

    fn is_worth_another_try(&self, error: &HttpError) -> bool {
        let was_reached = self.reached.load(Ordering::Relaxed);
        error.is_transient() && (was_reached || !matches!(error, HttpError::Unreachable { .. }))
    }

    /// Asks once, and follows redirects.
    fn follow(&self, start: &Location, ask: Ask) -> Result<Answer, HttpError> {
        let mut seen = Vec::new();
        let mut at = start.clone();
        let mut hub = HeaderMap::new();
        loop {
            let response = self.once(&at, ask)?;
            let is_from_hub = at.is_same_origin(&self.hub);
            if is_from_hub {
                hub = response.headers().clone();
            }
            let (parts, body) = response.into_parts();
            let status = parts.status.as_u16();
            let is_enough = ask.only_about && hub.contains_key(LINKED_ETAG) && hub.contains_key(LINKED_SIZE);
            if is_enough || !matches!(status, 301 | 302 | 303 | 307 | 308) {
                return Ok(Answer { status, headers: parts.headers, hub, is_from_hub, at, body });
            }
            let bad = |source| HttpError::Redirect { at: at.to_string(), source };
            let next = parts.headers.get(LOCATION).ok_or(BadRedirect::Missing).map_err(bad)?;
            let next = next.to_str().map_err(|_| bad(BadRedirect::Unreadable))?;
            let next = at.follow(next).map_err(bad)?;
            seen.push(at.clone());
            if seen.contains(&next) {
                return Err(bad(BadRedirect::Circle));
            }
            if seen.len() > MAX_REDIRECTS {
                return Err(bad(BadRedirect::TooMany));
            }
            at = next;
        }
    }

    fn once(&self, at: &Location, ask: Ask) -> Result<Response<Body>, HttpError> {
        let mut request = self.agent.get(at.url());
        if let Some((first, last)) = ask.range {
            let last = last.map_or_else(String::new, |last| last.to_string());
            request = request.header(RANGE, format!("bytes={first}-{last}"));
        }
        if at.is_same_origin(&self.hub) {
            if let Some(token) = &self.token {
                request = request.header(AUTHORIZATION, token.0.clone());
            }
            // The ETag is the hub's. Another host has its own for the same bytes, and would send all of them.
            if let Some(etag) = ask.if_range {
                request = request.header(IF_RANGE, format!("\"{etag}\""));
            }
        }
        let response = request.call().map_err(|error| describe(at, error))?;
        self.reached.store(true, Ordering::Relaxed);
        Ok(response)
    }

    /// The text of an answer.
    ///
    /// # Errors
    /// [`HttpError::Broken`], [`HttpError::Protocol`].
    pub fn text(&self, answer: &mut Answer) -> Result<Vec<u8>, HttpError> {
        answer.body.with_config().limit(MAX_TEXT).read_to_vec().map_err(|error| describe(&answer.at, error))
    }
}

fn read_token(token: &str) -> Result<Token, String> {
    let bad = "HF_TOKEN has characters that no token has; set it again".to_owned();
    if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(bad);
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| bad)?;
    value.set_sensitive(true);
    Ok(Token(value))
}

/// The seconds of a `Retry-After`. Its other form, a date, needs both clocks to agree: then it is as if absent.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// What became of a request, or of reading a body.
pub fn describe(at: &Location, error: ureq::Error) -> HttpError {
    let host = at.authority();
    let unreachable = |reason: String| HttpError::Unreachable { host: at.authority(), reason };
    let broken = |reason: &str, timed_out| HttpError::Broken {
        host: at.authority(),
        reason: reason.to_owned(),
        timed_out,
    };
    match error {
        ureq::Error::HostNotFound => unreachable("no such host".to_owned()),
        ureq::Error::ConnectionFailed => unreachable("no connection".to_owned()),
        ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
            unreachable("no connection in time".to_owned())
        }
        ureq::Error::Timeout(_) | ureq::Error::BodyStalled => broken("sends nothing any more", true),
        ureq::Error::Io(error) => match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                HttpError::Protocol { host, reason: shown(&error.to_string()) }
            }
            io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::AddrNotAvailable => unreachable(shown(&error.to_string())),
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => broken("sends nothing any more", true),
            _ => broken("broke the connection off", false),
        },
        ureq::Error::BodyExceedsLimit(limit) => {
            HttpError::Protocol { host, reason: format!("the answer is longer than {limit} bytes") }
        }
        error => HttpError::Protocol { host, reason: shown(&error.to_string()) },
    }
}

//! The page's files, which are part of the binary, and the headers that bound what a browser does with them.

use std::sync::LazyLock;

use sha2::{Digest as _, Sha256};
use tonic::body::Body;
use tonic::codegen::Bytes;
use tonic::codegen::http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH,
};
use tonic::codegen::http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

/// Headers of every response: the page runs its own script and style, calls its own origin, and is framed by nobody.
const HEADERS: [(&str, &str); 8] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
         trusted-types 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-embedder-policy", "require-corp"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
];

/// A file of the page.
pub struct File {
    content_type: &'static str,
    bytes: &'static [u8],
    tag: HeaderValue,
}

macro_rules! file {
    ($path:literal, $name:literal, $content_type:literal) => {
        ($path, $content_type, include_bytes!(concat!("../../../web/dist/", $name)).as_slice())
    };
}

/// Built from `web/` by `make web`; `web/README.md` says how.
static FILES: LazyLock<[(&str, File); 5]> = LazyLock::new(|| {
    let files = [
        file!("/", "index.html", "text/html; charset=utf-8"),
        file!("/page.js", "page.js", "text/javascript; charset=utf-8"),
        file!("/page.css", "page.css", "text/css; charset=utf-8"),
        file!("/icon.svg", "icon.svg", "image/svg+xml"),
        file!("/licences.txt", "licences.txt", "text/plain; charset=utf-8"),
    ];
    files.map(|(path, content_type, bytes)| (path, File { content_type, bytes, tag: tag(bytes) }))
});

/// An entity tag that other bytes do not have.
fn tag(bytes: &[u8]) -> HeaderValue {
    let hash = Sha256::digest(bytes);
    let digits: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    HeaderValue::from_str(&format!("\"{digits}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"-\""))
}

/// The file at a path.
pub fn find(path: &str) -> Option<&'static File> {
    FILES.iter().find(|(known, _)| *known == path).map(|(_, file)| file)
}

impl File {
    /// The answer to GET or HEAD; without the bytes if the browser has them.
    pub fn answer(&self, method: &Method, headers: &HeaderMap) -> Response<Body> {
        let known = headers.get(IF_NONE_MATCH).is_some_and(|tags| self.is_among(tags));
        let body = if known || method == Method::HEAD { Body::empty() } else { self.body() };
        let mut response = Response::new(body);
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            let content_type = HeaderValue::from_static(self.content_type);
            response.headers_mut().insert(CONTENT_TYPE, content_type);
            response.headers_mut().insert(CONTENT_LENGTH, self.bytes.len().into());
        }
        response.headers_mut().insert(ETAG, self.tag.clone());
        // A new server's page is seen at once.
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }

    fn body(&self) -> Body {
        Body::new(http_body_util::Full::new(Bytes::from_static(self.bytes)))
    }

    /// Whether the tags of `If-None-Match` hold the file's.
    fn is_among(&self, tags: &HeaderValue) -> bool {
        let Ok(tags) = tags.to_str() else { return false };
        tags.split(',').map(str::trim).any(|tag| tag == "*" || tag.trim_start_matches("W/") == self.tag)
    }
}

/// Adds what every response has.
pub fn guard(headers: &mut HeaderMap) {
    for (name, value) in HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_no_other_host_and_has_nothing_inline() {
        let page = std::str::from_utf8(find("/").unwrap().bytes).unwrap();
        for word in ["http:", "https:", "//", "<style", " style=", " on", "javascript:"] {
            let found = page.match_indices(word).next();
            let text = found.map(|(at, _)| page[at..].chars().take(60).collect::<String>());
            assert!(found.is_none(), "index.html has {text:?}");
        }
        for script in page.split("<script").skip(1) {
            let (tag, inner) = script.split_once('>').unwrap();
            assert!(tag.ends_with("src=\"/page.js\"") && inner.starts_with("</script>"), "{tag}");
        }
    }
}

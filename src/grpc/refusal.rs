//! HTTP's own refusals, for what is no call.

use tonic::body::Body;
use tonic::codegen::Bytes;
use tonic::codegen::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use tonic::codegen::http::{HeaderValue, Method, Request, Response, StatusCode};

/// What every call's content type begins with.
const GRPC: &[u8] = b"application/grpc";

/// The refusal of a request that is no gRPC call, by its method or its content type (gRPC over HTTP/2, "Requests").
pub fn of_no_call<B>(request: &Request<B>) -> Option<Response<Body>> {
    if request.method() != Method::POST {
        return Some(wrong_method("POST"));
    }
    let kind = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let is_grpc = matches!(kind.strip_prefix(GRPC), Some([] | [b'+' | b';', ..]));
    let text = "calls are application/grpc\n";
    (!is_grpc).then(|| refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, text))
}

/// A refusal in words.
pub fn refusal(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response =
        Response::new(Body::new(http_body_util::Full::new(Bytes::from_static(text.as_bytes()))));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A refusal that names the methods of what is there.
pub fn wrong_method(allowed: &'static str) -> Response<Body> {
    let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED, "another method is needed; see `Allow`\n");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

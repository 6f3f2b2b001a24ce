//! The server behind: paid requests are passed on to it.

mod forwarded;
mod path;

use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, HOST, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE, VIA,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version as HttpVersion};
use axum::response::{IntoResponse, Response};
use reqwest::Url;
use reqwest::redirect::Policy;
use x402_std::core::{Version, http};

use crate::{Failure, talk, with_causes};

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// Longest pause in an answer, unless set otherwise.
pub(crate) const READ_SECONDS: u64 = 60;

/// Methods that are served. Others ask for a tunnel or for the request itself, or name a second path
/// in a header.
const METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];

/// Why a request is not served, paid or not: its method, or a path that may lead out of the base of
/// the server behind.
pub(crate) fn refused(upstream: Option<&Upstream>, request: &Request) -> Option<Response> {
    let kept = (CACHE_CONTROL, http::CACHE_CHALLENGE);
    if !METHODS.contains(request.method()) {
        let allowed: Vec<&str> = METHODS.iter().map(Method::as_str).collect();
        let headers = [kept, (ALLOW, &allowed.join(", "))];
        return Some((StatusCode::METHOD_NOT_ALLOWED, headers).into_response());
    }
    let uri = request.uri();
    let leads_out = upstream.is_some_and(|to| to.url(uri.path(), uri.query()).is_none());
    leads_out.then(|| (StatusCode::BAD_REQUEST, [kept]).into_response())
}

/// An answer that was not got from the server behind. Nobody is charged for it.
fn bad_gateway(text: String) -> Response {
    let headers = [(CACHE_CONTROL, http::CACHE_CHALLENGE)];
    (StatusCode::BAD_GATEWAY, headers, text).into_response()
}

/// Passes requests on to one origin, as they are but for what concerns the connection and the
/// payment.
#[derive(Clone)]
pub(crate) struct Upstream {
    http: reqwest::Client,
    base: Url,
    /// The longest answer that is sold.
    limit: Option<usize>,
}

impl Upstream {
    /// In front of `url`; a path in it comes before those of the requests. An answer may have such pauses,
    /// and so many bytes.
    pub(crate) fn new(url: &str, pause: Duration, limit: Option<usize>) -> Result<Self, Failure> {
        let base = Url::parse(url).ok().filter(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.query().is_none()
                && url.fragment().is_none()
        });
        let base = base.ok_or_else(|| Failure::unusable("--upstream: not an http or https URL"))?;
        let http = reqwest::Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT)
            .read_timeout(pause)
            .build()
            .map_err(|error| Failure::refused(error.without_url()))?;
        Ok(Self { http, base, limit })
    }

    /// Passes one request on, once. What is not answered is a 502, for which nobody is charged.
    pub(crate) async fn forward(&self, request: Request) -> Response {
        let (mut parts, body) = request.into_parts();
        let Some(url) = self.url(parts.uri.path(), parts.uri.query()) else {
            return StatusCode::BAD_REQUEST.into_response();
        };
        strip(&mut parts.headers, &[Version::V1, Version::V2].map(Version::payment_header));
        forwarded::told(&mut parts);
        parts.headers.remove(HOST);
        let is_head = parts.method == Method::HEAD;
        let mut forwarded = self.http.request(parts.method, url).headers(parts.headers);
        if !body.is_end_stream() {
            let body = reqwest::Body::wrap_stream(body.into_data_stream());
            forwarded = forwarded.body(body);
        }
        let response = match forwarded.send().await {
            Ok(response) => axum::http::Response::<reqwest::Body>::from(response),
            Err(error) => {
                talk(format_args!("upstream: {}", with_causes(&error.without_url())));
                return bad_gateway(String::new());
            }
        };
        let (mut parts, body) = response.into_parts();
        if parts.status.is_informational() {
            talk(format_args!("upstream: answered {}", parts.status.as_u16()));
            return bad_gateway(String::new());
        }
        let length = parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        let length = length.and_then(|length| length.parse::<u64>().ok()).unwrap_or(0);
        if let Some(limit) = self.limit.filter(|limit| !is_head && length > *limit as u64) {
            let text = format!(
                "the answer of the server behind has {length} bytes, and at most {limit} are sold \
                 (--body-limit)"
            );
            talk(format_args!("upstream: {text}"));
            return bad_gateway(text);
        }
        let [v1, v2] = [Version::V1, Version::V2].map(Version::receipt_header);
        strip(&mut parts.headers, &[http::PAYMENT_REQUIRED, v1, v2]);
        parts.headers.append(VIA, HeaderValue::from_static("1.1 x402"));
        // The version is the connection's, and this connection is another.
        parts.version = HttpVersion::HTTP_11;
        Response::from_parts(parts, Body::new(body))
    }

    /// The URL for a request's path; `None` if that may lead out of the base, however often it is
    /// decoded. What is passed on is what was looked at, encoded.
    fn url(&self, path: &str, query: Option<&str>) -> Option<Url> {
        let whole = format!("{}{path}", self.base.path().trim_end_matches('/'));
        let mut url = self.base.clone();
        url.set_path(&whole);
        url.set_query(query);
        let same = path::decoded(url.path().as_bytes()) == path::decoded(whole.as_bytes());
        (path::stays(path) && same).then_some(url)
    }
}

/// Takes out what concerns one connection only (RFC 9110 §7.6.1), and the `payment` headers.
fn strip(headers: &mut HeaderMap, payment: &[&str]) {
    let listed: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        .collect();
    for name in listed {
        headers.remove(name);
    }
    for name in [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    let others = ["keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization"];
    for name in others.iter().chain(payment) {
        headers.remove(*name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_inside_the_base() {
        for (base, path, wanted) in [
            ("http://h", "/", Some("http://h/")),
            ("http://h/", "/a//b", Some("http://h/a//b")),
            ("http://h/api/", "/a", Some("http://h/api/a")),
            ("http://h", "//other/a", Some("http://h//other/a")),
            ("http://h/api", "/a%2Fb%5c;c", Some("http://h/api/a%2Fb%5c;c")),
            ("http://h/api", "/\"{é}", Some("http://h/api/%22%7B%C3%A9%7D")),
            ("http://h", "/../a", None),
            ("http://h", "/a/./b", None),
            ("http://h", "/a\\b", None),
            ("http://h/api", "/..%2fa", None),
            ("http://h/api", "/../a", None),
            ("http://h/api", "/%2e%2E/a", None),
            ("http://h/api", "/../apis/a", None),
            ("http://h", "*", None),
            ("http://h", "", None),
        ] {
            let new = |url| Upstream::new(url, Duration::from_secs(1), None);
            let Ok(upstream) = new(base) else { panic!("{base}") };
            let url = upstream.url(path, Some("q=%20")).map(String::from);
            assert_eq!(url, wanted.map(|wanted| format!("{wanted}?q=%20")), "{base} {path}");
        }
        for wrong in ["", "h", "ftp://h", "http://", "http://h?a", "http://h#a", "data:a"] {
            let upstream = Upstream::new(wrong, Duration::from_secs(1), None);
            assert!(upstream.is_err(), "{wrong}");
        }
    }
}

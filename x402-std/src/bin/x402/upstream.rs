//! The server behind, which gets the paid requests.

mod forwarded;
mod path;

use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE, VIA,
};
use axum::http::uri::{Authority, PathAndQuery, Scheme};
use axum::http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version as HttpVersion,
};
use axum::response::{IntoResponse, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use reqwest::Url;
use rustls::crypto::aws_lc_rs;
use tokio::time::timeout;
use tower_http::timeout::TimeoutBody;
use x402_std::core::{Version, base64, http};

use crate::{Failure, talk, with_causes};

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// Longest pause in an answer, unless set otherwise.
pub(crate) const READ_SECONDS: u64 = 60;

/// Methods that are served. Others ask for a tunnel or for the request itself, or have a second path in a
/// header.
const METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];

/// The refusal of a request, paid or not: for its method, or for a path that may
/// lead out of the base of the server behind.
pub(crate) fn refused(upstream: Option<&Upstream>, request: &Request) -> Option<Response> {
    let kept = (CACHE_CONTROL, http::CACHE_CHALLENGE);
    if !METHODS.contains(request.method()) {
        let allowed: Vec<&str> = METHODS.iter().map(Method::as_str).collect();
        let headers = [kept, (ALLOW, &allowed.join(", "))];
        return Some((StatusCode::METHOD_NOT_ALLOWED, headers).into_response());
    }
    let uri = request.uri();
    let leads_out = upstream.is_some_and(|to| to.uri(uri).is_none());
    leads_out.then(|| (StatusCode::BAD_REQUEST, [kept]).into_response())
}

/// The answer in place of one from the server behind. It is not charged.
fn bad_gateway(text: String) -> Response {
    let headers = [(CACHE_CONTROL, http::CACHE_CHALLENGE)];
    (StatusCode::BAD_GATEWAY, headers, text).into_response()
}

/// Passes requests on to one origin, unchanged but for headers of the connection and the payment.
#[derive(Clone)]
pub(crate) struct Upstream {
    http: Client<HttpsConnector<HttpConnector>, Body>,
    scheme: Scheme,
    authority: Authority,
    /// The path in front of the paths of requests, without a slash at its end.
    base: String,
    /// The name and password in the URL, for requests without their own.
    credentials: Option<HeaderValue>,
    pause: Duration,
    /// The longest answer that is sold.
    limit: Option<usize>,
}

impl Upstream {
    /// In front of `url`, whose path comes before the paths of requests. An answer may pause for `pause`,
    /// and have `limit` bytes.
    pub(crate) fn new(url: &str, pause: Duration, limit: Option<usize>) -> Result<Self, Failure> {
        let base = Url::parse(url).ok().filter(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.query().is_none()
                && url.fragment().is_none()
        });
        let wrong = || Failure::unusable("--upstream: not an http or https URL without query");
        let base = base.ok_or_else(wrong)?;
        let port = base.port().map(|port| format!(":{port}")).unwrap_or_default();
        let authority = format!("{}{port}", base.host_str().unwrap_or_default());
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        connector.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_platform_verifier(aws_lc_rs::default_provider())
            .map_err(Failure::refused)?
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        Ok(Self {
            http: Client::builder(TokioExecutor::new()).build(connector),
            scheme: if base.scheme() == "https" { Scheme::HTTPS } else { Scheme::HTTP },
            authority: authority.parse().map_err(|_| wrong())?,
            base: base.path().trim_end_matches('/').to_owned(),
            credentials: credentials(&base),
            pause,
            limit,
        })
    }

    /// Passes one request on, once. Without an answer it returns a 502, which is free.
    pub(crate) async fn forward(&self, request: Request) -> Response {
        let (mut parts, body) = request.into_parts();
        let Some(uri) = self.uri(&parts.uri) else {
            return StatusCode::BAD_REQUEST.into_response();
        };
        strip(&mut parts.headers, &[Version::V1, Version::V2].map(Version::payment_header));
        forwarded::told(&mut parts);
        parts.headers.remove(HOST);
        parts.headers.remove(EXPECT);
        if let Some(ours) = &self.credentials {
            parts.headers.entry(AUTHORIZATION).or_insert_with(|| ours.clone());
        }
        let is_head = parts.method == Method::HEAD;
        let mut forwarded = Request::new(if body.is_end_stream() { Body::empty() } else { body });
        *forwarded.method_mut() = parts.method;
        *forwarded.uri_mut() = uri;
        *forwarded.headers_mut() = parts.headers;
        let response = match timeout(self.pause, self.http.request(forwarded)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                talk(format_args!("upstream: no answer: {}", with_causes(&error)));
                return bad_gateway(String::new());
            }
            Err(_) => {
                let seconds = self.pause.as_secs();
                talk(format_args!("upstream: no answer in {seconds} s: see --upstream-timeout"));
                return bad_gateway(String::new());
            }
        };
        let (mut parts, body) = response.into_parts();
        if parts.status.is_informational() {
            talk(format_args!("upstream: status {} is not passed on", parts.status.as_u16()));
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
        // The version belongs to the other connection.
        parts.version = HttpVersion::HTTP_11;
        Response::from_parts(parts, Body::new(TimeoutBody::new(self.pause, body)))
    }

    /// The URL for a request: the base, and its target byte for byte. `None` if its path may lead out of
    /// the base after any number of decodings.
    fn uri(&self, asked: &Uri) -> Option<Uri> {
        let target = asked.path_and_query()?;
        if !path::stays(target.path()) {
            return None;
        }
        let target = match self.base.as_str() {
            "" => target.clone(),
            base => PathAndQuery::try_from(format!("{base}{target}")).ok()?,
        };
        let whole = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone());
        whole.path_and_query(target).build().ok()
    }
}

/// The name and password of a URL, for the server (RFC 7617).
fn credentials(url: &Url) -> Option<HeaderValue> {
    let plain = |text: &str| path::decoded(text.as_bytes());
    let password = url.password().unwrap_or_default();
    if url.username().is_empty() && password.is_empty() {
        return None;
    }
    let both = [&*plain(url.username()), b":", &*plain(password)].concat();
    let mut text = vec![0; base64::encoded_len(both.len())];
    let text = base64::encode(&both, &mut text).ok()?;
    let mut value = HeaderValue::try_from(format!("Basic {text}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Removes the headers of one connection (RFC 9110 §7.6.1), and the `payment` headers.
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
    // Some old servers read `_` as `-`.
    let framing = [HOST, CONTENT_LENGTH, CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
    let is_meant = |name: &HeaderName| {
        let spelt = name.as_str().replace('_', "-");
        let mut ours = framing.iter().map(HeaderName::as_str).chain(others);
        spelt != name.as_str()
            && (ours.any(|other| other == spelt)
                || payment.iter().any(|other| other.eq_ignore_ascii_case(&spelt)))
    };
    let meant: Vec<_> = headers.keys().filter(|name| is_meant(name)).cloned().collect();
    for name in meant {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_inside_the_base() {
        for (base, path, wanted) in [
            ("http://h", "/", Some("http://h/")),
            ("http://h/", "/a//b?", Some("http://h/a//b?")),
            ("http://h/api/", "/a?q=%20'{}", Some("http://h/api/a?q=%20'{}")),
            ("http://h:81", "//other/a", Some("http://h:81//other/a")),
            ("https://a:b@h/api", "/a%2Fb%5c;c", Some("https://h/api/a%2Fb%5c;c")),
            ("http://h/api", "/\"{é}'\\^|~%zz", Some("http://h/api/\"{é}'\\^|~%zz")),
            ("http://h", "/a/./b/../c?../..", Some("http://h/a/./b/../c?../..")),
            ("http://h/api", "/a/..", Some("http://h/api/a/..")),
            ("http://[::1]:81/api", "/a\\b", Some("http://[::1]:81/api/a\\b")),
            ("http://h", "http://other/a", Some("http://h/a")),
            ("http://h", "/../a", None),
            ("http://h/api", "/..%2fa", None),
            ("http://h/api", "/a/../../a", None),
            ("http://h/api", "/%2e%2E/a", None),
            ("http://h/api", "/../apis/a", None),
            ("http://h", "*", None),
        ] {
            let new = |url| Upstream::new(url, Duration::from_secs(1), None);
            let Ok(upstream) = new(base) else { panic!("{base}") };
            let uri = upstream.uri(&Uri::try_from(path).unwrap()).map(|uri| uri.to_string());
            assert_eq!(uri.as_deref(), wanted, "{base} {path}");
        }
        for wrong in ["", "h", "ftp://h", "http://", "http://h?a", "http://h#a", "data:a"] {
            let upstream = Upstream::new(wrong, Duration::from_secs(1), None);
            assert!(upstream.is_err(), "{wrong}");
        }
    }
}

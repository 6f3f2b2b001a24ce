//! The server behind: paid requests are passed on to it.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::header::{CONNECTION, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use reqwest::Url;
use reqwest::redirect::Policy;
use x402_std::core::{Version, http};

use crate::{Failure, talk, with_causes};

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// Longest pause in an answer.
const READ: Duration = Duration::from_secs(60);

/// Passes requests on to one origin, as they are but for what concerns the connection and the
/// payment.
#[derive(Clone)]
pub(crate) struct Upstream {
    http: reqwest::Client,
    base: Url,
}

impl Upstream {
    /// In front of `url`; a path in it comes before those of the requests.
    pub(crate) fn new(url: &str) -> Result<Self, Failure> {
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
            .read_timeout(READ)
            .build()
            .map_err(|error| Failure::refused(error.without_url()))?;
        Ok(Self { http, base })
    }

    /// Passes one request on, once. What is not answered is a 502, for which nobody is charged.
    pub(crate) async fn forward(&self, request: Request) -> Response {
        let (mut parts, body) = request.into_parts();
        let Some(url) = self.url(parts.uri.path(), parts.uri.query()) else {
            return StatusCode::BAD_REQUEST.into_response();
        };
        strip(&mut parts.headers, &[Version::V1, Version::V2].map(Version::payment_header));
        parts.headers.remove(HOST);
        let mut forwarded = self.http.request(parts.method, url).headers(parts.headers);
        if !body.is_end_stream() {
            let body = reqwest::Body::wrap_stream(body.into_data_stream());
            forwarded = forwarded.body(body);
        }
        match forwarded.send().await {
            Ok(response) => {
                let response = axum::http::Response::<reqwest::Body>::from(response);
                let (mut parts, body) = response.into_parts();
                let [v1, v2] = [Version::V1, Version::V2].map(Version::receipt_header);
                strip(&mut parts.headers, &[http::PAYMENT_REQUIRED, v1, v2]);
                Response::from_parts(parts, Body::new(body))
            }
            Err(error) => {
                talk(format_args!("upstream: {}", with_causes(&error.without_url())));
                StatusCode::BAD_GATEWAY.into_response()
            }
        }
    }

    /// The URL for a request's path; `None` if `..` would lead out of the base.
    fn url(&self, path: &str, query: Option<&str>) -> Option<Url> {
        let base = self.base.path().trim_end_matches('/');
        let mut url = self.base.clone();
        url.set_path(&format!("{base}{path}"));
        url.set_query(query);
        let inside = url.path().strip_prefix(base).is_some_and(|rest| rest.starts_with('/'));
        (path.starts_with('/') && inside).then_some(url)
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
            ("http://h", "/../a", Some("http://h/a")),
            ("http://h/api", "/../a", None),
            ("http://h/api", "/%2e%2E/a", None),
            ("http://h/api", "/../apis/a", None),
            ("http://h", "*", None),
            ("http://h", "", None),
        ] {
            let Ok(upstream) = Upstream::new(base) else { panic!("{base}") };
            let url = upstream.url(path, Some("q=%20")).map(String::from);
            assert_eq!(url, wanted.map(|wanted| format!("{wanted}?q=%20")), "{base} {path}");
        }
        for wrong in ["", "h", "ftp://h", "http://", "http://h?a", "http://h#a", "data:a"] {
            assert!(Upstream::new(wrong).is_err(), "{wrong}");
        }
    }
}

//! The protocol's headers, and the layer's own answers.

use ::http::header::{
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, CACHE_CONTROL, CONTENT_LENGTH,
    CONTENT_TYPE, LOCATION, ORIGIN, SET_COOKIE, TRANSFER_ENCODING,
};
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use bytes::Bytes;
use http_body_util::Either;
use x402_core::wire::{self, Message as _};
use x402_core::{ParseError, Version, http};

use super::{Challenge, PaymentBody};
use crate::message::{SettleResponse, decode_header};
use crate::seller::Offers;

/// Returns whether a redirect leads to another server, where the payment is worthless.
pub(super) fn leads_elsewhere<B>(response: &Response<B>, asked: &str) -> bool {
    let origin = |url: &str| {
        let (scheme, rest) = url.split_once("//")?;
        let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        let host = rest[..end].to_ascii_lowercase();
        let default = if scheme.eq_ignore_ascii_case("https:") { ":443" } else { ":80" };
        Some(host.strip_suffix(default).unwrap_or(&host).to_owned())
    };
    let location = response.headers().get(LOCATION);
    // A header that is not text is not an address.
    let location = location.map(|location| location.to_str().unwrap_or("//").trim());
    // A path has no origin of its own; browsers take `\` for `/`.
    location.is_some_and(|to| {
        let to = to.replace('\\', "/");
        let has_scheme = to.split_once(':').is_some_and(|(scheme, _)| !scheme.contains('/'));
        (has_scheme || to.starts_with("//")) && origin(&to) != origin(asked)
    })
}

/// Strips a free redirect or 304 of everything but its location. The buyer's `Host` distinguishes it from a
/// redirect to the same server.
pub(super) fn without_goods<B>(response: Response<B>) -> Response<PaymentBody<B>> {
    let (mut parts, _) = response.into_parts();
    for name in [SET_COOKIE, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING] {
        parts.headers.remove(name);
    }
    Response::from_parts(parts, Either::Left(Bytes::new().into()))
}

pub(super) fn is_error(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

/// Returns the challenge, with its body in `version`; `None` if there is nothing to ask for.
pub(super) fn written(offers: &Offers, version: Version, error: Option<&str>) -> Option<Challenge> {
    let challenge = |version: Version| {
        let missing = match version {
            Version::V1 => "X-PAYMENT header is required",
            Version::V2 => "PAYMENT-SIGNATURE header is required",
        };
        offers.challenge(version, error.unwrap_or(missing)).ok()
    };
    let json = challenge(Version::V2)?;
    let header = base64_value(&json);
    let body = match version {
        // Offers that v1 cannot name are made in v2 only.
        Version::V1 => challenge(Version::V1).unwrap_or(json),
        Version::V2 => json,
    };
    Some(Challenge { header, body: body.into() })
}

pub(super) fn ask<B>(challenge: Option<Challenge>, status: StatusCode) -> Response<PaymentBody<B>> {
    let Some(Challenge { header, body }) = challenge else {
        return empty(StatusCode::INTERNAL_SERVER_ERROR);
    };
    let mut response = Response::new(Either::Left(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(http::CACHE_CHALLENGE));
    expose(headers);
    headers.insert(header_name(http::PAYMENT_REQUIRED), header);
    response
}

/// Returns the path of a base URL, without a slash at its end.
pub(super) fn path_of(base: &str) -> &str {
    let after_scheme = base.split_once("://").map_or(base, |(_, rest)| rest);
    let path = after_scheme.find('/').map_or("", |at| &after_scheme[at..]);
    path.trim_end_matches('/')
}

/// Returns whether a request is a CORS preflight, to which a challenge would be useless.
pub(super) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS
        && headers.contains_key(ORIGIN)
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Returns the payment among the headers, decoded from base64.
pub(super) fn payment(headers: &HeaderMap) -> Result<Option<(Version, Vec<u8>)>, ParseError> {
    let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    match http::payment(headers)? {
        Some((version, value)) => {
            let json = decode_header(value)?;
            // If both headers carry a payment, the payment's own version decides.
            let own = || wire::PaymentPayload::parse(&json).map(|payment| payment.x402_version());
            let version = version.map_or_else(own, Ok)?;
            Ok(Some((version, json)))
        }
        None => Ok(None),
    }
}

/// Headers that only this layer may set.
pub(super) const PAYMENT_HEADERS: [&str; 3] =
    [http::PAYMENT_REQUIRED, Version::V2.receipt_header(), Version::V1.receipt_header()];

/// Keeps an answer out of shared caches. It removes a handler's contrary headers, for caches in general and
/// for content networks (RFC 9213).
pub(super) fn keep_private(headers: &mut HeaderMap, otherwise: &'static str) {
    let private = |value: &HeaderValue| {
        let mut parts = value.to_str().unwrap_or_default().split(',').map(str::trim);
        let keeps =
            |part: &str| ["no-store", "private"].iter().any(|k| part.eq_ignore_ascii_case(k));
        parts.any(keeps)
    };
    let told = || headers.get_all(CACHE_CONTROL).iter();
    let stays = told().next().is_some() && told().all(private);
    if !stays {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(otherwise));
    }
    let names: Vec<_> = headers.keys().cloned().collect();
    for name in names {
        let text = name.as_str();
        if text.ends_with("cdn-cache-control") || ["surrogate-control", "expires"].contains(&text) {
            headers.remove(name);
        }
    }
}

/// Sets the headers of an answer that an extension granted: it is private and has no receipt.
pub(super) fn grant(headers: &mut HeaderMap) {
    for name in PAYMENT_HEADERS {
        headers.remove(name);
    }
    keep_private(headers, http::CACHE_PAID);
}

pub(super) fn give_receipt(headers: &mut HeaderMap, version: Version, receipt: &SettleResponse) {
    // The handler decides neither the receipt nor the caching.
    grant(headers);
    insert_receipt(headers, version, receipt);
    expose(headers);
}

pub(super) fn insert_receipt(headers: &mut HeaderMap, version: Version, receipt: &SettleResponse) {
    if let Ok(json) = receipt.to_json() {
        headers.insert(header_name(version.receipt_header()), base64_value(&json));
    }
}

pub(super) fn header_name(name: &str) -> HeaderName {
    HeaderName::from_bytes(name.as_bytes()).expect("a header name")
}

pub(super) fn base64_value(json: &str) -> HeaderValue {
    let value = crate::message::encode_header(json.as_bytes());
    HeaderValue::try_from(value).expect("base64 is ASCII")
}

pub(super) fn expose(headers: &mut HeaderMap) {
    let names = HeaderValue::from_static(http::EXPOSE_HEADERS);
    headers.append(ACCESS_CONTROL_EXPOSE_HEADERS, names);
}

/// Returns an empty answer that caches must not keep, since the next request may get another.
pub(super) fn empty<B>(status: StatusCode) -> Response<PaymentBody<B>> {
    let mut response = Response::new(Either::Left(Bytes::new().into()));
    *response.status_mut() = status;
    if is_error(status) {
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(http::CACHE_CHALLENGE));
    }
    response
}

pub(super) fn plain<B>(status: StatusCode, text: String) -> Response<PaymentBody<B>> {
    let mut response = empty(status);
    *response.body_mut() = Either::Left(Bytes::from(text).into());
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text);
    response
}

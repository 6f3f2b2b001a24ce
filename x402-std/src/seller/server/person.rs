//! Requests of people: browsers that ask for a page, and the payments in their cookies.

use ::http::header::{
    ACCEPT, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, USER_AGENT, VARY, X_CONTENT_TYPE_OPTIONS,
};
use ::http::{HeaderMap, HeaderName, HeaderValue, Response};
use bytes::Bytes;
use http_body_util::Either;
use x402_core::{ParseError, Version};

use super::headers::{header_name, payment};
use super::{PaymentBody, RequestDigest};
use crate::page::{Page, Refused, Visit};
use crate::seller::answers::KEPT;
use crate::seller::{Offers, Refusal};

/// Most cookies of one payment. The page makes at most three.
const PARTS: usize = 4;

/// Returns whether a browser asks for a document, which a person will look at.
pub(super) fn is_person(headers: &HeaderMap) -> bool {
    let texts = |name| headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let html = |range: &str| {
        let (kind, parameters) = range.split_once(';').unwrap_or((range, ""));
        let never = parameters.replace(' ', "").to_ascii_lowercase();
        kind.trim().eq_ignore_ascii_case("text/html") && !matches!(never.as_str(), "q=0" | "q=0.0")
    };
    texts(ACCEPT).flat_map(|text| text.split(',')).any(html)
        && texts(USER_AGENT).any(|agent| agent.contains("Mozilla"))
}

/// Returns the token of the page's script. After settlement a payment is public on its chain, so it is no proof
/// that somebody bought the answer. The token is.
pub(super) fn token(headers: &HeaderMap) -> Option<&str> {
    headers.get("x402-page")?.to_str().ok().filter(|token| is_token(token))
}

/// A token is 128 random bits.
fn is_token(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Returns the name of a request among the cookies: `x402-`, this, `-` and a number.
pub(super) fn key_of(digest: &RequestDigest) -> String {
    hex::encode(&digest.0[..8])
}

/// Splits a cookie of the page into key, number and value.
fn own(cookie: &str) -> Option<(&str, usize, &str)> {
    let (name, value) = cookie.trim().split_once('=')?;
    let (key, number) = name.strip_prefix("x402-")?.split_once('-')?;
    let is_key = key.len() == 16 && key.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = number.parse().ok().filter(|number| *number < PARTS);
    number.filter(|_| is_key).map(|number| (key, number, value))
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(';'))
}

/// Returns whether some payment is in the cookies.
pub(super) fn has_payment(headers: &HeaderMap) -> bool {
    cookies(headers).any(|cookie| own(cookie).is_some())
}

/// A payment in the cookies, with its token.
pub(super) type Presented = (String, (Version, Vec<u8>));

/// Returns the payment for a request in the cookies, decoded from base64, and its token.
///
/// # Errors
/// [`ParseError`].
pub(super) fn presented(headers: &HeaderMap, key: &str) -> Result<Option<Presented>, ParseError> {
    let mut parts = [""; PARTS];
    for (of, number, value) in cookies(headers).filter_map(own) {
        // Of two cookies of one name, the first has the longer path.
        if of == key && parts[number].is_empty() {
            parts[number] = value;
        }
    }
    let whole = parts.concat();
    let Some((token, value)) = whole.split_once('.').filter(|(token, _)| is_token(token)) else {
        return Ok(None);
    };
    let Ok(value) = HeaderValue::try_from(value) else { return Ok(None) };
    let mut header = HeaderMap::new();
    header.insert(header_name(Version::V2.payment_header()), value);
    Ok(payment(&header)?.map(|payment| (token.to_owned(), payment)))
}

/// Removes the payments from the cookies: handlers, and what is behind them, must not see them.
pub(super) fn hide(headers: &mut HeaderMap) {
    if !has_payment(headers) {
        return;
    }
    let others = cookies(headers).map(str::trim).filter(|cookie| own(cookie).is_none());
    let others = others.collect::<Vec<_>>().join("; ");
    headers.remove(COOKIE);
    if let Ok(others) = HeaderValue::try_from(others)
        && !others.is_empty()
    {
        headers.insert(COOKIE, others);
    }
}

impl From<&Refusal> for Refused {
    fn from(refusal: &Refusal) -> Self {
        let (error, receipt) = (refusal.to_string(), refusal.receipt.clone());
        Self { status: refusal.status, error, receipt }
    }
}

/// Puts the page in place of a challenge's body.
pub(super) fn dress<B>(
    page: &Page,
    offers: &Offers,
    visit: &Visit<'_>,
    refused: Option<&Refused>,
    mut response: Response<PaymentBody<B>>,
) -> Response<PaymentBody<B>> {
    let Some((html, policy)) = page.render(offers, visit, refused) else { return response };
    *response.body_mut() = Either::Left(Bytes::from(html).into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.append(VARY, HeaderValue::from_static("accept, cookie, user-agent"));
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// The header by which the page knows that the same answer is given again.
pub(super) fn keep<B>(response: &mut Response<B>) {
    let kept = HeaderName::from_static("x402-kept");
    response.headers_mut().insert(kept, HeaderValue::from(KEPT.as_secs()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, HeaderValue::try_from(*value).unwrap());
        }
        headers
    }

    #[test]
    fn people_have_browsers_that_ask_for_html() {
        const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64) Chrome/156.0";
        const ACCEPTED: &str = "text/html,application/xhtml+xml,*/*;q=0.8";
        for (accept, agent, person) in [
            (ACCEPTED, BROWSER, true),
            ("application/json, Text/HTML;q=0.1", BROWSER, true),
            ("*/*", BROWSER, false),
            ("application/json", BROWSER, false),
            ("text/html; q=0", BROWSER, false),
            ("application/text/html+x", BROWSER, false),
            (ACCEPTED, "curl/8.0", false),
        ] {
            let headers = headers(&[("accept", accept), ("user-agent", agent)]);
            assert_eq!(is_person(&headers), person, "{accept} {agent}");
        }
        assert!(!is_person(&HeaderMap::new()));
    }

    #[test]
    fn payments_in_cookies_are_read_in_order_and_hidden() {
        let key = key_of(&RequestDigest([0xab; 32]));
        assert_eq!(key, "abababababababab");
        let payment = |json: &str| crate::message::encode_header(json.as_bytes());
        let value = payment(r#"{"x402Version":2,"payload":{}}"#);
        let token = "0123456789abcdef0123456789abcdef";
        let value = format!("{token}.{value}");
        let (one, two) = value.split_at(10);
        let both = format!("a=b; x402-{key}-1={two}; theme=\"x402\"");
        let mut with = headers(&[
            ("cookie", &both),
            ("cookie", &format!("x402-{key}-0={one}; x402-{key}-0=shorter-path")),
            ("cookie", "x402-0000000000000000-0=elsewhere; x402-x-0=1; x402-abababababababab-9=1"),
        ]);
        let (of, (version, json)) = presented(&with, &key).unwrap().unwrap();
        assert_eq!(of, token);
        assert_eq!(
            (version, json.as_slice()),
            (Version::V2, br#"{"x402Version":2,"payload":{}}"#.as_slice())
        );
        assert!(presented(&with, "1111111111111111").unwrap().is_none());
        assert!(
            presented(&headers(&[("cookie", &format!("x402-{key}-0={token}.%"))]), &key).is_err()
        );
        for without in ["bm8=", "short.bm8=", ".bm8="] {
            let cookie = headers(&[("cookie", &format!("x402-{key}-0={without}"))]);
            assert!(presented(&cookie, &key).unwrap().is_none(), "{without}");
        }
        assert!(has_payment(&with));
        hide(&mut with);
        assert!(!has_payment(&with));
        assert_eq!(
            with.get(COOKIE).unwrap(),
            "a=b; theme=\"x402\"; x402-x-0=1; x402-abababababababab-9=1"
        );
        let mut only = headers(&[("cookie", &format!("x402-{key}-0=1"))]);
        hide(&mut only);
        assert!(!only.contains_key(COOKIE));
    }
}

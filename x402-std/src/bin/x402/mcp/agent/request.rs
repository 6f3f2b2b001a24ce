//! Arguments of a model's calls.

use std::collections::BTreeMap;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use reqwest::{Method, Request, Url};
use serde::Deserialize;
use serde_json::Value;
use x402_std::core::Money;

use super::response::bad_arguments;
use super::text::words;

/// Longest id of a purchase.
const ID_BYTES: usize = 128;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Asked {
    pub(super) url: String,
    pub(super) method: Option<String>,
    pub(super) headers: Option<BTreeMap<String, String>>,
    pub(super) body: Option<Value>,
    pub(super) max_price: Option<Value>,
    pub(super) id: Option<String>,
    pub(super) max_bytes: Option<usize>,
    pub(super) offset: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Discover {
    #[serde(default)]
    pub(super) query: String,
    pub(super) limit: Option<usize>,
    pub(super) max_price: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct History {
    pub(super) limit: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Review {
    pub(super) purchase_id: String,
    pub(super) review_token: String,
    pub(super) positive: bool,
    pub(super) comment: Option<String>,
    pub(super) wallet: Option<String>,
}

pub(super) fn arguments<T: for<'de> Deserialize<'de>>(arguments: Value) -> Result<T, Value> {
    serde_json::from_value(arguments).map_err(|error| bad_arguments(words(&error.to_string(), 200)))
}

/// `"$0.05"`, `"0.05"` or `0.05`.
pub(super) fn money(value: Option<&Value>) -> Result<Option<Money>, Value> {
    let text = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    Money::parse(&text).map(Some).map_err(|_| bad_arguments("maxPrice: not money, such as $0.05"))
}

impl Asked {
    pub(super) fn request(&self) -> Result<Request, Value> {
        let url = Url::parse(&self.url).ok().filter(|url| {
            let by_name = url.username().is_empty() && url.password().is_none();
            matches!(url.scheme(), "http" | "https") && url.has_host() && by_name
        });
        let url = url.ok_or_else(|| bad_arguments("url: not an http or https URL without user"))?;
        let method = match (&self.method, &self.body) {
            (Some(method), _) => Method::from_bytes(method.to_ascii_uppercase().as_bytes())
                .map_err(|_| bad_arguments("method: not an HTTP method, such as POST"))?,
            (None, Some(_)) => Method::POST,
            (None, None) => Method::GET,
        };
        let mut request = Request::new(method, url);
        let agent = HeaderValue::from_static(concat!("x402/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(USER_AGENT, agent);
        let body = match &self.body {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some((text.clone(), is_json(text))),
            Some(json) => Some((json.to_string(), true)),
        };
        if let Some((text, is_json)) = body {
            *request.body_mut() = Some(text.into());
            if is_json {
                let json_type = HeaderValue::from_static("application/json");
                request.headers_mut().insert(CONTENT_TYPE, json_type);
            }
        }
        request.headers_mut().extend(headers(self.headers.as_ref())?);
        Ok(request)
    }

    pub(super) fn max(&self) -> Result<Option<Money>, Value> {
        money(self.max_price.as_ref())
    }

    pub(super) fn id(&self) -> Result<Option<&str>, Value> {
        let id = self.id.as_deref();
        let fits = |id: &str| {
            (1..=ID_BYTES).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if id.is_some_and(|id| !fits(id)) {
            return Err(bad_arguments("id: not 1 to 128 visible ASCII characters"));
        }
        Ok(id)
    }
}

/// Whether a text is a JSON object or array; other texts may be JSON by chance.
fn is_json(text: &str) -> bool {
    let text = text.trim_start();
    text.starts_with(['{', '[']) && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// Reads headers. Payments are refused, for they are signed here, and so are headers that route or frame a
/// request.
fn headers(given: Option<&BTreeMap<String, String>>) -> Result<HeaderMap, Value> {
    let mut headers = HeaderMap::new();
    for (name, value) in given.into_iter().flatten() {
        let name = HeaderName::from_bytes(name.as_bytes());
        let parsed = name.ok().zip(HeaderValue::from_str(value).ok());
        let (name, value) = parsed.ok_or_else(|| bad_arguments("headers: not an HTTP header"))?;
        let text = name.as_str();
        if text.starts_with("payment-") || text.starts_with("x-payment") {
            return Err(bad_arguments("headers: leave payments out: this server signs them"));
        }
        if matches!(
            text,
            "host" | "connection" | "content-length" | "transfer-encoding" | "upgrade"
        ) {
            return Err(bad_arguments(format_args!(
                "headers: leave {text} out: this server sets it"
            )));
        }
        headers.append(name, value);
    }
    Ok(headers)
}

/// The name under which a quote is remembered.
pub(super) fn quote_of(request: &Request) -> String {
    format!("{} {}", request.method(), request.url())
}

//! Listings of things to buy.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, RequestBuilder, Url};
use serde_json::{Value, json};
use x402_std::buyer::client::is_here;
use x402_std::core::Money;
use x402_std::extension::BoxFuture;

use super::reach::Reach;
use super::text::words;

mod bazaar;
mod one_ly;

use bazaar::Bazaar;
use one_ly::OneLy;

/// Most bytes of an answer.
const ANSWER_BYTES: usize = 2 << 20;
/// Longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(20);

/// A search.
pub(super) struct Query<'a> {
    pub(super) text: &'a str,
    pub(super) limit: usize,
    pub(super) max: Option<Money>,
}

/// A listing of things to buy.
pub(super) trait Listing: fmt::Debug + Send + Sync {
    /// Returns its URL, without a slash at its end.
    fn base(&self) -> &str;

    /// Returns the items for a search, as the model sees them.
    fn find<'a>(&'a self, http: &'a Http, query: &'a Query<'a>) -> BoxFuture<'a, Found>;

    /// Sends a review; `None` if it accepts none.
    fn review<'a>(
        &'a self,
        http: &'a Http,
        review: &'a Value,
    ) -> Option<BoxFuture<'a, Result<Value, NoAnswer>>> {
        let _ = (http, review);
        None
    }
}

/// The items of a listing.
pub(super) type Found = Result<Vec<Value>, NoAnswer>;

/// Reads a listing's kind and URL.
pub(super) fn listing(text: &str) -> Result<Arc<dyn Listing>, &'static str> {
    let (one_ly, text) = match text.strip_prefix("1ly:") {
        Some(url) => (true, url),
        None => (false, text.strip_prefix("bazaar:").unwrap_or(text)),
    };
    let url = Url::parse(text).ok().filter(|url| {
        let plain = url.query().is_none() && url.fragment().is_none();
        matches!(url.scheme(), "http" | "https") && plain && url.username().is_empty()
    });
    let url = url.ok_or("not an http or https URL, with 1ly: before it or without")?;
    let base = url.as_str().trim_end_matches('/').into();
    Ok(if one_ly { Arc::new(OneLy { base }) } else { Arc::new(Bazaar { base }) })
}

/// All listings.
pub(super) struct Listings {
    all: Vec<Arc<dyn Listing>>,
    http: Http,
}

/// The HTTP clients for listings.
pub(super) struct Http {
    proxied: Client,
    /// For listings on this machine: without a proxy.
    direct: Client,
}

/// Why a listing did not answer: a status and the start of its body, or our own words.
pub(super) struct NoAnswer {
    pub(super) status: Option<u16>,
    pub(super) words: String,
}

impl NoAnswer {
    fn ours(text: &str) -> Self {
        Self { status: None, words: text.into() }
    }

    fn told(&self) -> String {
        self.status.map_or_else(|| self.words.clone(), |status| format!("status {status}"))
    }
}

impl Listings {
    pub(super) fn new(all: Vec<Arc<dyn Listing>>) -> Result<Self, &'static str> {
        let builder = || {
            Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .timeout(ANSWER)
                .user_agent(concat!("x402/", env!("CARGO_PKG_VERSION")))
        };
        let proxied = builder().build().map_err(|_| "HTTP cannot be set up")?;
        let direct = builder().no_proxy().build().map_err(|_| "HTTP cannot be set up")?;
        Ok(Self { all, http: Http { proxied, direct } })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Returns the items that may be requested, and the listings that did not answer.
    pub(super) async fn find(&self, query: &Query<'_>, reach: &Reach) -> (Vec<Value>, Vec<Value>) {
        let may_be_asked = |listed: &Value| {
            let url = listed["url"].as_str().and_then(|url| Url::parse(url).ok());
            url.is_some_and(|url| reach.may_be_asked(&url))
        };
        let (mut found, mut silent) = (Vec::new(), Vec::new());
        for listing in &self.all {
            match listing.find(&self.http, query).await {
                Ok(listed) => {
                    found.extend(listed.into_iter().filter(may_be_asked).take(query.limit));
                }
                Err(error) => silent.push(json!({ "url": listing.base(), "error": error.told() })),
            }
        }
        (found, silent)
    }

    /// Sends a review to the first listing that accepts one; `None` without such a listing.
    pub(super) async fn review(&self, review: &Value) -> Option<Result<Value, NoAnswer>> {
        let sent = self.all.iter().find_map(|listing| listing.review(&self.http, review))?;
        Some(sent.await)
    }
}

impl Http {
    async fn get(&self, url: &str, parameters: &[(&str, String)]) -> Result<Value, NoAnswer> {
        let url = Url::parse_with_params(url, parameters);
        let url = url.map_err(|_| NoAnswer::ours("not a URL"))?;
        answer(self.client(&url).get(url)).await
    }

    fn client(&self, url: &Url) -> &Client {
        if is_here(url) { &self.direct } else { &self.proxied }
    }
}

async fn answer(request: RequestBuilder) -> Result<Value, NoAnswer> {
    let silent = |_| NoAnswer::ours("no answer");
    let mut response = request.send().await.map_err(silent)?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(silent)? {
        if body.len() + chunk.len() > ANSWER_BYTES {
            return Err(NoAnswer::ours("the answer is longer than 2 MiB"));
        }
        body.extend_from_slice(&chunk);
    }
    let status = response.status();
    if !status.is_success() {
        let words = words(&String::from_utf8_lossy(&body), 300);
        return Err(NoAnswer { status: Some(status.as_u16()), words });
    }
    serde_json::from_slice(&body).map_err(|_| NoAnswer::ours("the answer is not JSON"))
}

fn not_a_list() -> NoAnswer {
    NoAnswer::ours("the answer is no list of things to buy")
}

fn cleaned(text: &Value, most: usize) -> Option<String> {
    text.as_str().map(|text| words(text, most))
}

/// Whether a URL is short enough for a model to read.
fn is_short(url: &Url) -> bool {
    url.as_str().len() <= 2_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listings_have_a_kind_and_a_url() {
        for (text, expected) in [
            ("https://bazaar.test/x402/", Some("Bazaar { base: \"https://bazaar.test/x402\" }")),
            ("bazaar:http://127.0.0.1:1", Some("Bazaar { base: \"http://127.0.0.1:1\" }")),
            ("1ly:https://1ly.test/", Some("OneLy { base: \"https://1ly.test\" }")),
            ("1ly.test", None),
            ("ftp://1ly.test", None),
            ("https://1ly.test/?q=", None),
            ("https://user@1ly.test/", None),
        ] {
            let found = listing(text).ok().map(|listing| format!("{listing:?}"));
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }
}

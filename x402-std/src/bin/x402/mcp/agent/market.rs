//! Listings of things to buy: Bazaars, by the specification's section 8, and 1ly's store.

use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder, Url};
use serde_json::{Value, json};
use x402_std::buyer::client::is_here;
use x402_std::core::{Amount, Money, Network};

use super::reach::Reach;
use super::words::words;
use crate::{decimal, known_token};

/// Most bytes of an answer.
const ANSWER_BYTES: usize = 2 << 20;
/// Longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(20);
/// Most pages that are read of a Bazaar without a search, and items of one page.
const PAGES: usize = 5;
const PAGE: usize = 100;

/// A listing.
#[derive(Clone, Debug)]
pub(super) struct Market {
    kind: Kind,
    /// Without a slash at its end.
    base: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bazaar,
    OneLy,
}

impl Market {
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let (kind, text) = match text.strip_prefix("1ly:") {
            Some(url) => (Kind::OneLy, url),
            None => (Kind::Bazaar, text.strip_prefix("bazaar:").unwrap_or(text)),
        };
        let url = Url::parse(text).ok().filter(|url| {
            let plain = url.query().is_none() && url.fragment().is_none();
            matches!(url.scheme(), "http" | "https") && plain && url.username().is_empty()
        });
        let url = url.ok_or("not an http or https URL, with 1ly: before it or without")?;
        Ok(Self { kind, base: url.as_str().trim_end_matches('/').into() })
    }
}

/// A search.
pub(super) struct Query<'a> {
    pub(super) text: &'a str,
    pub(super) limit: usize,
    pub(super) max: Option<Money>,
}

/// All listings.
pub(super) struct Markets {
    all: Vec<Market>,
    http: Client,
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

impl Markets {
    pub(super) fn new(all: Vec<Market>) -> Result<Self, &'static str> {
        let builder = || {
            Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .timeout(ANSWER)
                .user_agent(concat!("x402/", env!("CARGO_PKG_VERSION")))
        };
        let http = builder().build().map_err(|_| "HTTP cannot be set up")?;
        let direct = builder().no_proxy().build().map_err(|_| "HTTP cannot be set up")?;
        Ok(Self { all, http, direct })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The items that may be requested, and the listings that did not answer.
    pub(super) async fn find(&self, query: &Query<'_>, reach: &Reach) -> (Vec<Value>, Vec<Value>) {
        let may_be_asked = |listed: &Value| {
            let url = listed["url"].as_str().and_then(|url| Url::parse(url).ok());
            url.is_some_and(|url| reach.may_be_asked(&url))
        };
        let (mut found, mut silent) = (Vec::new(), Vec::new());
        for market in &self.all {
            let listed = match market.kind {
                Kind::Bazaar => self.bazaar(market, query).await,
                Kind::OneLy => self.one_ly(market, query).await,
            };
            match listed {
                Ok(listed) => {
                    found.extend(listed.into_iter().filter(may_be_asked).take(query.limit));
                }
                Err(error) => silent.push(json!({ "url": market.base, "error": error.told() })),
            }
        }
        (found, silent)
    }

    async fn one_ly(&self, market: &Market, query: &Query<'_>) -> Result<Vec<Value>, NoAnswer> {
        let mut parameters = vec![("q", query.text.to_owned()), ("limit", query.limit.to_string())];
        if let Some(max) = query.max {
            parameters.push(("maxPrice", max.to_string().trim_start_matches('$').into()));
        }
        let answer = self.get(&format!("{}/api/discover", market.base), &parameters).await?;
        let results = answer["results"].as_array().ok_or_else(not_a_list)?;
        let listed = results.iter().filter_map(|result| {
            let endpoint = result["endpoint"].as_str()?;
            let price = Money::parse(&result["price"].to_string()).ok();
            if let Some(max) = query.max
                && !price.is_some_and(|price| fits(max, price))
            {
                return None;
            }
            let seller = &result["seller"];
            Some(json!({
                "title": cleaned(&result["title"], 100),
                "description": cleaned(&result["description"], 300),
                "url": absolute(&market.base, endpoint)?,
                "listedPrices": price.map(|price| json!({
                    "amount": price.to_string().trim_start_matches('$'),
                    "symbol": cleaned(&result["currency"], 12),
                })).into_iter().collect::<Vec<_>>(),
                "seller": cleaned(&seller["displayName"], 60).or(cleaned(&seller["username"], 60)),
                "buyers": result["stats"]["buyers"].as_u64(),
                "ratingPercent": result["stats"]["rating"].as_f64(),
                "listedBy": market.base,
            }))
        });
        Ok(listed.collect())
    }

    async fn bazaar(&self, market: &Market, query: &Query<'_>) -> Result<Vec<Value>, NoAnswer> {
        let search = format!("{}/discovery/search", market.base);
        let parameters = [
            ("query", query.text.to_owned()),
            ("type", "http".into()),
            ("limit", query.limit.to_string()),
        ];
        let items = match self.get(&search, &parameters).await {
            Ok(mut answer) => items(&mut answer)?,
            Err(NoAnswer { status: Some(_), .. }) => self.listing(market, query).await?,
            Err(error) => return Err(error),
        };
        Ok(items.iter().filter_map(|item| listed(item, market, query.max)).collect())
    }

    /// The items of a listing with at least one of the words; items with more of them come first.
    async fn listing(&self, market: &Market, query: &Query<'_>) -> Result<Vec<Value>, NoAnswer> {
        let url = format!("{}/discovery/resources", market.base);
        let words: Vec<_> = query.text.split_whitespace().map(str::to_lowercase).collect();
        let mut found = Vec::new();
        for page in 0..PAGES {
            let parameters = [
                ("type", "http".to_owned()),
                ("limit", PAGE.to_string()),
                ("offset", (page * PAGE).to_string()),
            ];
            let mut answer = self.get(&url, &parameters).await?;
            let items = items(&mut answer)?;
            let is_last = items.len() < PAGE;
            found.extend(items.into_iter().filter_map(|item| {
                let text = item.to_string().to_lowercase();
                let matches = words.iter().filter(|word| text.contains(*word)).count();
                (matches > 0 || words.is_empty()).then_some((matches, item))
            }));
            if is_last {
                break;
            }
        }
        found.sort_by_key(|(matches, _)| std::cmp::Reverse(*matches));
        Ok(found.into_iter().map(|(_, item)| item).collect())
    }

    /// Sends a review to the first store like 1ly's; `None` without such a store.
    pub(super) async fn review(&self, review: &Value) -> Option<Result<Value, NoAnswer>> {
        let market = self.all.iter().find(|market| market.kind == Kind::OneLy)?;
        let url = Url::parse(&format!("{}/api/reviews", market.base)).ok()?;
        let request = self.client(&url).post(url);
        let request = request.header(CONTENT_TYPE, "application/json").body(review.to_string());
        Some(answer(request).await)
    }

    async fn get(&self, url: &str, parameters: &[(&str, String)]) -> Result<Value, NoAnswer> {
        let url = Url::parse_with_params(url, parameters);
        let url = url.map_err(|_| NoAnswer::ours("not a URL"))?;
        answer(self.client(&url).get(url)).await
    }

    fn client(&self, url: &Url) -> &Client {
        if is_here(url) { &self.direct } else { &self.http }
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

/// A listing has `items`, a search `resources`.
fn items(answer: &mut Value) -> Result<Vec<Value>, NoAnswer> {
    for name in ["items", "resources"] {
        if let Some(Value::Array(items)) = answer.get_mut(name).map(Value::take) {
            return Ok(items);
        }
    }
    Err(not_a_list())
}

/// A Bazaar's entry of a resource, whose members may be in several places.
fn listed(item: &Value, market: &Market, max: Option<Money>) -> Option<Value> {
    let url = item["resource"].as_str().and_then(|url| Url::parse(url).ok());
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && is_short(url))?;
    let accepts = item["accepts"].as_array().map(Vec::as_slice).unwrap_or_default();
    let prices: Vec<_> = accepts.iter().filter_map(Listed::of).collect();
    if let Some(max) = max
        && !prices.iter().any(|price| max.covers(price.amount, price.decimals))
    {
        return None;
    }
    let first =
        |pointers: &[&str], most| pointers.iter().find_map(|at| cleaned(item.pointer(at)?, most));
    let method = first(
        &[
            "/extensions/bazaar/info/input/method",
            "/metadata/input/method",
            "/metadata/method",
            "/accepts/0/outputSchema/input/method",
        ],
        10,
    );
    let description =
        first(&["/description", "/metadata/description", "/accepts/0/description"], 300);
    Some(json!({
        "title": first(&["/serviceName", "/metadata/name", "/metadata/title"], 100),
        "description": description,
        "url": url.as_str(),
        "method": method,
        "listedPrices": prices.iter().take(4).map(Listed::told).collect::<Vec<_>>(),
        "listedBy": market.base,
    }))
}

/// A price in a known token, as it is listed.
struct Listed<'a> {
    network: Network<'a>,
    symbol: &'static str,
    decimals: u8,
    amount: Amount,
}

impl<'a> Listed<'a> {
    fn of(offer: &'a Value) -> Option<Self> {
        let network = Network::parse(offer["network"].as_str()?).ok()?;
        let (symbol, decimals) = known_token(network, offer["asset"].as_str()?)?;
        // Version 1 has another name for the amount.
        let amount = offer["amount"].as_str().or_else(|| offer["maxAmountRequired"].as_str())?;
        Some(Self { network, symbol, decimals, amount: Amount::parse(amount).ok()? })
    }

    fn told(&self) -> Value {
        json!({
            "amount": decimal(&self.amount.to_string(), self.decimals.into()),
            "symbol": self.symbol,
            "network": self.network.as_str(),
        })
    }
}

fn fits(max: Money, price: Money) -> bool {
    use x402_std::core::budget::MONEY_DECIMALS;
    price.to_units(MONEY_DECIMALS).is_ok_and(|price| max.covers(price, MONEY_DECIMALS))
}

fn cleaned(text: &Value, most: usize) -> Option<String> {
    text.as_str().map(|text| words(text, most))
}

/// The URL of a 1ly endpoint, which is a path, or a user and a product.
fn absolute(base: &str, endpoint: &str) -> Option<String> {
    let url = if endpoint.starts_with("http://") || endpoint.starts_with("https://") {
        endpoint.into()
    } else if endpoint.starts_with("/api/") {
        format!("{base}{endpoint}")
    } else {
        format!("{base}/api/link/{}", endpoint.trim_start_matches('/'))
    };
    Url::parse(&url).ok().filter(is_short).map(Into::into)
}

/// Whether a URL is short enough for a model to read.
fn is_short(url: &Url) -> bool {
    url.as_str().len() <= 2_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_absolute() {
        for (endpoint, expected) in [
            ("joe/weather", "https://1ly.test/api/link/joe/weather"),
            ("/joe/weather", "https://1ly.test/api/link/joe/weather"),
            ("/api/link/joe/weather", "https://1ly.test/api/link/joe/weather"),
            ("https://api.example.com/x", "https://api.example.com/x"),
        ] {
            assert_eq!(absolute("https://1ly.test", endpoint).as_deref(), Some(expected));
        }
    }

    #[test]
    fn markets_have_a_kind_and_a_url() {
        for (text, expected) in [
            ("https://bazaar.test/x402/", Some((Kind::Bazaar, "https://bazaar.test/x402"))),
            ("bazaar:http://127.0.0.1:1", Some((Kind::Bazaar, "http://127.0.0.1:1"))),
            ("1ly:https://1ly.test/", Some((Kind::OneLy, "https://1ly.test"))),
            ("1ly.test", None),
            ("ftp://1ly.test", None),
            ("https://1ly.test/?q=", None),
            ("https://user@1ly.test/", None),
        ] {
            let found = Market::parse(text).ok();
            let found = found.as_ref().map(|market| (market.kind, market.base.as_str()));
            assert_eq!(found, expected, "{text}");
        }
    }
}

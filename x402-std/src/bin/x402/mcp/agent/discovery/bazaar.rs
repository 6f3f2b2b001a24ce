//! Bazaars, by the specification's section 8.

use reqwest::Url;
use serde_json::{Value, json};
use x402_std::core::{Amount, Money, Network};
use x402_std::extension::BoxFuture;

use super::{Found, Http, Listing, NoAnswer, Query, cleaned, is_short, not_a_list};
use crate::{decimal, known_token};

/// Most pages that are read of a Bazaar without a search, and items of one page.
const PAGES: usize = 5;
const PAGE: usize = 100;

#[derive(Debug)]
pub(super) struct Bazaar {
    pub(super) base: String,
}

impl Listing for Bazaar {
    fn base(&self) -> &str {
        &self.base
    }

    fn find<'a>(&'a self, http: &'a Http, query: &'a Query<'a>) -> BoxFuture<'a, Found> {
        Box::pin(self.search(http, query))
    }
}

impl Bazaar {
    async fn search(&self, http: &Http, query: &Query<'_>) -> Result<Vec<Value>, NoAnswer> {
        let search = format!("{}/discovery/search", self.base);
        let parameters = [
            ("query", query.text.to_owned()),
            ("type", "http".into()),
            ("limit", query.limit.to_string()),
        ];
        let items = match http.get(&search, &parameters).await {
            Ok(mut answer) => items(&mut answer)?,
            Err(NoAnswer { status: Some(_), .. }) => self.all(http, query).await?,
            Err(error) => return Err(error),
        };
        Ok(items.iter().filter_map(|item| listed(item, &self.base, query.max)).collect())
    }

    /// Returns the items of a listing with at least one of the words; items with more of them come first.
    async fn all(&self, http: &Http, query: &Query<'_>) -> Result<Vec<Value>, NoAnswer> {
        let url = format!("{}/discovery/resources", self.base);
        let words: Vec<_> = query.text.split_whitespace().map(str::to_lowercase).collect();
        let mut found = Vec::new();
        for page in 0..PAGES {
            let parameters = [
                ("type", "http".to_owned()),
                ("limit", PAGE.to_string()),
                ("offset", (page * PAGE).to_string()),
            ];
            let mut answer = http.get(&url, &parameters).await?;
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

/// Returns a Bazaar's entry of a resource, as the model sees it. Its members may be in several places.
fn listed(item: &Value, base: &str, max: Option<Money>) -> Option<Value> {
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
        "listedBy": base,
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

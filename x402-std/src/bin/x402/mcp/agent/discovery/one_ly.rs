//! 1ly's store, and those like it.

use reqwest::Url;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use x402_std::core::Money;
use x402_std::core::budget::MONEY_DECIMALS;
use x402_std::extension::BoxFuture;

use super::{Found, Http, Listing, NoAnswer, Query, answer, cleaned, is_short, not_a_list};

#[derive(Debug)]
pub(super) struct OneLy {
    pub(super) base: String,
}

impl Listing for OneLy {
    fn base(&self) -> &str {
        &self.base
    }

    fn find<'a>(&'a self, http: &'a Http, query: &'a Query<'a>) -> BoxFuture<'a, Found> {
        Box::pin(self.search(http, query))
    }

    fn review<'a>(
        &'a self,
        http: &'a Http,
        review: &'a Value,
    ) -> Option<BoxFuture<'a, Result<Value, NoAnswer>>> {
        let url = Url::parse(&format!("{}/api/reviews", self.base)).ok()?;
        let request = http.client(&url).post(url);
        let request = request.header(CONTENT_TYPE, "application/json").body(review.to_string());
        Some(Box::pin(answer(request)))
    }
}

impl OneLy {
    async fn search(&self, http: &Http, query: &Query<'_>) -> Result<Vec<Value>, NoAnswer> {
        let mut parameters = vec![("q", query.text.to_owned()), ("limit", query.limit.to_string())];
        if let Some(max) = query.max {
            parameters.push(("maxPrice", max.to_string().trim_start_matches('$').into()));
        }
        let answer = http.get(&format!("{}/api/discover", self.base), &parameters).await?;
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
                "url": absolute(&self.base, endpoint)?,
                "listedPrices": price.map(|price| json!({
                    "amount": price.to_string().trim_start_matches('$'),
                    "symbol": cleaned(&result["currency"], 12),
                })).into_iter().collect::<Vec<_>>(),
                "seller": cleaned(&seller["displayName"], 60).or(cleaned(&seller["username"], 60)),
                "buyers": result["stats"]["buyers"].as_u64(),
                "ratingPercent": result["stats"]["rating"].as_f64(),
                "listedBy": self.base,
            }))
        });
        Ok(listed.collect())
    }
}

fn fits(max: Money, price: Money) -> bool {
    price.to_units(MONEY_DECIMALS).is_ok_and(|price| max.covers(price, MONEY_DECIMALS))
}

/// Returns the URL of a 1ly endpoint, which is a URL, a path, or a user and a product.
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
}

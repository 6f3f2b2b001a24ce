//! The page that a person sees: the price, and the browser's wallets to pay it with.
//!
//! ```no_run
//! # fn run(facilitator: x402_std::facilitator::RemoteFacilitator) -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use axum::{Router, routing::get};
//! use x402_std::page::Page;
//! use x402_std::seller::server::PaymentLayer;
//! use x402_std::seller::{Seller, exact};
//!
//! let seller = Arc::new(Seller::new(facilitator));
//! let offer = exact("eip155:1329", "0x90F79bf6EB2c4f870365E785982E1f101E93b906", "$0.01")?;
//! let paid = PaymentLayer::new(seller, offer).with_page(Page::new().with_seller("Weather & Sons"));
//! let app: Router = Router::new()
//!     .route("/report", get(|| async { "sunny" }).layer(paid))
//!     .route("/", get(|| async { "free" }));
//! # Ok(())
//! # }
//! ```
//!
//! A request gets the page if `Accept` names `text/html` and the agent is a browser. Status and headers are those
//! of the challenge, and every other request gets JSON, as without a page. A browser's `User-Agent` contains
//! `Mozilla`. Behind a proxy that speaks TLS, set [`PaymentLayer::with_base_url`]. The page is one file of 38 KB,
//! and a strict `Content-Security-Policy` is with it. It loads nothing. It asks the resource itself, and for
//! payments on Solana a node: see [`Page::with_node`].
//!
//! The page finds wallets by EIP-6963 and the Wallet Standard. It signs once. The signed payment stays in the
//! browser's storage while it is valid, and it is presented again after a reload or a lost answer.
//!
//! After the payment the browser asks for the resource by itself. Its request has the payment in cookies, which
//! only this path gets. The layer gives the same answer for ten minutes
//! ([`PaidRequest::again`](crate::extension::PaidRequest::again)), so a reload pays nothing. It keeps the answer in
//! memory, for a random token of the page: a settled payment is public on its chain. Several processes need
//! connections that stick to one of them. The handler does not see these cookies. An answer of an offer that is
//! paid [`upfront`](PaymentRequirements::upfront) is made once, and a reload asks for a new payment.
//!
//! The page needs the feature `server`. With an offer on Solana, use [`PaymentLayer::from_supported`], which adds
//! the facilitator's fee payer, and set a node that admits your origin: the public one mostly refuses browsers.
//!
//! [`PaymentLayer::with_base_url`]: crate::seller::server::PaymentLayer::with_base_url
//! [`PaymentLayer::from_supported`]: crate::seller::server::PaymentLayer::from_supported
//!
//! The page cannot pay by Permit2, and not in v1 transactions on Solana. Requests with more than 64 KB of body
//! are not repeated from it.

use std::fmt;
use std::fmt::Write as _;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use url::Url;
use x402_core::Version;
use x402_core::buyer::Flow;
use x402_core::crypto::sha256;

use crate::message::{PaymentRequirements, SettleResponse, decimal, encode_header};
use crate::seller::Offers;
use crate::transport::is_private;

mod offer;

use offer::{Known, on_evm, on_solana};

const SCRIPT: &str = include_str!("page/page.js");
const STYLE: &str = include_str!("page/page.css");
const TEXTS: &str = include_str!("page/texts.json");

/// The script's name in the policy.
static SCRIPT_HASH: LazyLock<String> = LazyLock::new(|| hash(SCRIPT));

/// The place of the page in a template.
const PLACE: &str = "<!--x402-->";

/// Most bytes of a request's body that the page sends again.
const BODY_BYTES: usize = 64 * 1024;

/// A page for people: see the [module](self).
#[derive(Clone, Debug)]
pub struct Page {
    seller: Option<String>,
    texts: Map<String, Value>,
    style: String,
    style_hash: String,
    template: Option<String>,
    /// Nodes of Solana networks, by network.
    nodes: Vec<(String, String)>,
}

/// The error of a setting of a [`Page`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PageError {
    /// The texts are not an object of JSON texts.
    Texts,
    /// There is no text of this name.
    UnknownText(String),
    /// A style contains `</style`.
    Style,
    /// A template does not contain `<!--x402-->` exactly once.
    Template,
    /// A network is none of Solana's, or a node's URL is neither https nor on this machine.
    Node,
}

impl fmt::Display for PageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Texts => {
                f.write_str("the page's texts must be a JSON object whose values are texts")
            }
            Self::UnknownText(name) => write!(f, "the page has no text named {name:?}"),
            Self::Style => f.write_str("the page's style must not contain </style"),
            Self::Template => write!(f, "the page's template must contain {PLACE} exactly once"),
            Self::Node => f.write_str(
                "a node for the page needs a Solana network, and an https URL without credentials",
            ),
        }
    }
}

impl std::error::Error for PageError {}

impl Default for Page {
    fn default() -> Self {
        Self::new()
    }
}

impl Page {
    /// Returns the page in English, in its own colours.
    pub fn new() -> Self {
        let texts = serde_json::from_str(TEXTS).unwrap_or_default();
        let (style, style_hash) = (STYLE.into(), hash(STYLE));
        Self { seller: None, texts, style, style_hash, template: None, nodes: Vec::new() }
    }

    /// Sets the seller's name, which the page shows instead of the host.
    pub fn with_seller(self, name: impl Into<String>) -> Self {
        Self { seller: Some(name.into()), ..self }
    }

    /// Replaces texts, for another language or other words. `json` is an object of texts by name. Texts that are
    /// left out stay English. `{name}` in a text stands for a value, and no text is HTML. The names, and the English
    /// texts, are in `x402-std/src/page/texts.json`; `lang` is the language's tag.
    ///
    /// # Errors
    /// [`PageError::Texts`] or [`PageError::UnknownText`].
    pub fn with_texts(mut self, json: &str) -> Result<Self, PageError> {
        let texts: Map<String, Value> = serde_json::from_str(json).map_err(|_| PageError::Texts)?;
        for (name, text) in texts {
            if !text.is_string() {
                return Err(PageError::Texts);
            }
            match self.texts.get_mut(&name) {
                Some(known) => *known = text,
                // Further reasons may have texts, too.
                None if name.starts_with("reason:") => {
                    self.texts.insert(name, text);
                }
                None => return Err(PageError::UnknownText(name)),
            }
        }
        Ok(self)
    }

    /// Adds CSS after the page's own. The colours are the variables `--x402-accent`, `--x402-on-accent`,
    /// `--x402-text`, `--x402-quiet`, `--x402-ground`, `--x402-card`, `--x402-line`, `--x402-bad` and
    /// `--x402-good` of `:root`.
    ///
    /// # Errors
    /// [`PageError::Style`].
    pub fn with_style(mut self, css: &str) -> Result<Self, PageError> {
        if css.to_ascii_lowercase().contains("</style") {
            return Err(PageError::Style);
        }
        self.style.push_str(css);
        self.style_hash = hash(&self.style);
        Ok(self)
    }

    /// Sets a whole HTML document around the page, which takes the place of the comment `<!--x402-->`: once, in the
    /// body. The document may have images and styles from the same origin. Its scripts, and styles inside it, do
    /// not run.
    ///
    /// # Errors
    /// [`PageError::Template`].
    pub fn with_template(self, html: impl Into<String>) -> Result<Self, PageError> {
        let html = html.into();
        let is_one = html.matches(PLACE).count() == 1;
        if is_one { Ok(Self { template: Some(html), ..self }) } else { Err(PageError::Template) }
    }

    /// Sets the node that the page asks for a balance and a blockhash on a Solana network, instead of the
    /// network's public one. Public nodes often refuse browsers. Everybody who opens the page sees the URL.
    ///
    /// # Errors
    /// [`PageError::Node`].
    pub fn with_node(mut self, network: &str, url: &str) -> Result<Self, PageError> {
        let network = x402_core::Network::parse(network).map_err(|_| PageError::Node)?;
        let network = network.caip2().filter(|network| network.solana().is_some());
        let network = network.ok_or(PageError::Node)?.to_string();
        let parsed = Url::parse(url).map_err(|_| PageError::Node)?;
        if !is_private(&parsed) || !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(PageError::Node);
        }
        self.nodes.retain(|(known, _)| *known != network);
        self.nodes.push((network, parsed.into()));
        Ok(self)
    }

    /// Returns the document, and its `Content-Security-Policy`.
    pub(crate) fn render(
        &self,
        priced: &Offers,
        visit: &Visit<'_>,
        refused: Option<&Refused>,
    ) -> Option<(String, String)> {
        let error = refused.map_or("", |refused| refused.error.as_str());
        let challenge = priced.challenge(Version::V2, error).ok()?;
        let challenge: Challenge<'_> = serde_json::from_str(&challenge).ok()?;
        let too_long = visit.too_long || visit.body.len() > BODY_BYTES;
        let offers: Vec<_> =
            priced.accepts.iter().map(|offer| self.offer(offer, !too_long)).collect();
        let text =
            |name: &'static str| self.texts.get(name).and_then(Value::as_str).unwrap_or(name);
        let (url, description) = (visit.url, priced.resource.description.as_deref());
        let command = format!("x402 pay {}", quoted(url));
        let title = description.filter(|text| !text.is_empty()).unwrap_or(text("title"));
        let data = json!({
            "key": visit.key,
            "now": visit.now,
            "kept": visit.kept,
            "method": visit.method,
            "body": (!visit.body.is_empty() && !too_long).then(|| encode_header(visit.body)),
            "tooLong": too_long,
            "contentType": visit.content_type,
            "seller": self.seller,
            "resource": { "url": url, "description": description },
            "command": command,
            "offers": offers,
            "raw": {
                "resource": challenge.resource.map(RawValue::get),
                "accepts": challenge.accepts.iter().map(|raw| raw.get()).collect::<Vec<_>>(),
                "extensions": challenge.extensions.map(RawValue::get),
            },
            "refusal": refused.map(|refused| json!({
                "status": refused.status,
                "error": refused.error,
                "receipt": refused.receipt.as_ref().and_then(|receipt| receipt.to_json().ok())
                    .and_then(|json| serde_json::from_str::<Value>(&json).ok()),
            })),
            "texts": self.texts,
        });
        let mut part = String::with_capacity(SCRIPT.len() + STYLE.len() + 8192);
        write!(
            part,
            "<style>{}</style><main id=\"x402\"><h1>{}</h1><p>{}</p><noscript><p>{}</p><pre>{}</pre></noscript></main>\
             <script type=\"application/json\" id=\"x402-data\">{}</script><script type=\"module\">{SCRIPT}</script>",
            self.style,
            escaped(title),
            escaped(&offers.iter().filter_map(|offer| offer["price"].as_str()).collect::<Vec<_>>().join(", ")),
            escaped(text("noScript")),
            escaped(&command),
            in_script(&data.to_string()),
        )
        .ok()?;
        let html = match &self.template {
            Some(template) => {
                let (before, after) = template.split_once(PLACE)?;
                format!("{before}{part}{after}")
            }
            None => format!(
                "<!doctype html><html lang=\"{}\"><head><meta charset=\"utf-8\">\
                 <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
                 <title>{}</title></head><body>{part}</body></html>",
                escaped(text("lang")),
                escaped(title),
            ),
        };
        let nodes = offers.iter().filter_map(|offer| origin(offer["rpc"].as_str()?));
        let policy = format!(
            "default-src 'none'; script-src {}; style-src 'self' {}; img-src 'self' data:; \
             connect-src 'self'{}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
            *SCRIPT_HASH,
            self.style_hash,
            nodes.fold(String::new(), |all, node| format!("{all} {node}")),
        );
        Some((html, policy))
    }

    /// Returns an offer as the page's script needs it.
    fn offer(&self, offer: &PaymentRequirements, is_repeatable: bool) -> Value {
        let network = offer.network.as_view();
        let network = network.caip2().unwrap_or(network);
        let known = match (network.eip155(), network.solana()) {
            (Some(chain), _) => on_evm(offer, chain),
            (_, Some(reference)) => on_solana(offer, reference),
            _ => None,
        };
        let Some(Known { symbol, decimals, name, is_test, payable, more }) = known else {
            let price = format!("{} × {}", offer.amount, offer.asset);
            return json!({ "price": price, "name": network.to_string(), "payable": false });
        };
        let mut shown = json!({
            "price": format!("{} {symbol}", decimal(&offer.amount.to_string(), decimals.into())),
            "symbol": symbol,
            "decimals": decimals,
            "name": name,
            "testnet": is_test,
            "payable": payable && is_repeatable,
            "upfront": Flow::from_requirements(&offer.as_view()) == Some(Flow::Upfront),
        });
        if let (Value::Object(shown), Value::Object(more)) = (&mut shown, more) {
            shown.extend(more);
        }
        if let Some((_, node)) = self.nodes.iter().find(|(known, _)| *known == network.as_str()) {
            shown["rpc"] = json!(node);
        }
        shown
    }
}

/// A request that the page stands for, and repeats.
pub(crate) struct Visit<'a> {
    pub(crate) url: &'a str,
    pub(crate) method: &'a str,
    /// The request's body; it may be empty.
    pub(crate) body: &'a [u8],
    /// Whether the body is too long to be sent again.
    pub(crate) too_long: bool,
    pub(crate) content_type: Option<&'a str>,
    /// The request's name among the cookies.
    pub(crate) key: &'a str,
    /// The time, as payments see it.
    pub(crate) now: u64,
    /// Seconds for which a paid answer is given again.
    pub(crate) kept: u64,
}

/// Why the payment that came with a request is refused.
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) error: String,
    pub(crate) receipt: Option<Box<SettleResponse>>,
}

/// A challenge's parts in their own spelling, which a payment repeats.
#[derive(Deserialize)]
struct Challenge<'a> {
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
    #[serde(borrow)]
    accepts: Vec<&'a RawValue>,
    #[serde(borrow)]
    extensions: Option<&'a RawValue>,
}

/// Returns a text for HTML, within an element or an attribute in double quotes.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // A text must not turn the direction of what is around it.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => safe.push('\u{fffd}'),
            char => safe.push(char),
        }
    }
    safe
}

/// Returns JSON that is safe within a `script` element.
fn in_script(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for char in json.chars() {
        match char {
            '<'
            | '>'
            | '&'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' => {
                write!(safe, "\\u{:04x}", u32::from(char)).ok();
            }
            char => safe.push(char),
        }
    }
    safe
}

/// Returns a text's name in a `Content-Security-Policy`.
fn hash(text: &str) -> String {
    format!("'sha256-{}'", encode_header(&sha256(&[text.as_bytes()])))
}

/// Returns a word for a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Returns the origin of a URL, for a `Content-Security-Policy`.
fn origin(url: &str) -> Option<String> {
    Some(Url::parse(url).ok()?.origin().ascii_serialization())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seller::exact;

    const PAYEE: &str = "0x90F79bf6EB2c4f870365E785982E1f101E93b906";
    const HOSTILE: &str = "</script><script>alert(1)</script><!--x402-->\u{2028}\u{202e}&\"'`${x}";

    fn render(page: &Page, offers: Offers, url: &str, body: &[u8]) -> (String, String) {
        let visit = Visit {
            url,
            method: "GET",
            body,
            too_long: false,
            content_type: Some(HOSTILE),
            key: "0011223344556677",
            now: 1_800_000_000,
            kept: 600,
        };
        let refused = Refused { status: 402, error: HOSTILE.into(), receipt: None };
        page.render(&offers, &visit, Some(&refused)).unwrap()
    }

    fn data(html: &str) -> Value {
        let (_, rest) = html.split_once("id=\"x402-data\">").unwrap();
        serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
    }

    #[test]
    fn texts_from_outside_stay_texts() {
        let offer = exact("eip155:1328", PAYEE, "$0.01").unwrap();
        let mut offers = Offers::new([offer.with_extra("note", HOSTILE)]);
        offers.resource.url = format!("http://shop.test/{HOSTILE}");
        let offers = offers.with_description(HOSTILE, "text/plain");
        let page = Page::new().with_seller(HOSTILE);
        let page = page.with_texts(&json!({ "noScript": HOSTILE, "lang": HOSTILE }).to_string());
        let page = page.unwrap().with_template("<html><title>a</title><!--x402--></html>").unwrap();
        let url = format!("http://shop.test/{HOSTILE}");
        let (html, policy) = render(&page, offers, &url, HOSTILE.as_bytes());
        assert_eq!(html.matches("<script").count(), 2, "{html}");
        assert_eq!(html.matches("</script").count(), 2);
        assert!(!html.contains("<!--") && !html.contains('\u{202e}'));
        let script = html.split_once("id=\"x402-data\">").unwrap().1;
        assert!(!script.contains('\u{2028}'));
        assert!(policy.is_ascii() && !policy.contains("alert"));
        let data = data(&html);
        for text in [&data["seller"], &data["resource"]["description"], &data["refusal"]["error"]] {
            assert_eq!(text, HOSTILE);
        }
        let command = data["command"].as_str().unwrap();
        assert_eq!(command, format!("x402 pay '{}'", url.replace('\'', r"'\''")));
        // The payment repeats the offer as it is written.
        let accepted: Value =
            serde_json::from_str(data["raw"]["accepts"][0].as_str().unwrap()).unwrap();
        assert_eq!(accepted["extra"]["note"], HOSTILE);
    }

    #[test]
    fn offers_are_shown_and_paid_as_far_as_they_can_be() {
        let payee = "GyGKxMyg1p9SsHfm15MkNUu1u9TN2JtTspcdmrtGUdse";
        let solana = exact("solana-devnet", payee, "$1.50").unwrap();
        let paying =
            solana.clone().with_extra("feePayer", "AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9");
        let evm = |network| exact(network, PAYEE, "$0.000001").unwrap();
        let unknown = PaymentRequirements { asset: PAYEE.into(), ..evm("eip155:1329") };
        let offers = [
            evm("eip155:1329"),
            paying.clone(),
            solana,
            paying.clone().with_extra("transactionVersions", json!([1])),
            unknown,
            evm("eip155:84532").with_extra("assetTransferMethod", "permit2"),
            evm("eip155:84532").upfront(),
            evm("eip155:143"),
        ];
        let page = Page::new().with_node("solana-devnet", "http://127.0.0.1:8899").unwrap();
        let (html, policy) = render(&page, Offers::new(offers), "http://shop.test/", b"");
        let data = data(&html);
        let shown: Vec<_> = data["offers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|offer| {
                (
                    offer["price"].as_str().unwrap(),
                    offer["name"].as_str().unwrap(),
                    offer["payable"] == true,
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("0.000001 USDC", "Sei", true),
                ("1.5 USDC", "Solana Devnet", true),
                ("1.5 USDC", "Solana Devnet", false),
                ("1.5 USDC", "Solana Devnet", false),
                ("1 × 0x90F79bf6EB2c4f870365E785982E1f101E93b906", "eip155:1329", false),
                ("0.000001 USDC", "Base Sepolia", false),
                ("0.000001 USDC", "Base Sepolia", true),
                ("0.000001 USDC", "eip155:143", true),
            ]
        );
        assert_eq!(data["offers"][6]["upfront"], true);
        assert_eq!(data["offers"][0]["add"]["rpcUrls"][0], "https://evm-rpc.sei-apis.com");
        assert!(policy.contains("connect-src 'self' http://127.0.0.1:8899"), "{policy}");
        assert!(data["body"].is_null());
    }

    #[test]
    fn settings_that_cannot_be_meant_are_refused() {
        let page = Page::new;
        let node = |network, url| page().with_node(network, url).map(drop);
        let errors = [
            (page().with_texts("[]").map(drop), PageError::Texts),
            (page().with_texts(r#"{"title":1}"#).map(drop), PageError::Texts),
            (
                page().with_texts(r#"{"titel":"x"}"#).map(drop),
                PageError::UnknownText("titel".into()),
            ),
            (page().with_style("a{}</STYLE>").map(drop), PageError::Style),
            (page().with_template("<html>").map(drop), PageError::Template),
            (page().with_template("<!--x402--><!--x402-->").map(drop), PageError::Template),
            (node("eip155:1", "https://a.test"), PageError::Node),
            (node("solana", "http://a.test"), PageError::Node),
            (node("solana", "https://a:b@a.test"), PageError::Node),
            (node("solana", "rubbish"), PageError::Node),
            (node("", "https://a.test"), PageError::Node),
        ];
        for (result, error) in errors {
            assert_eq!(result, Err(error));
        }
        let words = r#"{"lang":"pt","title":"Pagamento","reason:busy":"Ocupado"}"#;
        let page = Page::new().with_texts(words).unwrap();
        let offers = Offers::new([exact("eip155:1328", PAYEE, "$0.01").unwrap()]);
        let (html, _) = render(&page, offers, "http://shop.test/", b"");
        assert!(
            html.starts_with("<!doctype html><html lang=\"pt\"")
                && html.contains("<title>Pagamento")
        );
    }

    /// Every text that the script names is in the table, and each of the table is used.
    #[test]
    fn the_table_of_texts_is_complete() {
        let texts: Map<String, Value> = serde_json::from_str(TEXTS).unwrap();
        let calls = SCRIPT.split("say(").chain(SCRIPT.split("said(")).skip(1);
        for call in calls {
            let Some(name) = call.strip_prefix('\'').and_then(|call| call.split('\'').next())
            else {
                continue;
            };
            assert!(texts.contains_key(name), "{name}");
        }
        let rust = include_str!("page.rs");
        for name in texts.keys().filter(|name| !name.starts_with("reason:")) {
            let (single, double) = (format!("'{name}'"), format!("text(\"{name}\")"));
            assert!(SCRIPT.contains(&single) || rust.contains(&double), "{name} is not used");
        }
    }
}

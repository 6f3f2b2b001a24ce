use std::env;
use std::fs::{self, OpenOptions};
use std::future::Future;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::HeaderValue;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use clap::Args;
use reqwest::Url;
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer};
use x402_std::SystemClock;
use x402_std::core::http;
use x402_std::exposed;
use x402_std::facilitator::{self, FacilitatorError, RemoteFacilitator};
use x402_std::message::PaymentRequirements;
use x402_std::page::{Page, PageError};
use x402_std::seller::server::{BODY_LIMIT, PaymentLayer, REQUEST_LIMIT};
use x402_std::seller::{OfferError, Offers, PAYER_AT_ONCE, Seller, exact};
use x402_std::store::{ClaimStore, SqliteStore};
use x402_std::svm::MEMO_BYTES;

use crate::facilitator::{Fund, simulated};
use crate::listen::Listen;
use crate::log::{self, Format};
use crate::upstream::{self, Upstream};
use crate::{Failure, Outcome, input, talk};

/// Longest wait for a facilitator's list of what it supports.
const SUPPORTED: Duration = Duration::from_secs(10);

/// Time after which the claim of a server that died goes to the next presenter of its payment.
const LEASE: Duration = Duration::from_secs(120);
/// The variable for a facilitator's bearer token.
const FACILITATOR_TOKEN: &str = "X402_FACILITATOR_TOKEN";

/// Most bytes that are read of a file of the page.
const PAGE_BYTES: usize = 256 * 1024;

/// Most bytes that are read of a token file.
const TOKEN_BYTES: usize = 8 * 1024;

/// Charges for every request, and answers the paid ones itself or from another server.
///
/// Errors, 304 and redirects to another origin are free; the last two have neither body nor cookie.
/// A HEAD is answered with the price of a GET.
#[derive(Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    selling: Selling,
    /// Where to listen
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:4021")]
    listen: SocketAddr,
    /// Server that gets the paid requests, their targets byte for byte. Paths that lead out of the
    /// URL's path, or may be read so, are refused. A name and a password in the URL are sent along.
    /// X-Forwarded-For and Forwarded have the payer's address; those in the request are dropped
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// Start of URLs in challenges, such as `https://api.example.com`, instead of http:// and the
    /// request's Host: for a server behind a proxy that speaks TLS
    #[arg(long, value_name = "URL", value_parser = base_url)]
    base_url: Option<String>,
    /// Settles before the work is done, instead of after it. Then answers of any length are streamed,
    /// and every answer is paid for, errors too
    #[arg(long)]
    upfront: bool,
    /// Charges for redirects to other origins too: for downloads behind signed URLs
    #[arg(long)]
    charge_redirects: bool,
    /// Longest answer that is sold, in bytes: it is held back until it is paid for
    #[arg(long, value_name = "BYTES", default_value_t = BODY_LIMIT, conflicts_with = "upfront")]
    body_limit: usize,
    /// Longest body of a paid request, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = REQUEST_LIMIT)]
    request_limit: usize,
    /// Longest pause in an answer of --upstream, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = upstream::READ_SECONDS, requires = "upstream",
          value_parser = clap::value_parser!(u64).range(1..))]
    upstream_timeout: u64,
    /// Origin whose pages may buy here, such as `https://shop.example.com`, or * for all; may be
    /// repeated. Without it, browsers hide answers from pages of other origins
    #[arg(long, value_name = "ORIGIN|*", value_parser = origin)]
    cors: Vec<HeaderValue>,
    /// Version of the challenge in the body; the header has version 2. Payments are accepted in both
    #[arg(long, value_name = "1|2", default_value_t = 2,
          value_parser = clap::value_parser!(u8).range(1..=2))]
    x402_version: u8,
    #[command(flatten)]
    page: PageOptions,
}

/// The page for people.
#[derive(Args)]
struct PageOptions {
    /// No page: browsers get JSON, as programs do. Without it, they get a page on which a person pays with a
    /// wallet
    #[arg(long)]
    no_page: bool,
    /// The seller's name on the page, instead of the host: a text that is only shown
    #[arg(long, value_name = "NAME", conflicts_with = "no_page")]
    page_seller: Option<String>,
    /// File with texts of the page: a JSON object, of the names in x402-std/src/page/texts.json
    #[arg(long, value_name = "FILE", conflicts_with = "no_page")]
    page_texts: Option<PathBuf>,
    /// File with CSS that is added to the page's own. Colours are the variables --x402-accent, --x402-on-accent,
    /// --x402-text, --x402-quiet, --x402-ground, --x402-card, --x402-line, --x402-bad and --x402-good of :root
    #[arg(long, value_name = "FILE", conflicts_with = "no_page")]
    page_style: Option<PathBuf>,
    /// File with the HTML around the page, which takes the place of <!--x402-->
    #[arg(long, value_name = "FILE", conflicts_with = "no_page")]
    page_template: Option<PathBuf>,
    /// Node that the page asks on a Solana network, such as `solana=https://rpc.example.com`. Everybody can read
    /// it in the page. May be repeated
    #[arg(long, value_name = "NETWORK=URL", conflicts_with = "no_page")]
    page_node: Vec<String>,
}

impl PageOptions {
    /// Returns the page; `None` with `--no-page`.
    fn page(&self) -> Result<Option<Page>, Failure> {
        if self.no_page {
            return Ok(None);
        }
        let text = |option: &str, path: &Path| {
            let bytes = input::file(path, PAGE_BYTES).map_err(|failure| failure.about(option))?;
            String::from_utf8(bytes).map_err(|_| Failure::unusable("not UTF-8").about(option))
        };
        let wrong = |option: &str, error: PageError| Failure::unusable(error).about(option);
        let mut page = Page::new();
        if let Some(name) = &self.page_seller {
            page = page.with_seller(name);
        }
        if let Some(path) = &self.page_texts {
            let option = "--page-texts";
            page = page.with_texts(&text(option, path)?).map_err(|error| wrong(option, error))?;
        }
        if let Some(path) = &self.page_style {
            let option = "--page-style";
            page = page.with_style(&text(option, path)?).map_err(|error| wrong(option, error))?;
        }
        if let Some(path) = &self.page_template {
            let option = "--page-template";
            page = page.with_template(text(option, path)?).map_err(|error| wrong(option, error))?;
        }
        for node in &self.page_node {
            let (network, url) = node.split_once('=').unwrap_or((node, ""));
            page = page.with_node(network, url).map_err(|error| wrong("--page-node", error))?;
        }
        Ok(Some(page))
    }
}

/// The price, the payee and the facilitator.
#[derive(Args)]
pub(crate) struct Selling {
    /// Address that is paid; one for each --network
    #[arg(long, value_name = "ADDR", required = true)]
    pay_to: Vec<String>,
    /// Price of a request, such as $0.01
    #[arg(long, value_name = "MONEY")]
    price: String,
    /// Network of the payment, such as eip155:84532 or solana-devnet, in its default stablecoin. May
    /// be repeated for as many offers, each with its own --pay-to in the same order
    #[arg(long = "network", value_name = "NETWORK", required = true)]
    networks: Vec<String>,
    /// URL of a facilitator, or "simulated" for one in this process: no chain, no money
    #[arg(long, value_name = "URL|simulated")]
    facilitator: String,
    /// File with the bearer token for the facilitator. Without it, X402_FACILITATOR_TOKEN is sent, if
    /// it is set
    #[arg(long, value_name = "FILE")]
    facilitator_token_file: Option<PathBuf>,
    /// Memo that payments on Solana must have, up to 256 bytes, instead of a random one. Official
    /// clients fail above about 50 characters, and pay the same memo once a minute
    #[arg(long, value_name = "TEXT", value_parser = memo)]
    memo: Option<String>,
    /// Gives an address, EVM or Solana, a balance in the simulated ledger: units, or money ($1).
    /// Without an address, the keys in X402_EVM_KEY and X402_SVM_KEY get it; may be repeated
    #[arg(long, value_name = "[ADDR=]AMOUNT", value_parser = Fund::parse)]
    fund: Vec<Fund>,
    /// File for claims (SQLite). If this server dies during a request, the payer can present the same
    /// payment again with the same request, while it is valid: the work is done once more, and the
    /// payer is served. If other servers use the file, answers may be `pending` for two minutes first.
    /// A secret, by which the facilitator knows this server, is kept beside it in FILE.secret
    #[arg(long, value_name = "FILE")]
    claims: Option<PathBuf>,
    /// Payments of one payer that are worked on at the same time; more are refused for now
    #[arg(long, value_name = "NUMBER", default_value_t = PAYER_AT_ONCE,
          value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    per_payer: usize,
    /// Format of lines on stderr: text for people, or JSON objects with their time
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    log: Format,
}

/// A use of a seller.
pub(crate) trait Shop {
    /// Sells for these terms: those of `--price`, and then those of further prices.
    fn open<F, S>(self, seller: Seller<F, S>, offers: Vec<Offers>) -> impl Future<Output = Outcome>
    where
        F: facilitator::Facilitator + 'static,
        S: ClaimStore + 'static;
}

impl Serve {
    pub(crate) async fn run(&self) -> Outcome {
        self.selling.run(&[], self).await
    }
}

impl Selling {
    /// Opens a shop that has `--price` and further prices, each with the option it is given by.
    pub(crate) async fn run(&self, further: &[(&str, &str)], shop: impl Shop) -> Outcome {
        log::write_as(self.log);
        log::start(None);
        let mut all = vec![self.offers("--price", &self.price)?];
        for (option, price) in further {
            all.push(self.offers(option, price)?);
        }
        if self.facilitator == "simulated" {
            if self.facilitator_token_file.is_some() {
                return Err(Failure::unusable(
                    "--facilitator-token-file is for a facilitator over HTTP: leave it out",
                ));
            }
            let networks: Vec<_> =
                all.iter().flatten().map(|offer| offer.network.clone()).collect();
            let facilitator = simulated(&networks, &self.fund)?;
            return self.open(all, facilitator, shop).await;
        }
        if !self.fund.is_empty() {
            return Err(Failure::unusable("--fund is for --facilitator simulated: leave it out"));
        }
        let mut remote = RemoteFacilitator::new(&self.facilitator).map_err(Failure::unusable)?;
        if let Some(token) = self.facilitator_token()? {
            remote = remote.with_bearer(token);
        }
        self.open(all, remote, shop).await
    }

    /// The bearer token for the facilitator.
    fn facilitator_token(&self) -> Result<Option<String>, Failure> {
        let variable = env::var_os(FACILITATOR_TOKEN).filter(|token| !token.is_empty());
        let (from, token) = match (&self.facilitator_token_file, variable) {
            (Some(path), _) => {
                let at = "--facilitator-token-file";
                let bytes = input::file(path, TOKEN_BYTES).map_err(|failure| failure.about(at))?;
                (at, String::from_utf8(bytes).unwrap_or_default())
            }
            (None, Some(token)) => (FACILITATOR_TOKEN, token.into_string().unwrap_or_default()),
            (None, None) => return Ok(None),
        };
        let token = token.trim();
        let is_one = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        if is_one {
            Ok(Some(token.into()))
        } else {
            Err(Failure::unusable("not a token of visible ASCII characters").about(from))
        }
    }

    /// An offer for each network and payee.
    fn offers(&self, option: &str, price: &str) -> Result<Vec<PaymentRequirements>, Failure> {
        if self.networks.len() != self.pay_to.len() {
            return Err(Failure::unusable(
                "give one --pay-to for each --network, in the same order",
            ));
        }
        let mut offers = Vec::new();
        for (network, pay_to) in self.networks.iter().zip(&self.pay_to) {
            let offer = exact(network, pay_to, price).map_err(|error| {
                let at = match error {
                    OfferError::Price(_) => option,
                    OfferError::PayTo => "--pay-to",
                    _ => "--network",
                };
                let nth = if offers.is_empty() { "" } else { ", not the first" };
                Failure::unusable(format_args!("{at}{nth}: {error}"))
            })?;
            offers.push(match &self.memo {
                Some(memo) if is_on_solana(&offer) => offer.with_extra("memo", memo.as_str()),
                _ => offer,
            });
        }
        if self.memo.is_some() && !offers.iter().any(is_on_solana) {
            return Err(Failure::unusable("--memo is for Solana networks: leave it out"));
        }
        Ok(offers)
    }

    async fn open<F>(
        &self,
        all: Vec<Vec<PaymentRequirements>>,
        facilitator: F,
        shop: impl Shop,
    ) -> Outcome
    where
        F: facilitator::Facilitator + 'static,
    {
        let offers = with_supported(all, &facilitator).await?;
        let Some(path) = &self.claims else {
            let seller = Seller::new(facilitator).with_payer_limit(self.per_payer);
            return checked(seller, offers, shop).await;
        };
        let store = SqliteStore::open(path)
            .map_err(|error| {
                Failure::refused(format_args!("--claims: {}: {error}", path.display()))
            })?
            .with_lease(LEASE);
        let mut beside = path.clone().into_os_string();
        beside.push(".secret");
        let secret = secret(Path::new(&beside))
            .map_err(|error| Failure::refused(format_args!("--claims: FILE.secret: {error}")))?;
        let seller = Seller::with_parts(facilitator, store, SystemClock).with_secret(secret);
        let seller = seller.with_payer_limit(self.per_payer);
        checked(seller, offers, shop).await
    }
}

async fn checked<F, S>(seller: Seller<F, S>, offers: Vec<Offers>, shop: impl Shop) -> Outcome
where
    F: facilitator::Facilitator + 'static,
    S: ClaimStore + 'static,
{
    for offers in &offers {
        // Everything else about the offers was checked before.
        seller.check(offers).map_err(|_| {
            Failure::unusable("the facilitator names no fee payer for Solana: use another one")
        })?;
    }
    shop.open(seller, offers).await
}

impl Shop for &Serve {
    async fn open<F, S>(self, seller: Seller<F, S>, offers: Vec<Offers>) -> Outcome
    where
        F: facilitator::Facilitator + 'static,
        S: ClaimStore + 'static,
    {
        let pause = Duration::from_secs(self.upstream_timeout);
        let limit = (!self.upfront).then_some(self.body_limit);
        let upstream = self.upstream.as_deref().map(|url| Upstream::new(url, pause, limit));
        let upstream = upstream.transpose()?;
        let behind = upstream.clone();
        let router = Router::new().fallback(move |request| answer(upstream.clone(), request));
        let offers = offers.into_iter().flat_map(|offers| offers.accepts);
        let flow = |offer: PaymentRequirements| if self.upfront { offer.upfront() } else { offer };
        let offers = Offers::new(offers.map(flow));
        let seller = Arc::new(seller);
        let mut charge = PaymentLayer::new(Arc::clone(&seller), offers);
        if let Some(page) = self.page.page()? {
            charge = charge.with_page(page);
        }
        charge = charge.with_body_limit(self.body_limit).with_request_limit(self.request_limit);
        if self.x402_version == 1 {
            charge = charge.with_v1_body();
        }
        if self.charge_redirects {
            charge = charge.with_charged_redirects();
        }
        if let Some(url) = &self.base_url {
            charge = charge.with_base_url(url.as_str());
        }
        // A refused request is not charged for.
        let guard = from_fn(move |request: Request, next: Next| {
            let refused = upstream::refused(behind.as_ref(), &request);
            async move {
                match refused {
                    Some(response) => response,
                    None => next.run(request).await,
                }
            }
        });
        let last = charge.clone();
        let router = router.layer(charge).layer(guard);
        let router = match cors(&self.cors) {
            Some(cors) => router.layer(cors),
            None => router,
        };
        let served = Listen::new(self.listen).serve(router, async move { last.drain().await });
        kept(seller, served).await
    }
}

/// An origin and a path, without a slash at the end.
fn base_url(text: &str) -> Result<String, &'static str> {
    let url = Url::parse(text).ok().filter(|url| {
        let is_plain =
            url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        matches!(url.scheme(), "http" | "https") && is_plain && url.password().is_none()
    });
    url.ok_or("not an http or https URL without user, query and fragment")?;
    Ok(text.trim_end_matches('/').to_owned())
}

/// An origin as browsers send it (RFC 6454 §6.2), or `*`.
fn origin(text: &str) -> Result<HeaderValue, &'static str> {
    let error = "not an origin, such as https://shop.example.com, nor *";
    let is_origin = || Url::parse(text).is_ok_and(|url| url.origin().ascii_serialization() == text);
    if text != "*" && !is_origin() {
        return Err(error);
    }
    HeaderValue::from_str(text).map_err(|_| error)
}

/// The rights of pages of other origins.
fn cors(origins: &[HeaderValue]) -> Option<CorsLayer> {
    let all = origins.iter().any(|origin| origin == "*");
    let allowed = match all {
        true => AllowOrigin::any(),
        false => AllowOrigin::list(origins.iter().cloned()),
    };
    let exposed = http::EXPOSE_HEADERS.split(", ").filter_map(|name| name.parse().ok());
    (!origins.is_empty()).then(|| {
        CorsLayer::new()
            .allow_origin(allowed)
            .allow_methods(AllowMethods::mirror_request())
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers(exposed.collect::<Vec<_>>())
    })
}

/// Serves, and finishes pending payments meanwhile.
pub(crate) async fn kept<F, S>(
    seller: Arc<Seller<F, S>>,
    served: impl Future<Output = Outcome>,
) -> Outcome
where
    F: facilitator::Facilitator + 'static,
    S: ClaimStore + 'static,
{
    let keeping = tokio::spawn(seller.keep());
    let outcome = served.await;
    keeping.abort();
    outcome
}

/// Reads the secret in a file, or makes the file.
fn secret(path: &Path) -> io::Result<[u8; 32]> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(mut file) => {
            let mut secret = [0; 32];
            getrandom::fill(&mut secret).map_err(io::Error::other)?;
            file.write_all(&secret)?;
            file.sync_all()?;
            Ok(secret)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            exposed::check(path, false).map_err(io::Error::other)?;
            let invalid = |_| io::Error::other("not 32 bytes: remove it if no payment is pending");
            fs::read(path)?.try_into().map_err(invalid)
        }
        Err(error) => Err(error),
    }
}

fn memo(text: &str) -> Result<String, &'static str> {
    let fits = (1..=MEMO_BYTES).contains(&text.len());
    if fits { Ok(text.into()) } else { Err("not a text of 1 to 256 bytes") }
}

fn is_on_solana(offer: &PaymentRequirements) -> bool {
    offer.network.as_view().solana().is_some()
}

/// Completes the offers with the facilitator's additions.
///
/// A silent facilitator may answer later, and payments are refused until then; offers on Solana need its
/// answer now.
///
/// # Errors
/// The facilitator does not support an offer, or is silent and an offer is on Solana.
async fn with_supported(
    all: Vec<Vec<PaymentRequirements>>,
    facilitator: &impl facilitator::Facilitator,
) -> Result<Vec<Offers>, Failure> {
    let asked = tokio::time::timeout(SUPPORTED, facilitator.supported()).await;
    let supported = match asked.unwrap_or(Err(FacilitatorError::TimedOut)) {
        Ok(supported) => supported,
        Err(error) if all.iter().flatten().any(is_on_solana) => {
            return Err(Failure::unusable(format_args!(
                "{error}; offers on Solana need its fee payer, so start it first"
            )));
        }
        Err(error) => {
            talk(format_args!("warning: {error}; payments are refused until it answers"));
            return Ok(all.into_iter().map(Offers::new).collect());
        }
    };
    let complete = |offers: Vec<PaymentRequirements>| {
        Offers::new(offers.clone()).with_supported(&supported).map_err(|unsupported| {
            let text = offers.get(unsupported.index).map_or_else(String::new, |offer| {
                format!("the facilitator does not support {} on {}", offer.scheme, offer.network)
            });
            Failure::unusable(text)
        })
    };
    all.into_iter().map(complete).collect()
}

/// The answer that is sold: another server's, or a sample.
async fn answer(upstream: Option<Upstream>, request: Request) -> Response {
    let Some(upstream) = upstream else {
        let path = request.uri().path();
        let sample = serde_json::json!({ "data": { "path": path, "message": "paid" } });
        return Json(sample).into_response();
    };
    upstream.forward(request).await
}

use std::convert::Infallible;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use reqwest::header::{HeaderName, HeaderValue, USER_AGENT};
use reqwest::{Method, Request, Url};
use serde_json::json;
use x402_std::buyer::budget::{Budget, Limit};
use x402_std::buyer::client::{Client, Error, HttpError, HttpTransport};
use x402_std::buyer::{BuyError, Buyer, Choice, Policy, Progress, PurchaseOptions};
use x402_std::clock::SystemClock;
use x402_std::core::{Money, Retry, Version};
use x402_std::evm::ExactEvmWallet;
use x402_std::svm::ExactSvmWallet;
use x402_std::transport::Transport;

use crate::key::{KeySource, Wallet};
use crate::mcp::agent;
use crate::shown::{self};
use crate::{Exit, Failure, Outcome, describe, input, print, sign, talk};

mod output;

use output::{deliver, deliver_json, no_answer, verdict};

/// Most bytes of an answer with `--json`.
const JSON_BYTES: usize = 64 << 20;

/// Name of the default file for payments.
const PAYMENTS: &str = "payments.db";

/// Time after which a terminal shows the step that is under way.
const PATIENCE: Duration = Duration::from_secs(2);

/// Requests a URL, and pays once if the seller asks for it.
///
/// Redirects are not followed, and end with status 1. The body goes to stdout. The last line on stderr
/// is the payment. A terminal also shows the step that is under way, if it takes long.
#[derive(Args)]
pub(crate) struct Pay {
    /// URL to request
    url: String,
    /// HTTP method [default: GET, or POST with -d]
    #[arg(short = 'X', value_name = "METHOD")]
    method: Option<String>,
    /// Header of the request; may be repeated
    #[arg(short = 'H', value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Body of the request, or @FILE
    #[arg(short = 'd', value_name = "BODY", allow_hyphen_values = true)]
    body: Option<String>,
    /// Most to pay [default: $1]
    #[arg(long, value_name = "MONEY", value_parser = Money::parse)]
    max: Option<Money>,
    /// Requests the URL, prints the offer that would be paid as JSON, and pays nothing; without a key,
    /// the offer that keys of both kinds would pay
    #[arg(long)]
    dry_run: bool,
    /// Prints one JSON object instead of the body: status, contentType, location (of a redirect), body
    /// (as JSON or text; else bodyBase64), paid (the offer), receipt, doubt (why the receipt proves
    /// nothing, else null), id; if nothing was bought, error, code, receipt and id
    #[arg(long)]
    json: bool,
    /// Host that may be paid over plain http, with its port unless that is 80; may be repeated. Without
    /// one, only this machine: over plain http, anybody on the way can take the payment
    #[arg(long = "http-host", value_name = "HOST")]
    http_hosts: Vec<String>,
    /// Limit on the sum of all purchases in --budget: '$5 per day', '$1 per day each host' and so on,
    /// see x402 help mcp; may be repeated, and all hold
    #[arg(long = "limit", value_name = "LIMIT", requires = "budget")]
    limits: Vec<Limit>,
    /// File for purchases (SQLite): limits hold over crashes and between all processes that use it
    /// [default: x402/payments.db in the user's state directory]
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    budget: Option<PathBuf>,
    /// Id of this purchase: a purchase in --budget is paid once for one id, however often this is run
    /// [default: a new one]
    #[arg(long, value_name = "ID", conflicts_with = "dry_run",
          value_parser = clap::builder::NonEmptyStringValueParser::new())]
    id: Option<String>,
    #[command(flatten)]
    key: KeySource,
}

impl Pay {
    pub(crate) async fn run(&self) -> Outcome {
        let request = self.request()?;
        if self.dry_run {
            return self.dry_run(&request).await;
        }
        let policy = Policy { limits: self.limits.clone(), ..sign::policy(self.max) };
        let buyer = Buyer::with_parts(self.key.read()?, policy, SystemClock);
        let kept = match &self.budget {
            Some(path) => agent::open(path).map(Some),
            None => match agent::default_file(PAYMENTS).and_then(|path| agent::open(&path)) {
                Ok(kept) => Ok(Some(kept)),
                // An id can find a purchase only in a file.
                Err(failure) if self.id.is_some() => Err(failure),
                Err(_) => Ok(None),
            },
        };
        match kept? {
            Some(kept) => self.buy(buyer.with_budget(kept), &request, true).await,
            None => self.buy(buyer, &request, false).await,
        }
    }

    async fn buy<B: Budget>(
        &self,
        buyer: Buyer<Wallet, SystemClock, B>,
        request: &Request,
        is_kept: bool,
    ) -> Outcome {
        let client = Client::with_parts(buyer, self.transport()?);
        let stage = Mutex::new("asking".into());
        let hear = |progress: Progress<'_>| {
            if let Some(text) = told(progress) {
                *stage.lock().unwrap_or_else(PoisonError::into_inner) = text;
            }
        };
        let options = PurchaseOptions {
            id: self.id.as_deref(),
            progress: Some(&hear),
            ..PurchaseOptions::default()
        };
        match watched(client.buy_with(request, &options), &stage).await {
            Ok(bought) => {
                let unproven = bought.proof().is_none().then(|| bought.id.clone()).flatten();
                let outcome =
                    if self.json { deliver_json(bought).await } else { deliver(bought).await };
                may_present_again(unproven.as_deref(), is_kept);
                outcome
            }
            Err(error) => self.explain(error, is_kept),
        }
    }

    fn transport(&self) -> Result<HttpTransport, Failure> {
        let transport = HttpTransport::new().map_err(|error| no_answer(&error))?;
        transport
            .with_plain_http_hosts(self.http_hosts.iter().map(String::as_str))
            .map_err(|error| Failure::unusable(error).about("--http-host"))
    }

    fn request(&self) -> Result<Request, Failure> {
        let url = Url::parse(&self.url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = url.ok_or_else(|| Failure::unusable("URL: not an http or https URL"))?;
        let method = match (&self.method, &self.body) {
            (Some(method), _) => Method::from_bytes(method.as_bytes())
                .map_err(|_| Failure::unusable("-X: not an HTTP method, such as POST"))?,
            (None, Some(_)) => Method::POST,
            (None, None) => Method::GET,
        };
        let mut request = Request::new(method, url);
        let agent = HeaderValue::from_static(concat!("x402/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(USER_AGENT, agent);
        let mut given = reqwest::header::HeaderMap::new();
        for header in &self.headers {
            let (name, value) = header_of(header)?;
            given.append(name, value);
        }
        // Replaces the default headers, and keeps several of one name.
        request.headers_mut().extend(given);
        *request.body_mut() = match &self.body {
            Some(body) => match body.strip_prefix('@') {
                Some(path) => Some(input::file(path, usize::MAX)?.into()),
                None => Some(body.clone().into()),
            },
            None => None,
        };
        Ok(request)
    }

    /// Explains why nothing was bought. The payment itself stays hidden: its holder can present it.
    fn explain(&self, error: Error, is_kept: bool) -> Outcome {
        let code = code(&error);
        let again = match &error {
            BuyError::Unclear { id, .. } => Some(id.clone()),
            BuyError::Refused { retry: Retry::SameAgain, id, .. } => Some(id.clone()),
            _ => None,
        };
        let (failure, receipt, id) = match error {
            BuyError::Transport(error) => (no_answer(&error), None, None),
            BuyError::Unclear { error, id, .. } => {
                let why = no_answer(&error).text;
                let text = format_args!("a payment was sent, and may have been made: {why}");
                (Failure::refused(text), None, Some(id))
            }
            BuyError::Refused { error, receipt, id, .. } => {
                let why = error.unwrap_or_else(|| "no reason given".into());
                // The seller's words may be anything.
                let text = format_args!("payment refused: {}", why.escape_debug());
                (Failure::refused(text), receipt, Some(id))
            }
            BuyError::AlreadyBought(receipt) => {
                let text = "bought and paid before: use another --id to buy again";
                (Failure::refused(text), Some(receipt), self.id.clone())
            }
            BuyError::NotSigned(failure) => (sign::not_signed(failure), None, self.id.clone()),
            BuyError::Short(short) => (sign::short(&short), None, self.id.clone()),
            BuyError::Declined(declined) => (sign::declined(declined), None, self.id.clone()),
            other => (Failure::refused(other), None, self.id.clone()),
        };
        if self.json {
            let told = json!({ "error": failure.text, "code": code, "receipt": receipt, "id": id });
            print(told)?;
        }
        may_present_again(again.as_deref(), is_kept);
        Err(failure)
    }

    async fn dry_run(&self, request: &Request) -> Outcome {
        let wallet = self.key.read_any()?;
        let transport = self.transport()?;
        let answer = transport.exchange(request, None).await.map_err(|error| no_answer(&error))?;
        let Some(challenge) = answer.challenge else {
            let status = answer.response.status();
            print(serde_json::json!({ "status": status.as_u16() }))?;
            talk(format_args!("nothing to pay: status {}", status.as_u16()));
            return Ok(verdict(status));
        };
        let required = challenge.map_err(|error| {
            Failure::refused(format_args!("the challenge cannot be read: {error}"))
        })?;
        if let Err(error) = transport.may_pay(request) {
            let failure = no_answer(&error);
            print(serde_json::json!({ "declined": failure.text }))?;
            return Err(failure);
        }
        let policy = sign::policy(self.max);
        let host = &transport.subject(request).host;
        let choices = match &wallet {
            Some(wallet) => policy.choices(&required, host, wallet),
            None => policy.choices(&required, host, &(ExactSvmWallet::default(), ExactEvmWallet)),
        };
        let chosen = match (wallet, choices) {
            (Some(wallet), Ok(choices)) => {
                let buyer = Buyer::with_parts(wallet, policy, SystemClock);
                Ok(first_ready(&buyer, choices).await?)
            }
            (_, choices) => choices.map(|mut choices| choices.swap_remove(0)),
        };
        match chosen {
            Ok(Choice { index, offer, .. }) => {
                let json = offer.to_json().map_err(Failure::refused)?;
                let version = required.x402_version.number();
                print(format_args!(
                    r#"{{"x402Version":{version},"accept":{index},"offer":{json}}}"#
                ))?;
                talk(format_args!("would pay: {}", describe(&offer)));
                Ok(Exit::Yes)
            }
            Err(declined) => {
                let offers = declined
                    .offers
                    .iter()
                    .map(|offer| json!({ "accept": offer.index, "declined": offer.detail }));
                let offers: Vec<_> = offers.collect();
                print(json!({ "declined": declined.reason.to_string(), "offers": offers }))?;
                Err(sign::declined(declined))
            }
        }
    }
}

/// The first choice that the wallet can pay now, or the first reason why it can pay none.
async fn first_ready(
    buyer: &Buyer<Wallet, SystemClock>,
    choices: Vec<Choice>,
) -> Result<Choice, Failure> {
    let mut why = None;
    for choice in choices {
        let failure = match buyer.ready::<(), Infallible>(&choice).await {
            Ok(()) => return Ok(choice),
            Err(BuyError::Short(short)) => sign::short(&short),
            Err(BuyError::NotSigned(failure)) => sign::not_signed(failure),
            Err(other) => Failure::refused(other),
        };
        why = why.or(Some(failure));
    }
    let failure = why.unwrap_or_else(|| Failure::refused("the challenge has no offer"));
    print(json!({ "declined": failure.text }))?;
    Err(failure)
}

/// Prints what to do about a payment that may have been made.
fn may_present_again(id: Option<&str>, is_kept: bool) {
    let Some(id) = id else { return };
    let warning = "the payment may have been made: do not pay again";
    talk(match is_kept {
        true => {
            format!("{warning}, but run this again with --id {id} to present the same payment")
        }
        false => format!("{warning}; it is kept nowhere: give --budget the next time, or set HOME"),
    });
}

/// The code of an error, for scripts.
fn code(error: &Error) -> &'static str {
    match error {
        BuyError::Transport(HttpError::PlainHttp) => "plain_http",
        BuyError::Transport(_) => "no_answer",
        BuyError::Challenge(_) => "bad_challenge",
        BuyError::Declined(_) => "declined",
        BuyError::OverBudget(_) => "over_budget",
        BuyError::Budget(_) => "budget_unavailable",
        BuyError::NotAsQuoted => "not_as_quoted",
        BuyError::NotApproved => "not_approved",
        BuyError::AnotherPurchase => "another_purchase",
        BuyError::Unfinished => "unfinished",
        BuyError::AlreadyBought(_) => "already_bought",
        BuyError::NotSigned(_) => "not_signed",
        BuyError::Short(_) => "not_enough_money",
        BuyError::Refused { .. } => "refused",
        BuyError::Unclear { .. } => "unclear",
    }
}

/// Reads `Name: value`. The caller cannot set the payment headers.
fn header_of(text: &str) -> Result<(HeaderName, HeaderValue), Failure> {
    let parts = text.split_once(':').and_then(|(name, value)| {
        let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
        Some((name, HeaderValue::from_str(value.trim()).ok()?))
    });
    let (name, value) =
        parts.ok_or_else(|| Failure::unusable("-H: not a header: write NAME: VALUE"))?;
    let payment = [Version::V1, Version::V2].map(Version::payment_header);
    if payment.iter().any(|payment| name.as_str().eq_ignore_ascii_case(payment)) {
        return Err(Failure::unusable("-H: a payment cannot be given: x402 signs it"));
    }
    Ok((name, value))
}

/// The step that is under way, in words; `None` if it is still the same.
fn told(progress: Progress<'_>) -> Option<String> {
    match progress {
        Progress::Chosen(offer) => Some(format!("paying {}", describe(offer))),
        Progress::Presented => None,
        Progress::Pending(_) => Some("the settlement is not certain yet: asking again".into()),
    }
}

/// Shows the step of a purchase and its duration on a terminal.
async fn watched<T>(purchase: impl Future<Output = T>, stage: &Mutex<String>) -> T {
    if !io::stderr().is_terminal() {
        return purchase.await;
    }
    let started = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let mut shown = false;
    let mut purchase = pin!(purchase);
    let clear = |shown: bool| {
        if shown {
            write!(io::stderr().lock(), "\r\x1b[K").ok();
        }
    };
    loop {
        tokio::select! {
            done = &mut purchase => {
                clear(shown);
                return done;
            }
            _ = tick.tick() => {}
        }
        if started.elapsed() >= PATIENCE {
            clear(shown);
            let stage = stage.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let mut out = io::stderr().lock();
            write!(out, "{}, {} s", shown::shown(&stage), started.elapsed().as_secs()).ok();
            out.flush().ok();
            shown = true;
        }
    }
}

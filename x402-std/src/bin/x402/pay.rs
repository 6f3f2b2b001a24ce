use std::io::{self, Write};

use clap::Args;
use reqwest::header::{HeaderName, HeaderValue, USER_AGENT};
use reqwest::{Method, Request, Response, StatusCode, Url};
use x402_std::buyer::{Bought, BuyError, Buyer};
use x402_std::client::{Client, Error, HttpError, HttpTransport};
use x402_std::clock::SystemClock;
use x402_std::core::{Money, Version};
use x402_std::evm::ExactEvmWallet;
use x402_std::message::{PaymentRequirements, SettleResponse};
use x402_std::svm::ExactSvmWallet;
use x402_std::transport::Transport;

use crate::key::KeySource;
use crate::{Exit, Failure, Outcome, describe, input, print, sign, talk, with_causes, written};

/// Asks for a URL and pays if that is what it takes, once.
///
/// Redirects are not followed. The body goes to stdout. The receipt goes to stderr as JSON, after
/// everything else.
#[derive(Args)]
pub(crate) struct Pay {
    /// What to ask for
    url: String,
    /// Method [default: GET, or POST with -d]
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
    /// Asks, prints the offer that would be paid as JSON, and pays nothing; without a key, the one
    /// that would be paid with keys of both kinds
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    key: KeySource,
}

impl Pay {
    pub(crate) async fn run(&self) -> Outcome {
        let request = self.request()?;
        if self.dry_run {
            return self.dry_run(&request).await;
        }
        let buyer = Buyer::with(self.key.read()?, sign::policy(self.max), SystemClock);
        let client = Client::new(buyer).map_err(|error| no_answer(&error))?;
        match client.execute(&request).await {
            Ok(bought) => deliver(bought).await,
            Err(error) => explain(error),
        }
    }

    fn request(&self) -> Result<Request, Failure> {
        let url = Url::parse(&self.url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = url.ok_or_else(|| Failure::unusable("not an http or https URL"))?;
        let method = match (&self.method, &self.body) {
            (Some(method), _) => Method::from_bytes(method.as_bytes())
                .map_err(|_| Failure::unusable("-X: not a method"))?,
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
        // Takes the place of what is there, and keeps several of one name.
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

    async fn dry_run(&self, request: &Request) -> Outcome {
        let wallet = self.key.read_any()?;
        let transport = HttpTransport::new().map_err(|error| no_answer(&error))?;
        let answer = transport.exchange(request, None).await.map_err(|error| no_answer(&error))?;
        let Some(challenge) = answer.challenge else {
            let status = answer.response.status();
            print(serde_json::json!({ "status": status.as_u16() }))?;
            talk(format_args!("nothing to pay: status {}", status.as_u16()));
            return Ok(verdict(status));
        };
        let required =
            challenge.map_err(|error| Failure::refused(format_args!("challenge: {error}")))?;
        let policy = sign::policy(self.max);
        let chosen = match &wallet {
            Some(wallet) => policy.choose(&required, wallet),
            None => policy.choose(&required, &(ExactSvmWallet::default(), ExactEvmWallet)),
        };
        match chosen {
            Ok((index, offer)) => {
                let json = offer.to_json().map_err(Failure::refused)?;
                let version = required.x402_version.number();
                print(format_args!(
                    r#"{{"x402Version":{version},"accept":{index},"offer":{json}}}"#
                ))?;
                talk(format_args!("would pay: {}", describe(&offer)));
                Ok(Exit::Yes)
            }
            Err(decline) => {
                print(serde_json::json!({ "declined": decline.to_string() }))?;
                Err(Failure::refused(format_args!("declined: {decline}")))
            }
        }
    }
}

/// Reads `Name: value`. The payment headers are not for the caller to set.
fn header_of(text: &str) -> Result<(HeaderName, HeaderValue), Failure> {
    let parts = text.split_once(':').and_then(|(name, value)| {
        let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
        Some((name, HeaderValue::from_str(value.trim()).ok()?))
    });
    let (name, value) = parts.ok_or_else(|| Failure::unusable("-H: not a header"))?;
    let payment = [Version::V1, Version::V2].map(Version::payment_header);
    if payment.iter().any(|payment| name.as_str().eq_ignore_ascii_case(payment)) {
        return Err(Failure::unusable("-H: a payment is signed here, not given"));
    }
    Ok((name, value))
}

fn verdict(status: StatusCode) -> Exit {
    if status.is_success() || status.is_redirection() { Exit::Yes } else { Exit::Refused }
}

/// The body to stdout as it comes, then the receipt.
async fn deliver(bought: Bought<Response>) -> Outcome {
    let Bought { response, receipt, paid, .. } = bought;
    let status = response.status();
    match &paid {
        Some(offer) => say_payment(offer, receipt.as_ref()),
        None => talk("nothing to pay"),
    }
    if !status.is_success() {
        talk(format_args!("status {}", status.as_u16()));
    }
    let mut exit = verdict(status);
    if let Err(failure) = copy(response).await {
        talk(failure.text);
        exit = failure.exit;
    }
    give_receipt(receipt.as_ref());
    Ok(exit)
}

fn say_payment(offer: &PaymentRequirements, receipt: Option<&SettleResponse>) {
    let offer = describe(offer);
    match receipt {
        Some(_) => talk(format_args!("paid: {offer}")),
        None => talk(format_args!("a payment was sent and there is no receipt: {offer}")),
    }
}

async fn copy(mut response: Response) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    loop {
        let chunk = response.chunk().await.map_err(|error| no_answer(&error.into()))?;
        let Some(chunk) = chunk else {
            return Ok(());
        };
        let result = out.write_all(&chunk).and_then(|()| out.flush());
        if result.is_err() {
            return written(result);
        }
    }
}

fn give_receipt(receipt: Option<&SettleResponse>) {
    if let Some(Ok(receipt)) = receipt.map(SettleResponse::to_json) {
        talk(receipt);
    }
}

/// Says why nothing was bought. The payment itself is not shown: whoever has it can present it.
fn explain(error: Error) -> Outcome {
    match error {
        BuyError::Transport(error) => Err(no_answer(&error)),
        BuyError::Unclear { error, .. } => {
            let why = no_answer(&error).text;
            Err(Failure::refused(format_args!("a payment was sent and may have been made: {why}")))
        }
        BuyError::Refused { error, receipt, .. } => {
            let why = error.unwrap_or_else(|| "no reason given".into());
            // The seller's words may be anything.
            talk(format_args!("payment refused: {}", why.escape_debug()));
            give_receipt(receipt.as_deref());
            Ok(Exit::Refused)
        }
        BuyError::NotSigned(failure) => Err(sign::not_signed(failure)),
        other => Err(Failure::refused(other)),
    }
}

fn no_answer(error: &HttpError) -> Failure {
    let text = with_causes(error);
    match error {
        HttpError::Setup | HttpError::NotRepeatable | HttpError::AlreadyPaid => {
            Failure::unusable(text)
        }
        _ => Failure::refused(format_args!("no answer: {text}")),
    }
}

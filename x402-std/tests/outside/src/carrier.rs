//! Frames over TCP: four bytes of length, then JSON.
//!
//! A request is `{"ask": …, "payment": …}`, the payment as the protocol has it or null. An answer is
//! `{"content": …, "challenge": …, "receipt": …}`, each of them or null.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use x402_core::Version;
use x402_core::crypto::sha256;
use x402_std::Clock;
use x402_std::extension::PaidRequest;
use x402_std::facilitator::Facilitator;
use x402_std::message::{PaymentRequired, SettleResponse};
use x402_std::seller::driver::{Driver, Job, Served, Worked};
use x402_std::seller::{AcceptedPayment, Offers, RequestDigest, Seller};
use x402_std::store::ClaimStore;
use x402_std::transport::{Answer, PaymentText, Subject, Transport};

/// Longest frame, in bytes.
const FRAME: usize = 65_536;

async fn read(stream: &mut TcpStream) -> io::Result<Value> {
    let mut len = [0; 4];
    stream.read_exact(&mut len).await?;
    let len = u32::from_be_bytes(len) as usize;
    if len > FRAME {
        return Err(io::Error::other("frame too long"));
    }
    let mut frame = vec![0; len];
    stream.read_exact(&mut frame).await?;
    Ok(serde_json::from_slice(&frame)?)
}

async fn write(stream: &mut TcpStream, frame: &Value) -> io::Result<()> {
    let frame = frame.to_string();
    let len = u32::try_from(frame.len()).map_err(io::Error::other)?;
    stream.write_all(&len.to_be_bytes()).await?;
    stream.write_all(frame.as_bytes()).await
}

/// The seller's side: answers each request with its own text in capital letters, once it is paid for.
pub async fn serve<F, S, C>(listener: TcpListener, seller: Arc<Seller<F, S, C>>, offers: Offers)
where
    F: Facilitator + 'static,
    S: ClaimStore + 'static,
    C: Clock + 'static,
{
    let (offers, driver) = (Arc::new(seller.announce(offers)), Driver::new(64));
    while let Ok((mut stream, _)) = listener.accept().await {
        let (seller, offers, driver) = (Arc::clone(&seller), Arc::clone(&offers), driver.clone());
        tokio::spawn(async move {
            while let Ok(request) = read(&mut stream).await {
                let payment = request.get("payment").filter(|payment| !payment.is_null());
                let ask = request["ask"].as_str().unwrap_or("").to_owned();
                let card = request["club-card"].as_str();
                let asked = PaidRequest {
                    offers: Arc::clone(&offers),
                    payment: payment.map(|it| (Version::V2, it.to_string().into_bytes())),
                    digest: RequestDigest::from_parts(&[ask.as_bytes()]),
                    again: false,
                    headers: card
                        .map(|card| ("club-card".into(), card.into()))
                        .into_iter()
                        .collect(),
                };
                let challenge = |error: &str| {
                    let challenge = offers.challenge(Version::V2, error);
                    let challenge = challenge.unwrap_or_else(|_| "null".into());
                    serde_json::from_str::<Value>(&challenge).unwrap_or_default()
                };
                let written = match driver.serve(&seller, asked, Shout(ask)).await {
                    Served::Paid(answer, delivery) => {
                        let written = write(&mut stream, &answer).await;
                        // A delivery that is dropped counts as lost: the buyer gets the answer again.
                        if written.is_ok() {
                            delivery.written(None);
                        }
                        written
                    }
                    Served::Granted(answer) | Served::Passed(answer) => {
                        write(&mut stream, &answer).await
                    }
                    Served::Unpaid => {
                        write(&mut stream, &json!({ "challenge": challenge("payment required") }))
                            .await
                    }
                    Served::Refused(refusal) => {
                        let answer = json!({
                            "challenge": challenge(&refusal.to_string()),
                            "receipt": refusal.receipt,
                        });
                        write(&mut stream, &answer).await
                    }
                    Served::Panicked(receipt) => {
                        write(&mut stream, &json!({ "error": "failed", "receipt": receipt })).await
                    }
                    Served::TimedOut(receipt) => {
                        write(&mut stream, &json!({ "error": "too slow", "receipt": receipt }))
                            .await
                    }
                };
                if written.is_err() {
                    break;
                }
            }
        });
    }
}

/// The work for a request.
struct Shout(String);

impl Job for Shout {
    type Answer = Value;
    type Passed = Value;

    async fn work(self, payment: Option<AcceptedPayment>, _: bool) -> Worked<Value, Value> {
        match self.0.as_str() {
            "panic" => panic!("the work's own bug"),
            "fail" => Worked::NotCharged(json!({ "error": "failed" })),
            ask => {
                let answer =
                    json!({ "content": ask.to_uppercase(), "for": payment.map(|it| it.payer) });
                Worked::Goods(answer, ask.len())
            }
        }
    }

    fn with_receipt(mut answer: Value, _: Version, receipt: &SettleResponse) -> Value {
        answer["receipt"] = json!(receipt);
        answer
    }

    fn passed_with_receipt(answer: Value, version: Version, receipt: &SettleResponse) -> Value {
        Self::with_receipt(answer, version, receipt)
    }
}

/// The buyer's side: what it asks for is a text.
#[derive(Clone, Copy, Debug)]
pub struct Frames(pub SocketAddr);

impl Frames {
    /// The answer to a request as it is, with a member's card perhaps.
    ///
    /// # Errors
    /// Those of the connection.
    pub async fn raw(&self, request: &Value) -> io::Result<Value> {
        let mut stream = TcpStream::connect(self.0).await?;
        write(&mut stream, request).await?;
        read(&mut stream).await
    }
}

impl Transport for Frames {
    type Request = String;
    type Response = String;
    type Error = io::Error;

    fn subject(&self, request: &String) -> Subject {
        let digest = sha256(&[request.as_bytes()]);
        Subject { host: self.0.to_string(), what: request.clone(), digest }
    }

    async fn exchange(
        &self,
        request: &String,
        payment: Option<&PaymentText>,
    ) -> io::Result<Answer<String>> {
        let payment = payment.map(|payment| serde_json::from_str::<Value>(&payment.json));
        let mut stream = TcpStream::connect(self.0).await?;
        write(&mut stream, &json!({ "ask": request, "payment": payment.transpose()? })).await?;
        let answer = read(&mut stream).await?;
        let text = |key: &str| answer.get(key).filter(|it| !it.is_null()).map(Value::to_string);
        let challenge = text("challenge").map(|json| PaymentRequired::from_json(json.as_bytes()));
        let receipt = text("receipt").map(|json| SettleResponse::from_json(json.as_bytes()));
        Ok(Answer {
            response: answer["content"].as_str().unwrap_or("").into(),
            challenge: challenge.transpose().map_err(io::Error::other)?.map(Ok),
            receipt: receipt.transpose().map_err(io::Error::other)?,
        })
    }
}

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
use x402_core::buyer::Flow;
use x402_core::crypto::sha256;
use x402_std::Clock;
use x402_std::facilitator::Facilitator;
use x402_std::message::{PaymentRequired, SettleResponse};
use x402_std::seller::{Refusal, Seller, Terms};
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
pub async fn serve<F, S, C>(listener: TcpListener, seller: Arc<Seller<F, S, C>>, terms: Terms)
where
    F: Facilitator + 'static,
    S: ClaimStore + 'static,
    C: Clock + 'static,
{
    let terms = Arc::new(terms);
    while let Ok((mut stream, _)) = listener.accept().await {
        let (seller, terms) = (Arc::clone(&seller), Arc::clone(&terms));
        tokio::spawn(async move {
            while let Ok(request) = read(&mut stream).await {
                let answer = answer(&seller, &terms, &request).await;
                if write(&mut stream, &answer).await.is_err() {
                    break;
                }
            }
        });
    }
}

async fn answer<F: Facilitator, S: ClaimStore, C: Clock>(
    seller: &Seller<F, S, C>,
    terms: &Terms,
    request: &Value,
) -> Value {
    let challenge = |error: &str| {
        let challenge = terms.challenge(Version::V2, error).unwrap_or_else(|_| "null".into());
        serde_json::from_str::<Value>(&challenge).unwrap_or_default()
    };
    let Some(payment) = request.get("payment").filter(|payment| !payment.is_null()) else {
        return json!({ "challenge": challenge("payment required") });
    };
    match sell(seller, terms, &payment.to_string(), request["ask"].as_str().unwrap_or("")).await {
        Ok((content, receipt)) => json!({ "content": content, "receipt": receipt }),
        Err(refusal) => json!({
            "challenge": challenge(&refusal.to_string()),
            "receipt": refusal.receipt,
        }),
    }
}

async fn sell<F: Facilitator, S: ClaimStore, C: Clock>(
    seller: &Seller<F, S, C>,
    terms: &Terms,
    payment: &str,
    ask: &str,
) -> Result<(String, SettleResponse), Refusal> {
    let admission = seller.admit(terms, Version::V2, payment.as_bytes()).await?;
    if admission.flow() == Flow::Upfront {
        let receipt = seller.settle(admission).await?;
        return Ok((ask.to_uppercase(), receipt));
    }
    let content = ask.to_uppercase();
    Ok((content, seller.settle(admission).await?))
}

/// The buyer's side: what it asks for is a text.
#[derive(Clone, Copy, Debug)]
pub struct Frames(pub SocketAddr);

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

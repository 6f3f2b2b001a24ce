//! The inputs of the measurements, made here and signed with keys that everybody knows.

use std::fmt::Write as _;

use x402_core::buyer;
use x402_core::crypto::{RecoverableSignature, Signer, ed25519, secp256k1};
use x402_core::json::RawJson;
use x402_core::wire::{Message as _, PaymentRequired, PaymentRequirements, VerifyRequest};
use x402_core::{base64, limits};
use x402_evm::Eip3009Unsigned;
use x402_svm::message::{Config, Draft, Header, Instruction, Message, TRANSACTION_V1_BYTES};
use x402_svm::{Address, Inputs, PAYMENT_BYTES, SvmUnsigned};

/// The time of all payments, in Unix seconds.
pub const NOW: u64 = 1_800_000_000;

/// The private key of the EVM payer.
pub const EVM_SECRET: [u8; 32] = [7; 32];

/// The seed of the Solana payer.
pub const SVM_SEED: [u8; 32] = [2; 32];

/// The example challenge of specification v2, section 5.1.1.
pub const CHALLENGE: &str = r#"{"x402Version":2,"error":"PAYMENT-SIGNATURE header is required","resource":{"url":"https://api.example.com/premium-data","description":"Access to premium market data","mimeType":"application/json"},"accepts":[{"scheme":"exact","network":"eip155:84532","amount":"10000","asset":"0x036CbD53842c5426634e7929541eC2318f3dCF7e","payTo":"0x209693Bc6afc0C5328bA36FaF03C514EF312287C","maxTimeoutSeconds":60,"extra":{"name":"USDC","version":"2"}}]}"#;

/// An offer on Solana that brings the blockhash.
const SVM_OFFER: &str = r#"{"scheme":"exact","network":"solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1","amount":"1000","asset":"4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU","payTo":"GyGKxMyg1p9SsHfm15MkNUu1u9TN2JtTspcdmrtGUdse","maxTimeoutSeconds":60,"extra":{"feePayer":"AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9","recentBlockhash":"Cr64VEg56tAEcBu3MAx15Ka2439Sv6mgCzfgJUGZg7dr""#;

/// The discovery extension of a route that takes a query.
const BAZAAR: &str = r#""bazaar":{"info":{"input":{"type":"http","method":"GET","queryParams":{"city":"Paris","days":7,"units":"metric"}},"output":{"type":"json","example":{"city":"Paris","forecast":[{"day":"2026-11-21","high":11.5,"low":4.0,"text":"light rain"},{"day":"2026-11-22","high":9.0,"low":2.5,"text":"sunny"}]}}},"schema":{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","properties":{"input":{"type":"object","properties":{"type":{"type":"string","const":"http"},"method":{"type":"string","enum":["GET","HEAD","DELETE"]},"queryParams":{"type":"object","properties":{"city":{"type":"string","description":"Name of a city, in any language"},"days":{"type":"integer","minimum":1,"maximum":14},"units":{"type":"string","enum":["metric","imperial"]}},"required":["city"]}},"required":["type","method"],"additionalProperties":false},"output":{"type":"object","properties":{"type":{"type":"string"},"example":{"type":"object"}},"required":["type"]}},"required":["input"]}}"#;

/// A payment on an EVM network.
#[derive(Debug)]
pub struct Evm {
    /// The signed digest.
    pub digest: [u8; 32],
    /// The signature.
    pub signature: RecoverableSignature,
    /// The payer.
    pub payer: [u8; 20],
    /// The challenge, as a header.
    pub challenge: String,
    /// The offer that is paid.
    pub offer: String,
    /// The payment, as a header.
    pub header: String,
    /// The same, decoded.
    pub json: String,
    /// The request to a facilitator.
    pub request: String,
}

/// A payment on Solana.
#[derive(Debug)]
pub struct Svm {
    /// The signed message.
    pub message: Vec<u8>,
    /// The signature.
    pub signature: [u8; 64],
    /// The payer.
    pub payer: [u8; 32],
    /// The account that is paid.
    pub destination: [u8; 32],
    /// The challenge, as a header.
    pub challenge: String,
    /// The offer that is paid.
    pub offer: String,
    /// The payment, as a header.
    pub header: String,
}

/// The example challenge, paid.
pub fn evm() -> Evm {
    evm_paid(CHALLENGE, NOW)
}

/// The only offer of a challenge, paid at a time, in Unix seconds.
///
/// # Panics
/// If there is none that can be paid.
pub fn evm_paid(challenge: &str, now: u64) -> Evm {
    let required = PaymentRequired::parse(challenge.as_bytes()).expect("a challenge");
    let offer = required.accepts.iter().next().expect("one offer");
    let key = secp256k1::LocalKey::from_bytes(&EVM_SECRET).expect("a key");
    let unsigned = Eip3009Unsigned::new(&offer, x402_evm::Address(key.public_key()), now, [9; 32])
        .expect("payable");
    let signature = key.sign(unsigned.digest()).expect("signs");
    let mut buffer = [0; x402_evm::PAYLOAD_BYTES];
    let payload = unsigned.payload(&signature, &mut buffer).expect("fits");
    let payment = buyer::payment(&required, &offer, payload);
    let request = VerifyRequest {
        payment_payload: payment,
        payment_requirements: offer,
        other: Default::default(),
    };
    Evm {
        digest: *unsigned.digest(),
        signature,
        payer: key.public_key(),
        challenge: header(challenge),
        offer: json(&offer),
        header: header(&json(&payment)),
        json: json(&payment),
        request: json(&request),
    }
}

/// A payment by a v0 transaction, as clients make it.
pub fn svm() -> Svm {
    svm_payment(&svm_challenge("}}"), |_| None)
}

/// A payment by the longest v1 transaction: one with a long memo.
pub fn svm_v1() -> Svm {
    svm_payment(&svm_challenge(r#","transactionVersions":[1]}}"#), |short| {
        let message = Message::parse(short).expect("ours");
        let keys: Vec<Address> = message.keys().iter().map(|key| Address(*key)).collect();
        let mut instructions: Vec<Instruction<'_>> = message.instructions().collect();
        let memo = instructions.last_mut().expect("a memo");
        let room = TRANSACTION_V1_BYTES - (short.len() + 2 * 64 - memo.data.len());
        let text = "memo".repeat(room.div_ceil(4));
        memo.data = &text.as_bytes()[..room];
        let mut out = [0; TRANSACTION_V1_BYTES];
        let Config { compute_units, loaded_accounts_bytes, .. } = message.config();
        let Header { signers, readonly_signers, readonly_others } = message.header();
        let draft = Draft {
            version: message.version(),
            header: Header { signers, readonly_signers, readonly_others },
            keys: &keys,
            lifetime: message.lifetime(),
            config: Config {
                priority_fee: None,
                compute_units,
                loaded_accounts_bytes,
                heap_bytes: None,
            },
            instructions: &instructions,
        };
        let long = draft.write(&mut out).expect("as long as may be");
        Some(long.message().to_vec())
    })
}

fn svm_challenge(end: &str) -> String {
    let start = r#"{"x402Version":2,"error":"Payment required","resource":{"url":"https://api.example.com/premium-data"},"accepts":["#;
    format!("{start}{SVM_OFFER}{end}]}}")
}

/// Pays the only offer of a challenge; `other` may make another message of the usual one.
fn svm_payment(challenge: &str, other: impl FnOnce(&[u8]) -> Option<Vec<u8>>) -> Svm {
    let required = PaymentRequired::parse(challenge.as_bytes()).expect("a challenge");
    let offer = required.accepts.iter().next().expect("one offer");
    let key = ed25519::LocalKey::from_seed(&SVM_SEED);
    let inputs =
        Inputs { payer: Address(key.public_key()), blockhash: None, nonce: [9; 16], assets: &[] };
    let mut out = [0; PAYMENT_BYTES];
    let unsigned = SvmUnsigned::new(&offer, &inputs, &ed25519::Dalek, &mut out).expect("payable");
    let message = other(unsigned.message()).unwrap_or_else(|| unsigned.message().to_vec());
    let signature: [u8; 64] = key.sign(&message).expect("signs");
    let signatures = [[0; 64], signature].concat();
    // A v1 transaction ends with its signatures; others begin with them and their number.
    let transaction = match message.first() {
        Some(0x81) => [&message[..], &signatures].concat(),
        _ => [&[2], &signatures[..], &message].concat(),
    };
    let payload = format!(r#"{{"transaction":"{}"}}"#, encoded(&transaction));
    let payload = RawJson::parse(payload.as_bytes()).expect("JSON");
    let payment = buyer::payment(&required, &offer, payload);
    let destination = x402_svm::associated_token_address(
        &ed25519::Dalek,
        address(offer.pay_to.as_str()),
        x402_svm::TokenProgram::Token,
        address(offer.asset.as_str()),
    );
    Svm {
        message,
        signature,
        payer: key.public_key(),
        destination: destination.expect("there is one").0,
        challenge: header(challenge),
        offer: json(&offer),
        header: header(&json(&payment)),
    }
}

fn address(text: Option<&str>) -> Address {
    text.and_then(Address::parse).expect("our own")
}

/// A challenge with twenty offers and a discovery extension.
pub fn large_challenge() -> String {
    challenge(20, BAZAAR)
}

/// A challenge of so many kibibytes: an offer for each, and extensions for the rest.
pub fn challenge_of(kibibytes: usize) -> String {
    let bytes = kibibytes * 1024;
    let start = challenge(kibibytes, r#""notes":["#);
    let mut text = start.strip_suffix("}}").expect("an extension").to_owned();
    let end = "]}}";
    // Numbers, names and text, as in the examples that sellers publish.
    for number in 0.. {
        let note = format!(r#"{{"city":"Paris","day":{number},"high":11.5,"rain":true}},"#);
        let last = r#"{"text":""}"#.len();
        if text.len() + note.len() + last + end.len() > bytes {
            let room = bytes - text.len() - last - end.len();
            write!(text, r#"{{"text":"{}"}}"#, "x".repeat(room)).expect("a string");
            break;
        }
        text.push_str(&note);
    }
    text + end
}

fn challenge(offers: usize, extensions: &str) -> String {
    let start = r#"{"x402Version":2,"error":"PAYMENT-SIGNATURE header is required","resource":{"url":"https://api.example.com/premium-data","description":"Access to premium market data","mimeType":"application/json"},"accepts":["#;
    let offers: Vec<String> = (0..offers)
        .map(|index| match index % 10 {
            9 => format!("{SVM_OFFER}}}}}"),
            _ => format!(
                r#"{{"scheme":"exact","network":"eip155:{}","amount":"{}","asset":"0x036CbD53842c5426634e7929541eC2318f3dCF7e","payTo":"0x209693Bc6afc0C5328bA36FaF03C514EF312287C","maxTimeoutSeconds":60,"extra":{{"name":"USDC","version":"2"}}}}"#,
                84_532 + index,
                10_000 + index,
            ),
        })
        .collect();
    format!("{start}{}],\"extensions\":{{{extensions}}}}}", offers.join(","))
}

/// The longest challenge that is legal, with an extension of values as deep as they may be.
pub fn deepest() -> String {
    // The message, its extensions and the array are around them.
    let deep = limits::DEPTH - 3;
    let value = format!("{}{},", "[".repeat(deep), "]".repeat(deep));
    filled(&value, "0")
}

/// The longest challenge that is legal, with an extension of escaped characters.
pub fn escaped() -> String {
    filled(&format!("\"{}\",", "\\u00e9".repeat(16)), "0")
}

/// The longest challenge that is legal, and takes as much searching for repeated keys as may be:
/// the keys are alike at both ends, and what comes before them is long.
pub fn searched() -> String {
    let most = limits::RESCAN_BYTES / limits::MESSAGE_BYTES * 2;
    let with = |keys: usize| {
        let keys: Vec<String> =
            (0..keys).map(|key| format!(r#""aaaaaaaa{key:04}aaaaaaaa":0"#)).collect();
        let end = format!("],{}}}}}", keys.join(","));
        let start = challenge(1, r#""search":{"values":["#);
        let start = start.strip_suffix("}}").expect("an extension");
        let room = limits::MESSAGE_BYTES - start.len() - end.len() - "}".len() - 1;
        format!("{start}{}0{end}}}", "0,".repeat(room / 2))
    };
    let challenges = (0..=most).rev().map(with);
    let legal = |json: &String| PaymentRequired::parse(json.as_bytes()).is_ok();
    { challenges }.find(legal).expect("no keys are legal")
}

/// The longest challenge whose only extension is an array of one value again and again.
fn filled(value: &str, last: &str) -> String {
    let start = challenge(1, r#""values":["#);
    let start = start.strip_suffix("}}").expect("an extension");
    let room = limits::MESSAGE_BYTES - start.len() - last.len() - "]}}".len();
    format!("{start}{}{last}]}}}}", value.repeat(room / value.len()))
}

/// A message as JSON.
pub fn json<'a>(message: &impl x402_core::Message<'a>) -> String {
    let mut out = vec![0; message.encoded_len().expect("writable")];
    message.encode(&mut out).expect("long enough");
    String::from_utf8(out).expect("written from text")
}

/// A JSON text as a header.
pub fn header(json: &str) -> String {
    encoded(json.as_bytes())
}

fn encoded(bytes: &[u8]) -> String {
    let mut out = vec![0; base64::encoded_len(bytes.len())];
    base64::encode(bytes, &mut out).expect("long enough").to_owned()
}

/// The offer of a text.
///
/// # Panics
/// If it is none.
pub fn offer(json: &str) -> PaymentRequirements<'_> {
    PaymentRequirements::parse(json.as_bytes()).expect("an offer")
}

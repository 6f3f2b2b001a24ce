//! Payments signed in advance, and the bare operation nobody can leave out of checking them.

use std::hint::black_box;
use std::time::{SystemTime, UNIX_EPOCH};

use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};
use rustix::time::{ClockId, clock_gettime};
use secp256k1::{Secp256k1, VerifyOnly};
use x402_core::crypto::secp256k1::LocalKey;
use x402_core::crypto::{RecoverableSignature, Signer};
use x402_core::wire::{Message, PaymentRequired};
use x402_core::{base64, buyer};
use x402_evm::{Address, Eip3009Unsigned, PAYLOAD_BYTES};

/// The challenge of every seller here.
pub const CHALLENGE: &str = r#"{"x402Version":2,"error":"PAYMENT-SIGNATURE header is required","resource":{"url":"http://127.0.0.1/weather","description":"","mimeType":"application/json"},"accepts":[{"scheme":"exact","network":"eip155:84532","amount":"10000","asset":"0x036CbD53842c5426634e7929541eC2318f3dCF7e","payTo":"0x209693Bc6afc0C5328bA36FaF03C514EF312287C","maxTimeoutSeconds":300,"extra":{"name":"USDC","version":"2"}}]}"#;

/// The offers allow 300 seconds; the payments are valid for an hour.
const AHEAD_SECONDS: u64 = 3300;

/// Payments of one key, each with a nonce of its own. The signed data is the same for all sellers.
pub struct Payments {
    key: LocalKey,
    now: u64,
    run: [u8; 8],
    signed: Vec<(Eip3009Unsigned, RecoverableSignature)>,
}

impl Payments {
    pub fn new() -> Result<Self, String> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|e| e.to_string())?;
        let key = LocalKey::from_bytes(&[7; 32]).ok_or("not a key")?;
        let now = since.as_secs() + AHEAD_SECONDS;
        let run = (since.as_nanos() as u64).to_be_bytes();
        Ok(Self { key, now, run, signed: Vec::new() })
    }

    fn unsigned(&self, challenge: &[u8], index: usize) -> Result<Eip3009Unsigned, String> {
        let required = PaymentRequired::parse(challenge).map_err(|error| error.to_string())?;
        let offer = required.accepts.iter().next().ok_or("no offer")?;
        let mut nonce = [0; 32];
        nonce[..8].copy_from_slice(&self.run);
        nonce[8..16].copy_from_slice(&(index as u64).to_be_bytes());
        Eip3009Unsigned::new(&offer, Address(self.key.public_key()), self.now, nonce)
            .map_err(|reason| reason.to_string())
    }

    fn sign_to(&mut self, count: usize) -> Result<(), String> {
        for index in self.signed.len()..count {
            let unsigned = self.unsigned(CHALLENGE.as_bytes(), index)?;
            let signature = self.key.sign(unsigned.digest()).map_err(|error| error.to_string())?;
            self.signed.push((unsigned, signature));
        }
        Ok(())
    }

    /// Whole requests with the payments from `first` on, made out to a seller's challenge.
    pub fn requests(
        &mut self,
        challenge: &[u8],
        first: usize,
        count: usize,
    ) -> Result<Vec<Vec<u8>>, String> {
        self.sign_to(first + count)?;
        if self.unsigned(challenge, 0)?.digest() != self.signed[0].0.digest() {
            return Err("a seller asks for something else than the others".into());
        }
        let required = PaymentRequired::parse(challenge).map_err(|error| error.to_string())?;
        let offer = required.accepts.iter().next().ok_or("no offer")?;
        let choice = buyer::Choice {
            required,
            offer,
            index: 0,
            flow: buyer::Flow::Authorization,
            decimals: 6,
            asks: false,
        };
        let mut requests = Vec::with_capacity(count);
        for (unsigned, signature) in &self.signed[first..first + count] {
            let (mut payload, mut header) = ([0; PAYLOAD_BYTES], [0; 8192]);
            let payload =
                unsigned.payload(signature, &mut payload).map_err(|error| error.to_string())?;
            let header = choice.payment(payload).encode_header(&mut header);
            let header = header.map_err(|error| error.to_string())?;
            requests.push([FREE_REQUEST, b"payment-signature: ", header, b"\r\n\r\n"].concat());
        }
        Ok(requests)
    }
}

const FREE_REQUEST: &[u8] = b"GET /weather HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: */*\r\n";

/// A request without a payment.
pub fn free_request() -> Vec<u8> {
    [FREE_REQUEST, b"\r\n"].concat()
}

/// The challenge among the headers of an answer.
pub fn challenge_of(answer: &[u8]) -> Result<Vec<u8>, String> {
    let header = crate::http::header(answer, "payment-required").ok_or("no challenge")?;
    let mut scratch = vec![0; header.len()];
    let json = base64::decode(header.as_bytes(), &mut scratch).map_err(|e| e.to_string())?;
    Ok(json.to_vec())
}

/// Bare recoveries of a signer.
pub struct Curve {
    digest: [u8; 32],
    k256: (Signature, RecoveryId),
    libsecp256k1: (secp256k1::Message, secp256k1::ecdsa::RecoverableSignature),
    context: Secp256k1<VerifyOnly>,
}

impl Curve {
    pub fn new(payments: &mut Payments) -> Result<Self, String> {
        payments.sign_to(1)?;
        let (unsigned, signature) = &payments.signed[0];
        let id = i32::from(signature.is_odd());
        let id = secp256k1::ecdsa::RecoveryId::try_from(id).map_err(|error| error.to_string())?;
        let compact = secp256k1::ecdsa::RecoverableSignature::from_compact(signature.r_s(), id);
        let r_s = Signature::from_slice(signature.r_s()).map_err(|error| error.to_string())?;
        Ok(Self {
            digest: *unsigned.digest(),
            k256: (r_s, RecoveryId::new(signature.is_odd(), false)),
            libsecp256k1: (
                secp256k1::Message::from_digest(*unsigned.digest()),
                compact.map_err(|error| error.to_string())?,
            ),
            context: Secp256k1::verification_only(),
        })
    }

    /// Seconds of processor time of one recovery by k256, and by libsecp256k1.
    pub fn measure(&self) -> [f64; 2] {
        let (message, compact) = &self.libsecp256k1;
        [
            seconds(|| {
                let (r_s, id) = &self.k256;
                black_box(VerifyingKey::recover_from_prehash(black_box(&self.digest), r_s, *id))
                    .ok();
            }),
            seconds(|| {
                black_box(self.context.recover_ecdsa(black_box(*message), compact)).ok();
            }),
        ]
    }
}

/// Seconds of this thread's processor time.
fn seconds(run: impl Fn()) -> f64 {
    const TIMES: u32 = 100;
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    let started = now();
    for _ in 0..TIMES {
        run();
    }
    (now() - started) / f64::from(TIMES)
}

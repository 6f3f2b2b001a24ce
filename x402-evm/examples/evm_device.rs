//! A buyer as a device runs it: fixed buffers, no heap, no sockets of its own. The seller at the
//! other end of the "wire" is as small. On a board, replace `wire` by your network stack.
//!
//!     cargo run -p x402-evm --example evm_device

use x402_core::buyer::{self, Choice, Next, PayOnce, Policy};
use x402_core::claim::{ClaimTable, Presented, Resource};
use x402_core::crypto::Signer;
use x402_core::crypto::secp256k1::{K256, LocalKey};
use x402_core::seller::Seller;
use x402_core::wire::{Message, PaymentRequirements, ResourceInfo, SettleResponse};
use x402_core::{Payment, Reason, Version, base64};
use x402_evm::{Address, Eip3009Unsigned, ExactEvm, ExactEvmWallet, PAYLOAD_BYTES};

const NOW: u64 = 1_800_000_000; // from the server's Date header, or a clock

fn main() {
    let key = LocalKey::from_bytes(&[7; 32]).expect("below the group order");
    let mut shop = Shop { claims: ClaimTable::new() };
    let mut purchase = PayOnce::new();

    // Everything the buyer needs, sized for one offer with room to spare.
    let (mut answer, mut header) = ([0; 1024], [0; 1536]);
    let (mut scratch, mut payload) = ([0; 1024], [0; PAYLOAD_BYTES]);

    // 1. Ask, and read the challenge.
    let (status, len) = shop.wire(None, &mut answer);
    assert_eq!(purchase.answered(status), Next::Pay);
    let required =
        buyer::read_challenge(Some(&answer[..len]), &[], &mut scratch).expect("a challenge");

    // 2. Choose within the policy: by default at most a dollar, in a stablecoin that is known.
    let choice: Choice<'_> =
        buyer::choose(&required, "api.example.com", &ExactEvmWallet, &Policy::default())
            .expect("an offer");
    println!(
        "paying {} units of {} to {}",
        choice.offer.amount, choice.offer.asset, choice.offer.pay_to
    );

    // 3. Sign, once. A secure element would implement `Signer`.
    assert!(purchase.paid());
    let nonce = [9; 32]; // from the random number generator
    let unsigned = Eip3009Unsigned::new(&choice.offer, Address(key.public_key()), NOW, nonce)
        .expect("payable");
    let signature = key.sign(unsigned.digest()).expect("a key in memory signs");
    let payload = unsigned.payload(&signature, &mut payload).expect("fits");
    let header = choice.payment(payload).encode_header(&mut header).expect("fits");
    println!("{}: {} bytes", Version::V2.payment_header(), header.len());

    // 4. Present it; present it again, byte for byte, if the answer got lost.
    for _ in 0..2 {
        let (status, len) = shop.wire(Some(header), &mut answer);
        let receipt =
            SettleResponse::decode_header(&answer[..len], &mut scratch).expect("a receipt");
        println!("{status}: success {}, reason {:?}", receipt.success, receipt.error_reason);
    }
}

/// A seller on a device. It checks the signature itself; settling is a facilitator's work.
struct Shop {
    claims: ClaimTable<8>,
}

impl Shop {
    /// One exchange: a payment header or none, to status and challenge or receipt header.
    fn wire(&mut self, payment: Option<&[u8]>, out: &mut [u8]) -> (u16, usize) {
        let offer = PaymentRequirements::parse(
            br#"{"scheme":"exact","network":"eip155:1328","amount":"10000",
                 "asset":"0x4fCF1784B31630811181f670Aea7A7bEF803eaED",
                 "payTo":"0x90F79bf6EB2c4f870365E785982E1f101E93b906",
                 "maxTimeoutSeconds":60,"extra":{"name":"USDC","version":"2"}}"#,
        )
        .expect("our own offer");
        let resource =
            ResourceInfo { url: "coap://sensor/temperature".into(), ..Default::default() };
        let seller = Seller { resource, accepts: &[offer], extensions: None };
        let Some(payment) = payment else {
            let challenge = seller.challenge(Version::V2, "PAYMENT-SIGNATURE header is required");
            return (402, challenge.encode_header(out).expect("fits").len());
        };
        let outcome = self.serve(&seller, payment);
        let receipt = SettleResponse {
            success: outcome.is_ok(),
            error_reason: outcome.err().map(|reason| reason.as_str().into()),
            network: "eip155:1328".into(),
            ..Default::default()
        };
        let len = receipt.encode_header(out).expect("fits").len();
        (outcome.map_or_else(Reason::status, |()| 200), len)
    }

    fn serve(&mut self, seller: &Seller<'_>, payment: &[u8]) -> Result<(), Reason> {
        let mut scratch = [0; 1024];
        let json = base64::decode(payment, &mut scratch).map_err(|error| error.reason())?;
        let payload = Seller::read(Version::V2, json).map_err(|error| error.reason())?;
        let admitted = seller.admit(&ExactEvm::<K256>::default(), &payload, NOW)?;
        let paid = admitted.verified.payment();
        match self.claims.present(paid.claim_key(), Resource::ANY, paid.expires_at(), NOW)? {
            // Here a facilitator is asked to settle, and nothing served before it has: `seller.rs` in
            // x402-core/examples/boards shows how.
            Presented::New => Ok(()),
            Presented::Known(_) | Presented::ForAnother => Err(Reason::DuplicateSettlement),
        }
    }
}

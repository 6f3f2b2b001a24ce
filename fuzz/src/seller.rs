//! Any bytes as a payment to a seller with several offers: what is admitted is what a plain reading
//! admits, accepts one of the offers to the letter, and pays that offer exactly.

use x402_core::crypto::ed25519::{self, Dalek};
use x402_core::crypto::secp256k1::{self, K256};
use x402_core::crypto::{Recover, RecoverableSignature, Signer, Verify};
use x402_core::json::RawJson;
use x402_core::network::V1_NAMES;
use x402_core::seller::{Admitted, Seller};
use x402_core::wire::{Accepted, PaymentPayload, PaymentRequirements, ResourceInfo};
use x402_core::{Either, Message, ParseError, Reason, Scheme, Version, base64, gate, http, limits};
use x402_evm::{Eip3009Payload, Eip3009Payment, Eip3009Unsigned, ExactEvm};
use x402_svm::{
    ExactSvm, Inputs, PAYMENT_BYTES, Rules, SvmPayment, SvmUnsigned, associated_token_address,
};

use crate::tree::Tree;
use crate::{Blind, Dice, change};

/// Eight bytes that decide about the seller and the time, then the payment.
const HEAD: usize = 8;

/// A time at which the recorded payments are valid.
const NOW: u64 = 1_795_210_270;

/// Alike, so that a payment of one is nearly one of another.
const OFFERS: [&str; 9] = [
    r#"{"scheme":"exact","network":"eip155:84532","amount":"10000","asset":"0x036CbD53842c5426634e7929541eC2318f3dCF7e","payTo":"0x90F79bf6EB2c4f870365E785982E1f101E93b906","maxTimeoutSeconds":300,"extra":{"name":"USDC","version":"2"}}"#,
    r#"{"scheme":"exact","network":"eip155:84532","amount":"20000","asset":"0x036CbD53842c5426634e7929541eC2318f3dCF7e","payTo":"0x90F79bf6EB2c4f870365E785982E1f101E93b906","maxTimeoutSeconds":300,"extra":{"name":"USDC","version":"2"}}"#,
    r#"{"scheme":"exact","network":"eip155:84532","amount":"10000","asset":"0x036CbD53842c5426634e7929541eC2318f3dCF7e","payTo":"0x70997970C51812dc3A010C7d01b50e0d17dc79C8","maxTimeoutSeconds":300,"extra":{"name":"USDC","version":"2"}}"#,
    r#"{"scheme":"exact","network":"eip155:84532","amount":"10000","asset":"0x036cbd53842c5426634e7929541ec2318f3dcf7e","payTo":"0x90F79bf6EB2c4f870365E785982E1f101E93b906","maxTimeoutSeconds":60,"extra":{"name":"USDC","version":"2","paymentFlow":"upfront","own":{"a":[1,null]}},"own":{"a":[1.0,"\u00e9"],"b":null}}"#,
    r#"{"scheme":"exact","network":"eip155:8453","amount":"10000","asset":"0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913","payTo":"0x90F79bf6EB2c4f870365E785982E1f101E93b906","maxTimeoutSeconds":300,"extra":{"name":"USD Coin","version":"2"}}"#,
    r#"{"scheme":"exact","network":"solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1","amount":"1000","asset":"4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU","payTo":"GyGKxMyg1p9SsHfm15MkNUu1u9TN2JtTspcdmrtGUdse","maxTimeoutSeconds":300,"extra":{"feePayer":"AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9"}}"#,
    r#"{"scheme":"exact","network":"solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1","amount":"1001","asset":"4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU","payTo":"GyGKxMyg1p9SsHfm15MkNUu1u9TN2JtTspcdmrtGUdse","maxTimeoutSeconds":300,"extra":{"feePayer":"AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9","recentBlockhash":"CmpNeggWJ4JaWJeJ8YKN1Zypmk7uvQq3PECGUCAEMbky","memo":"order 7"}}"#,
    r#"{"scheme":"exact","network":"solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1","amount":"1000","asset":"4F6PM96JJxngmHnZLBh9n58RH4aTVNWvDs2nuwrT5BP7","payTo":"GyGKxMyg1p9SsHfm15MkNUu1u9TN2JtTspcdmrtGUdse","maxTimeoutSeconds":60,"extra":{"feePayer":"AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9","transactionVersions":[1]}}"#,
    r#"{"scheme":"upto","network":"eip155:84532","amount":"10000","asset":"0x036CbD53842c5426634e7929541eC2318f3dCF7e","payTo":"0x90F79bf6EB2c4f870365E785982E1f101E93b906","maxTimeoutSeconds":300,"extra":{"name":"USDC","version":"2"}}"#,
];

const EXTENSIONS: [&str; 3] = [
    "{}",
    r#"{"payment-identifier":{"info":{"required":false},"schema":{"type":"object"}}}"#,
    r#"{"own":{"a":{"b":[1]}},"bazaar":{"info":{"input":{"type":"http","method":"GET"}}}}"#,
];

/// Panics if anything above is not so.
pub fn check(data: &[u8]) {
    let Some((head, json)) = data.split_first_chunk::<HEAD>() else { return };
    let mut dice = Dice::new(u64::from_le_bytes(*head));
    let version = dice.pick(&[Version::V2, Version::V1]);
    let read = [Version::V1, Version::V2].map(|version| (version, Seller::read(version, json)));
    carried(json);
    let ([(_, Ok(payload)), _] | [_, (_, Ok(payload))]) = read else { return };
    let tree = Tree::read(json).unwrap();
    let number = Tree::Number(payload.x402_version().number().to_string());
    assert!(tree.get("x402Version").is_some_and(|version| version.same(&number)));
    for (version, read) in read {
        let right = version == payload.x402_version();
        assert_eq!(read.err(), (!right).then_some(ParseError::VersionMismatch));
    }

    // Some of the offers, in some order.
    let from = dice.below(OFFERS.len());
    let texts: Vec<_> =
        (0..dice.below(OFFERS.len() + 1)).map(|at| (at + from) % OFFERS.len()).collect();
    let offers: Vec<_> = texts
        .iter()
        .map(|at| PaymentRequirements::parse(OFFERS[*at].as_bytes()).unwrap())
        .collect();
    let announced =
        dice.pick(&[None, None, Some(0), Some(1), Some(2)]).map(|at: usize| EXTENSIONS[at]);
    let seller = Seller {
        resource: ResourceInfo { url: "http://example.test/r".into(), ..ResourceInfo::default() },
        accepts: &offers,
        extensions: announced.map(|json| RawJson::parse(json.as_bytes()).unwrap()),
    };
    challenged(&seller, version);

    let now = dice.pick(&[NOW, NOW, NOW, 0, u64::MAX]);
    let lax = Schemes { gullible: true };
    let admitted = seller.admit(&lax, &payload, now);
    let expected = plain(
        &tree,
        &texts,
        announced,
        |at, requirements| gate::verify(&lax, &payload, requirements, now).map(|_| at),
        &seller,
    );
    assert_eq!(
        admitted.as_ref().map(|admitted| admitted.index).map_err(|reason| *reason),
        expected
    );
    let Ok(admitted) = admitted else { return };
    pays(&admitted, &seller, OFFERS[texts[admitted.index]], &tree, now);
    // The curves are slow.
    if dice.one_in(4)
        && let Ok(real) = seller.admit(&Schemes { gullible: false }, &payload, now)
    {
        pays(&real, &seller, OFFERS[texts[real.index]], &tree, now);
        if real.index == admitted.index {
            assert_eq!(real.verified, admitted.verified);
        }
    }
}

/// Changes an input in ways that leave more of it sound than blind ones do.
/// Now and then a payment of one of the offers is made from scratch, and rightly signed.
pub fn mutate(input: &[u8], max: usize, dice: &mut Dice, blind: &mut Blind<'_>) -> Vec<u8> {
    if let Some((head, _)) = input.split_first_chunk::<HEAD>().filter(|_| dice.one_in(16)) {
        let made = [&head[..], made(dice).as_bytes()].concat();
        if made.len() <= max {
            return made;
        }
    }
    let pool: Vec<_> = OFFERS.into_iter().chain(EXTENSIONS).chain(POOL).collect();
    change::mutate(input, HEAD, &pool, max, dice, blind)
}

const POOL: [&str; 13] = [
    r#""exact""#,
    r#""base-sepolia""#,
    r#""base""#,
    r#""solana-devnet""#,
    r#""eip155:84532""#,
    r#""10000""#,
    r#""20000""#,
    r#""0x70997970C51812dc3A010C7d01b50e0d17dc79C8""#,
    r#""0x036CbD53842c5426634e7929541eC2318f3dCF7e""#,
    r#"{"paymentFlow":"upfront"}"#,
    r#"{"recentBlockhash":"CmpNeggWJ4JaWJeJ8YKN1Zypmk7uvQq3PECGUCAEMbky","lastValidBlockHeight":1}"#,
    "null",
    "{}",
];

/// A payment in the name of one offer, which perhaps pays another.
fn made(dice: &mut Dice) -> String {
    let (named, paid) = (dice.pick(&OFFERS), dice.pick(&OFFERS));
    let paid = if dice.one_in(4) { paid } else { named };
    let offer = PaymentRequirements::parse(paid.as_bytes()).unwrap();
    let (mut out, mut transaction) = ([0; 2048], [0; PAYMENT_BYTES]);
    let payload = if offer.network.solana().is_some() {
        let key = ed25519::LocalKey::from_seed(&[2; 32]);
        let payer = x402_svm::Address(Signer::public_key(&key));
        let inputs = Inputs { payer, blockhash: Some([5; 32]), nonce: [9; 16], assets: &[] };
        let unsigned = SvmUnsigned::new(&offer, &inputs, &Dalek, &mut transaction).unwrap();
        let signature = Signer::sign(&key, unsigned.message()).unwrap();
        unsigned.payload(&signature, &mut out).unwrap()
    } else {
        let offer = PaymentRequirements { scheme: "exact".into(), ..offer };
        let key = secp256k1::LocalKey::from_bytes(&[7; 32]).unwrap();
        let payer = x402_evm::Address(Signer::public_key(&key));
        let unsigned = Eip3009Unsigned::new(&offer, payer, NOW, [9; 32]).unwrap();
        let signature = Signer::sign(&key, unsigned.digest()).unwrap();
        unsigned.payload(&signature, &mut out).unwrap()
    };
    let payload = payload.as_str();
    let network = PaymentRequirements::parse(named.as_bytes()).unwrap().network;
    match network.v1_name().filter(|_| dice.one_in(4)) {
        Some(name) => format!(
            r#"{{"x402Version":1,"scheme":"exact","network":"{name}","payload":{payload}}}"#
        ),
        None => {
            let mut accepted = Tree::read(named.as_bytes()).unwrap();
            if dice.one_in(2) {
                accepted.change(dice, &POOL);
            }
            let (accepted, extensions) = (accepted.spelled(dice), dice.pick(&EXTENSIONS));
            format!(
                r#"{{"x402Version":2,"accepted":{accepted},"payload":{payload},"extensions":{extensions}}}"#
            )
        }
    }
}

/// Both schemes; gullible ones take any signature.
struct Schemes {
    gullible: bool,
}

impl Scheme for Schemes {
    type Payment = Either<Eip3009Payment, SvmPayment>;

    fn handles(&self, offer: &PaymentRequirements<'_>) -> bool {
        (ExactEvm::with_recover(K256), ExactSvm::<'_, Dalek>::default()).handles(offer)
    }

    fn check_offer(&self, offer: &PaymentRequirements<'_>) -> Result<(), Reason> {
        (ExactEvm::with_recover(K256), ExactSvm::<'_, Dalek>::default()).check_offer(offer)
    }

    fn check(
        &self,
        payload: &PaymentPayload<'_>,
        requirements: &PaymentRequirements<'_>,
        now: u64,
    ) -> Result<Self::Payment, Reason> {
        let payer =
            Eip3009Payload::read(payload.payload).map(|payload| payload.authorization.from.0);
        let rules = Rules::default();
        match (requirements.network.solana().is_some(), self.gullible) {
            (true, true) => {
                let scheme: ExactSvm<'_, TakesAll> = ExactSvm::with_verify(TakesAll, rules);
                scheme.check(payload, requirements, now).map(Either::Second)
            }
            (true, false) => {
                ExactSvm::new(rules).check(payload, requirements, now).map(Either::Second)
            }
            (false, true) => ExactEvm::with_recover(Gullible(payer.unwrap_or_default()))
                .check(payload, requirements, now)
                .map(Either::First),
            (false, false) => {
                ExactEvm::with_recover(K256).check(payload, requirements, now).map(Either::First)
            }
        }
    }

    fn may_differ(&self, _: &PaymentRequirements<'_>) -> &'static [&'static str] {
        &x402_svm::HINTS
    }
}

struct Gullible([u8; 20]);

impl Recover for Gullible {
    fn recover(&self, _: &[u8; 32], _: &RecoverableSignature) -> Option<[u8; 20]> {
        Some(self.0)
    }
}

struct TakesAll;

impl Verify for TakesAll {
    fn verify(&self, _: &[u8; 32], _: &[u8], _: &[u8; 64]) -> bool {
        true
    }

    fn is_point(&self, bytes: &[u8; 32]) -> bool {
        Dalek.is_point(bytes)
    }
}

/// In a header of either version it is the same.
fn carried(json: &[u8]) {
    let mut header = vec![0; base64::encoded_len(json.len())];
    base64::encode(json, &mut header).unwrap();
    if json.is_empty() || header.len() > limits::HEADER_BYTES {
        return;
    }
    for (name, version) in [("x-Payment", Version::V1), ("payment-SIGNATURE", Version::V2)] {
        let found = http::payment([("host", &b"x"[..]), (name, &header)]).unwrap();
        assert_eq!(found, Some((Some(version), &header[..])));
        let twice = http::payment([(name, &header[..]), (name, &header)]);
        assert_eq!(twice, Err(ParseError::TwoPayments));
        let other = if version == Version::V1 { "payment-signature" } else { "x-payment" };
        let both = http::payment([(name, &header[..]), (other, &header)]);
        assert_eq!(both, Ok(Some((None, &header[..]))));
        let differ = http::payment([(name, &header[..]), (other, &header[1..])]);
        assert_eq!(differ, Err(ParseError::TwoPayments));
    }
    assert_eq!(base64::decode_in_place(&mut header), Ok(json));
}

/// Every offer is in the challenge as it is.
fn challenged(seller: &Seller<'_>, version: Version) {
    let challenge = seller.challenge(version, "why");
    let mut json = vec![0; challenge.encoded_len().unwrap()];
    let json = challenge.encode(&mut json).unwrap();
    let tree = Tree::read(json).unwrap();
    let written = tree.get("accepts").unwrap().entries();
    assert_eq!(written.len(), seller.accepts.len());
    for (written, offer) in written.iter().zip(seller.accepts) {
        assert_eq!(written.get("payTo").unwrap().text(), offer.pay_to.as_str());
        let amount = written.get("amount").or(written.get("maxAmountRequired")).unwrap();
        assert_eq!(amount.text(), Some(&offer.amount.to_string()[..]));
    }
}

fn tree_of(json: &str) -> Tree {
    Tree::read(json.as_bytes()).unwrap()
}

/// Returns the offer that a plain reading admits, by its place, or the reason for none.
fn plain(
    payment: &Tree,
    offers: &[usize],
    announced: Option<&str>,
    verify: impl Fn(usize, &PaymentRequirements<'_>) -> Result<usize, Reason>,
    seller: &Seller<'_>,
) -> Result<usize, Reason> {
    let one = Tree::Number("1".to_owned());
    let v1 = payment.get("x402Version").is_some_and(|version| version.same(&one));
    if let (Some(announced), Some(echoed)) = (announced, payment.get("extensions")) {
        for (name, wanted) in tree_of(announced).members() {
            let Some(echo) = echoed.get(name) else { continue };
            let kept = match (wanted.get("info"), echo.get("info")) {
                (Some(wanted), Some(echo)) => echo.contains(wanted),
                (Some(_), None) => false,
                (None, _) => echo.contains(wanted),
            };
            if !kept {
                return Err(Reason::ExtensionEchoMismatch);
            }
        }
    }
    let mut refusal = None;
    for (at, offer) in offers.iter().enumerate() {
        let offer = tree_of(OFFERS[*offer]);
        let requirements = if v1 {
            let same = |key| payment.get(key).unwrap().text() == offer.get(key).unwrap().text();
            let network = payment.get("network").unwrap().text().unwrap();
            let id = V1_NAMES.iter().find(|(name, _)| *name == network).map(|(_, id)| *id);
            let id = id.or(network.contains(':').then_some(network));
            if !same("scheme") || offer.get("network").unwrap().text() != id {
                continue;
            }
            PaymentRequirements { v1: Some(seller.resource.into()), ..seller.accepts[at] }
        } else if accepts(payment.get("accepted").unwrap(), &offer) {
            seller.accepts[at]
        } else {
            continue;
        };
        match verify(at, &requirements) {
            Ok(at) => return Ok(at),
            Err(Reason::InvalidPaymentRequirements) => {}
            Err(reason) => refusal = refusal.or(Some(reason)),
        }
    }
    Err(refusal.unwrap_or(Reason::InvalidPaymentRequirements))
}

/// Whether it is the same offer: all members but `extra` the same, and of `extra` none missing.
fn accepts(accepted: &Tree, offer: &Tree) -> bool {
    let others = |offer: &Tree| {
        let members = offer.members().iter().filter(|(key, _)| key != "extra");
        Tree::Object(members.cloned().collect())
    };
    let mut wanted = offer.get("extra").unwrap().members().to_vec();
    wanted.retain(|(key, _)| key != "recentBlockhash" && key != "lastValidBlockHeight");
    let wanted = Tree::Object(wanted);
    others(accepted).same(&others(offer))
        && accepted.get("extra").is_some_and(|extra| extra.contains(&wanted))
}

/// An admitted payment accepts the offer, and pays it.
fn pays(
    admitted: &Admitted<'_, Either<Eip3009Payment, SvmPayment>>,
    seller: &Seller<'_>,
    json: &str,
    tree: &Tree,
    now: u64,
) {
    let offer = &seller.accepts[admitted.index];
    let v1 = matches!(admitted.payload.accepted, Accepted::V1 { .. });
    assert_eq!(admitted.requirements.version() == Version::V1, v1);
    // The network is spelled as the payment's version does.
    let network = admitted.requirements.network;
    assert!(network.is_same(offer.network) && network.as_str().contains(':') != v1);
    let plain = PaymentRequirements { v1: None, network: offer.network, ..admitted.requirements };
    assert_eq!(written(&plain), written(offer));
    let request = admitted.request();
    assert!(
        tree_of(&written(&request)).get("paymentPayload").unwrap().get("payload")
            == tree.get("payload")
    );

    let terms = tree_of(json);
    let text = |key| terms.get(key).unwrap().text().unwrap();
    assert_eq!(text("scheme"), "exact");
    let (network, reference) = text("network").split_once(':').unwrap();
    match admitted.verified.payment() {
        Either::First(payment) => {
            let authorization = &payment.authorization;
            assert_eq!((network, reference), ("eip155", &payment.chain_id.to_string()[..]));
            assert!(payment.asset.to_string().eq_ignore_ascii_case(text("asset")));
            assert!(authorization.to.to_string().eq_ignore_ascii_case(text("payTo")));
            assert_eq!(authorization.value.to_string(), text("amount"));
            assert!(authorization.valid_after <= now.into());
            assert!(authorization.valid_before >= now.saturating_add(6).into());
        }
        Either::Second(payment) => {
            let address = |key| x402_svm::Address::parse(text(key)).unwrap();
            assert_eq!((network, reference), ("solana", payment.network.as_str()));
            assert_eq!(payment.asset, address("asset"));
            assert_eq!(payment.amount.to_string(), text("amount"));
            let program = payment.token_program;
            let account =
                associated_token_address(&Dalek, address("payTo"), program, payment.asset);
            assert_eq!(Some(payment.destination), account);
            let fee_payer = terms.get("extra").unwrap().get("feePayer").unwrap().text().unwrap();
            assert_eq!(payment.fee_payer.to_string(), fee_payer);
            assert_ne!(payment.fee_payer, payment.payer);
        }
    }
}

fn written<'a>(message: &impl Message<'a>) -> String {
    let mut json = vec![0; message.encoded_len().unwrap()];
    String::from_utf8(message.encode(&mut json).unwrap().to_vec()).unwrap()
}

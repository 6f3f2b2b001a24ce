//! A hostile seller's answer, any wallet and any policy: the offer chosen is the one that a plain
//! reading of the challenge allows, at most one payment is made, and what would be signed pays the
//! offer's amount of its asset to its payee.

use num_bigint::BigUint;
use x402_core::budget::{Limit, Most, Per, Scope};
use x402_core::buyer::{
    self, Asset, Choice, Decline, Flow, Next, PayOnce, Policy, Wallet, choose, read_challenge,
};
use x402_core::crypto::ed25519::{self, Dalek};
use x402_core::crypto::secp256k1::{self, K256};
use x402_core::crypto::{Recover, RecoverableSignature, Signer};
use x402_core::json::RawJson;
use x402_core::network::V1_NAMES;
use x402_core::seller::Seller;
use x402_core::wire::{
    Accepted, PaymentPayload, PaymentRequired, PaymentRequirements, SettleResponse,
};
use x402_core::{
    Amount, Message, Money, Network, ParseError, Reason, Retry, Version, base64, gate, limits,
};
use x402_evm::{Eip3009Unsigned, ExactEvm, ExactEvmWallet, PAYLOAD_BYTES, eip712};
use x402_svm::message::Transaction;
use x402_svm::programs::{TOKEN, TOKEN_2022, TransferChecked};
use x402_svm::{
    ExactSvm, ExactSvmWallet, Inputs, PAYMENT_BYTES, SvmUnsigned, TokenProgram,
    associated_token_address,
};

use crate::tree::Tree;
use crate::{Blind, Dice, change};

/// Eight bytes that decide about buyer, wallet and policy; then the challenge.
const HEAD: usize = 8;

/// Panics if anything above is not so.
pub fn check(data: &[u8]) {
    let Some((head, json)) = data.split_first_chunk::<HEAD>() else { return };
    let mut dice = Dice::new(u64::from_le_bytes(*head));
    purchase(&mut dice);
    receipt(json);
    challenge_of(json);
    let Ok(required) = PaymentRequired::parse(json) else { return };
    // Beside what is decided by, more is kept than is read as a tree.
    let Some(tree) = Tree::read(json) else { return };
    let accepts = tree.get("accepts").unwrap().entries();
    assert_eq!(accepts.len(), required.accepts.len());
    let v1 = required.x402_version == Version::V1;
    let read: Vec<_> = accepts.iter().map(|offer| Offer::read(offer, v1)).collect();
    let offers: Vec<_> = read.iter().flatten().collect();

    let (evm, svm) = (ExactEvmWallet, ExactSvmWallet::default());
    let [has_evm, has_svm] = [(); 2].map(|()| !dice.one_in(4));
    let takes_all = dice.one_in(4).then(|| TakesAll([None, Some(6), Some(18)][dice.below(3)]));
    let wallet = ((has_evm.then_some(evm), has_svm.then_some(svm)), takes_all);

    // A policy about the offers there are, for the most part.
    let some = |dice: &mut Dice| offers.get(dice.below(offers.len().max(1)));
    let (max, digits, places) = limit(&mut dice, &offers);
    let networks: Vec<_> = (0..3)
        .filter_map(|_| {
            let network = some(&mut dice)?.network;
            let names = V1_NAMES.iter().find(|(name, id)| [name, id].contains(&&network));
            Network::parse(match (dice.below(4), names) {
                (0, _) => "eip155:84532",
                (1, Some((name, _))) => name,
                (2, Some((_, id))) => id,
                _ => network,
            })
            .ok()
        })
        .collect();
    let assets: Vec<_> = (0..dice.below(3))
        .filter_map(|_| {
            let (offer, network) = (some(&mut dice)?, some(&mut dice)?.network);
            let decimals = dice.pick(&[0, 6, 6, 18, 255]);
            Some((Network::parse(network).ok()?, cased(offer.asset, &mut dice), decimals))
        })
        .collect();
    let assets: Vec<_> = assets
        .iter()
        .map(|(network, address, decimals)| Asset {
            network: *network,
            address,
            decimals: *decimals,
        })
        .collect();
    let payees: Vec<_> =
        (0..2).filter_map(|_| Some(cased(some(&mut dice)?.pay_to, &mut dice))).collect();
    let payees: Vec<_> = payees.iter().map(String::as_str).collect();
    let [by_network, by_payee] = [(); 2].map(|()| dice.one_in(2));
    let host_allowed = !dice.one_in(8);
    let above = dice.one_in(2).then(|| limit(&mut dice, &offers));
    // In units of a token, for one payment or a day, which is the same when nothing was spent.
    let in_units = some(&mut dice).filter(|_| dice.one_in(2)).and_then(|offer| {
        let network = Network::parse(offer.network).ok()?;
        let most = [offer.amount.clone(), &offer.amount / 2u8][dice.below(2)].clone();
        let per = dice.pick(&[Per::Payment, Per::Day, Per::Ever]);
        Some((network, cased(offer.asset, &mut dice), most, per))
    });
    let limits: Vec<_> = in_units
        .iter()
        .map(|(network, asset, most, per)| Limit {
            most: Most::Units {
                amount: Amount::parse(&most.to_string()).unwrap(),
                network: *network,
                asset,
            },
            per: *per,
            scope: Scope::EachPayee,
        })
        .collect();
    let policy = Policy {
        max,
        limits: &limits,
        ask_above: above.as_ref().map(|(money, ..)| *money),
        hosts: (!host_allowed || dice.one_in(2)).then_some(if host_allowed {
            &["A.test:1"]
        } else {
            &["b.test"]
        }),
        networks: by_network.then_some(&networks),
        assets: &assets,
        payees: by_payee.then_some(&payees),
    };

    // The offers that a plain reading allows.
    let mut expected = (Decline::NoOffers, None, None);
    let mut asked = Vec::new();
    let has_escapes = json.contains(&b'\\');
    for (index, (offer, ours)) in read.iter().zip(required.accepts.entries()).enumerate() {
        // In a text for people, keys may repeat.
        let told_apart = !has_escapes && !accepts[index].repeats();
        assert!(!told_apart || offer.is_some() == ours.read.is_ok(), "{index}: {ours:?}");
        let (Some(offer), Ok(ours)) = (offer, ours.read) else {
            expected.0 = expected.0.max(Decline::Unreadable);
            continue;
        };
        let hurdle = if !wallet.pays(&ours) {
            Decline::Unpayable
        } else if !wallet.pays_to(&ours) {
            Decline::NoPayee
        } else if !host_allowed {
            Decline::Host
        } else if offer.flow.is_none() {
            Decline::PaymentFlow
        } else if policy.networks.is_some_and(|networks| {
            !networks.iter().any(|network| caip2(network.as_str()) == caip2(offer.network))
        }) {
            Decline::Network
        } else {
            let own = assets.iter().find(|asset| {
                caip2(asset.network.as_str()) == caip2(offer.network)
                    && same_address(asset.address, offer.asset)
            });
            let decimals = own.map(|asset| asset.decimals).or(wallet.decimals(&ours));
            let cost = &offer.amount * BigUint::from(10u8).pow(places);
            let too_many = in_units.as_ref().is_some_and(|(network, asset, most, _)| {
                caip2(network.as_str()) == caip2(offer.network)
                    && spelled(asset) == spelled(offer.asset)
                    && offer.amount > *most
            });
            let paid =
                |payees: &[&str]| payees.iter().any(|payee| same_address(payee, offer.pay_to));
            match decimals {
                None => Decline::Asset,
                Some(_) if policy.payees.is_some_and(|payees| !paid(payees)) => Decline::Payee,
                Some(decimals) if cost > &digits * BigUint::from(10u8).pow(decimals.into()) => {
                    Decline::OverLimit
                }
                Some(_) if too_many => Decline::OverLimit,
                Some(decimals) => {
                    if let Some((_, digits, places)) = &above {
                        let cost = &offer.amount * BigUint::from(10u8).pow(*places);
                        let asks = cost > digits * BigUint::from(10u8).pow(decimals.into());
                        asked.push((index, asks));
                    }
                    let place = match offer.flow {
                        Some(Flow::Upfront) => &mut expected.2,
                        _ => &mut expected.1,
                    };
                    place.get_or_insert(index);
                    continue;
                }
            }
        };
        expected.0 = expected.0.max(hurdle);
    }
    let expected = expected.1.or(expected.2).ok_or(expected.0);
    let chosen = choose(&required, "a.test:1", &wallet, &policy);
    // Addresses and names with escapes in them are not looked into by ours, and so not chosen.
    if !has_escapes {
        assert_eq!(chosen.map(|choice| choice.index), expected);
        if let Ok(choice) = &chosen {
            assert_eq!(choice.asks, asked.contains(&(choice.index, true)));
        }
    }
    damaged(json, &required, &mut dice, |required| {
        choose(required, "a.test:1", &wallet, &policy).map(|choice| choice.index).ok()
    });
    let Ok(choice) = chosen else { return };
    let Some(offer) = &read[choice.index] else { return };
    assert!(choice.offer.scheme == offer.scheme && choice.offer.network.as_str() == offer.network);
    assert_eq!(choice.offer.amount.to_string(), offer.amount.to_string());
    if has_evm && evm.pays(&choice.offer) {
        pay_evm(&choice, offer, &mut dice);
    } else if has_svm && svm.pays(&choice.offer) {
        pay_svm(&choice, offer, &mut dice);
    }
}

/// Whatever becomes of one entry, the choice among the others stays.
fn damaged(
    json: &[u8],
    required: &PaymentRequired<'_>,
    dice: &mut Dice,
    choose: impl Fn(&PaymentRequired<'_>) -> Option<usize>,
) {
    let entries: Vec<_> = required.accepts.entries().take(limits::OFFERS).collect();
    let Some(entry) = entries.get(dice.below(entries.len().max(1))) else { return };
    let raw = entry.raw.unwrap().as_str();
    let at = raw.as_ptr().addr() - json.as_ptr().addr();
    let index = entries.iter().position(|other| std::ptr::eq(other.raw.unwrap().as_str(), raw));
    let chosen = choose(required);
    let deep = format!("{}{}", "[".repeat(40), "]".repeat(40));
    let mut without = None;
    for damage in ["null", "{}", "7", "[[{}]]", r#""\ud800""#, r#"{"a":1,"a":2}"#, &deep] {
        if damage == raw {
            continue;
        }
        let text = [&json[..at], damage.as_bytes(), &json[at + raw.len()..]].concat();
        let damaged = PaymentRequired::parse(&text).unwrap();
        assert_eq!(damaged.accepts.len(), required.accepts.len());
        let left = choose(&damaged);
        assert_ne!(left, index.filter(|_| index.is_some()), "{damage}");
        if chosen != index {
            assert_eq!(left, chosen, "{damage}");
        }
        assert_eq!(*without.get_or_insert(left), left, "{damage}");
    }
}

/// Changes an input in ways that leave more of it sound than blind ones do.
pub fn mutate(input: &[u8], max: usize, dice: &mut Dice, blind: &mut Blind<'_>) -> Vec<u8> {
    change::mutate(input, HEAD, POOL, max, dice, blind)
}

const POOL: &[&str] = &[
    r#""exact""#,
    r#""upto""#,
    r#""eip155:84532""#,
    r#""eip155:8453""#,
    r#""base-sepolia""#,
    r#""solana-devnet""#,
    r#""solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1""#,
    r#""0x036CbD53842c5426634e7929541eC2318f3dCF7e""#,
    r#""0x833589fcd6edb6e08f4c7c32d4f71b54bda02913""#,
    r#""4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU""#,
    r#""AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9""#,
    r#""0""#,
    r#""1000000""#,
    r#""1000001""#,
    r#""115792089237316195423570985008687907853269984665640564039457584007913129639935""#,
    "18446744073709551615",
    "{}",
    "null",
    r#""authorization""#,
    r#""upfront""#,
    r#"{"name":"USDC","version":"2","paymentFlow":"upfront"}"#,
    r#"{"name":"USD Coin","version":"2","assetTransferMethod":"eip3009"}"#,
    r#"{"feePayer":"AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9","memo":"m","paymentFlow":null,
        "transactionVersions":[1],"recentBlockhash":"CmpNeggWJ4JaWJeJ8YKN1Zypmk7uvQq3PECGUCAEMbky"}"#,
    r#"{"scheme":"exact","network":"eip155:84532","amount":"1000000",
        "asset":"0x036CbD53842c5426634e7929541eC2318f3dCF7e","maxTimeoutSeconds":60,
        "payTo":"0x90F79bf6EB2c4f870365E785982E1f101E93b906","extra":{"name":"USDC","version":"2"}}"#,
    r#"{"scheme":"exact","network":"solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1","amount":"1000",
        "asset":"4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU","maxTimeoutSeconds":60,
        "payTo":"GyGKxMyg1p9SsHfm15MkNUu1u9TN2JtTspcdmrtGUdse",
        "extra":{"feePayer":"AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9"}}"#,
    r#"{"scheme":"exact","network":"base-sepolia","maxAmountRequired":"10000","resource":"http://x/",
        "description":"","mimeType":"","asset":"0x036CbD53842c5426634e7929541eC2318f3dCF7e",
        "payTo":"0x90F79bf6EB2c4f870365E785982E1f101E93b906","maxTimeoutSeconds":60,
        "extra":{"name":"USDC","version":"2"}}"#,
];

/// An offer as serde_json reads it.
struct Offer<'t> {
    tree: &'t Tree,
    scheme: &'t str,
    network: &'t str,
    asset: &'t str,
    pay_to: &'t str,
    amount: BigUint,
    flow: Option<Flow>,
}

impl<'t> Offer<'t> {
    /// `None` if it has not what an offer of the version must have.
    fn read(tree: &'t Tree, v1: bool) -> Option<Self> {
        let text = |key| tree.get(key).and_then(Tree::text);
        let flow = tree.get("extra").and_then(|extra| extra.get("paymentFlow"));
        let network = text("network").filter(|text| Network::parse(text).is_ok())?;
        let is_named = V1_NAMES.iter().any(|(name, _)| *name == network);
        let is_evm = network.strip_prefix("eip155:").is_some_and(|chain| {
            chain.parse::<u64>().is_ok_and(|number| number > 0 && number.to_string() == chain)
        });
        let is_clear = match (v1, network.contains(':')) {
            (true, true) => is_evm || network.starts_with("solana:"),
            (false, false) => is_named,
            _ => true,
        };
        let amount = text(if v1 { "maxAmountRequired" } else { "amount" })?;
        let digits: BigUint = amount
            .parse()
            .ok()
            .filter(|digits: &BigUint| digits.to_string() == amount && digits.bits() <= 256)?;
        let Tree::Number(seconds) = tree.get("maxTimeoutSeconds")? else { return None };
        RawJson::parse(seconds.as_bytes()).ok()?.as_u64()?;
        let extra = tree.get("extra");
        let no_extra = matches!(extra, Some(Tree::Word(word)) if word == "null");
        let extra_fits = extra.is_none() || no_extra || matches!(extra, Some(Tree::Object(_)));
        if !is_clear || !extra_fits {
            return None;
        }
        Some(Self {
            tree,
            scheme: text("scheme")?,
            network,
            asset: text("asset")?,
            pay_to: text("payTo")?,
            amount: digits,
            flow: match flow {
                None => Some(Flow::Authorization),
                Some(Tree::Word(word)) if word == "null" => Some(Flow::Authorization),
                Some(Tree::Text(text)) if text == "authorization" => Some(Flow::Authorization),
                Some(Tree::Text(text)) if text == "upfront" => Some(Flow::Upfront),
                Some(_) => None,
            },
        })
    }

    fn extra(&self, key: &str) -> Option<&'t str> {
        self.tree.get("extra")?.get(key)?.text()
    }
}

/// A wallet that says it pays anything.
struct TakesAll(Option<u8>);

impl Wallet for TakesAll {
    fn pays(&self, _: &PaymentRequirements<'_>) -> bool {
        true
    }

    fn decimals(&self, _: &PaymentRequirements<'_>) -> Option<u8> {
        self.0
    }
}

/// Most to be paid, by preference exactly what an offer costs, or a little more or less; its
/// digits, and how many of them are decimals.
fn limit(dice: &mut Dice, offers: &[&Offer<'_>]) -> (Money, BigUint, u32) {
    let offer = offers.get(dice.below(offers.len().max(1)));
    let amount = offer.map_or(BigUint::from(1u8), |offer| offer.amount.clone());
    let digits = match dice.below(4) {
        0 => amount + 1u8,
        1 if amount > BigUint::ZERO => amount - 1u8,
        2 => amount * 10u8,
        _ => amount,
    };
    let places = dice.pick(&[0, 1, 6, 6, 6, 18]);
    // No limit has as many digits as an amount may have.
    let digits = if digits.bits() > 64 { BigUint::from(dice.below(3)) } else { digits };
    let text = format!("{digits:0>width$}", width = places + 1);
    let (whole, fraction) = text.split_at(text.len() - places);
    let point = if places == 0 { "" } else { "." };
    let money = Money::parse(&format!("${whole}{point}{fraction}")).unwrap();
    (money, digits, places as u32)
}

fn cased(text: &str, dice: &mut Dice) -> String {
    match dice.below(8) {
        0 => text.to_ascii_lowercase(),
        1 => text.to_ascii_uppercase().replacen("0X", "0x", 1),
        2 => format!("{text}0"),
        _ => text.to_owned(),
    }
}

fn same_address(mine: &str, theirs: &str) -> bool {
    mine == theirs || mine.starts_with("0x") && mine.eq_ignore_ascii_case(theirs)
}

/// As limits tell addresses apart.
fn spelled(address: &str) -> String {
    let hexadecimal = address.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("0x"));
    if hexadecimal { address.to_ascii_lowercase() } else { address.into() }
}

fn caip2(network: &str) -> &str {
    V1_NAMES.iter().find(|(name, _)| *name == network).map_or(network, |(_, id)| id)
}

/// Of all answers of one purchase, one at most is followed by a payment.
fn purchase(dice: &mut Dice) {
    let (mut purchase, mut payments) = (PayOnce::new(), 0);
    for _ in 0..dice.below(6) {
        let status = match dice.below(4) {
            0 => dice.below(0x1_0000) as u16,
            1 => 200,
            _ => 402,
        };
        match purchase.answered(status) {
            Next::Pay => assert!(status == 402 && payments == 0),
            Next::Refused => assert!(status == 402 && payments == 1),
            Next::Done => assert!(status != 402),
        }
        if dice.one_in(2) {
            payments += usize::from(purchase.paid());
            assert_eq!(payments, 1);
        }
    }
}

fn receipt(json: &[u8]) {
    assert_eq!(buyer::retry(None), Retry::SameAgain);
    let Ok(receipt) = SettleResponse::parse(json) else { return };
    let Some(tree) = Tree::read(json) else { return };
    let text = tree.get("errorReason").and_then(Tree::text);
    let known = Reason::ALL.iter().find(|reason| Some(reason.as_str()) == text);
    if !json.contains(&b'\\') {
        let expected = known.map_or(Retry::SameAgain, |reason| reason.retry());
        assert_eq!(buyer::retry(Some(&receipt)), expected);
    }
}

/// The challenge is the header's if there is one, the body's else.
fn challenge_of(json: &[u8]) {
    let mut header = vec![0; base64::encoded_len(json.len())];
    base64::encode(json, &mut header).unwrap();
    let mut scratch = vec![0; base64::decoded_len(header.len())];
    let of = |required: Result<PaymentRequired<'_>, ParseError>| {
        required.map(|required| {
            // A v1 challenge that names networks as v2 does is read, too, but cannot be written.
            let len = required.encoded_len().unwrap_or(0);
            let mut out = vec![0; len];
            required.encode(&mut out).map(<[u8]>::to_vec)
        })
    };
    let in_body = of(read_challenge(None, json, &mut []));
    assert_eq!(of(PaymentRequired::parse(json)), in_body);
    if header.len() <= limits::HEADER_BYTES && !json.is_empty() {
        assert_eq!(of(read_challenge(Some(&header), b"{", &mut scratch)), in_body);
    }
    let _ = read_challenge(Some(json), json, &mut scratch);
}

/// Any signature is the payer's.
struct Gullible([u8; 20]);

impl Recover for Gullible {
    fn recover(&self, _: &[u8; 32], _: &RecoverableSignature) -> Option<[u8; 20]> {
        Some(self.0)
    }
}

fn pay_evm(choice: &Choice<'_>, offer: &Offer<'_>, dice: &mut Dice) {
    let payer = x402_evm::Address([7; 20]);
    let now = dice.pick(&[1_795_300_000, 0, u64::MAX - 100]);
    let unsigned = match Eip3009Unsigned::new(&choice.offer, payer, now, [9; 32]) {
        Ok(unsigned) => unsigned,
        Err(_) => {
            let long = |key| offer.extra(key).unwrap().len() > limits::TEXT_BYTES;
            assert!(long("name") || long("version") || now > 1 << 63);
            return;
        }
    };
    let address = |text: &str| {
        let number = BigUint::parse_bytes(&text.as_bytes()[2..], 16).unwrap().to_bytes_be();
        let mut bytes = [0; 20];
        bytes[20 - number.len()..].copy_from_slice(&number);
        x402_evm::Address(bytes)
    };
    let authorization = unsigned.authorization();
    assert_eq!(offer.scheme, "exact");
    assert_eq!(authorization.from, payer);
    assert_eq!(authorization.to, address(offer.pay_to));
    assert_eq!(authorization.value.to_string(), offer.amount.to_string());
    assert!(!authorization.value.is_zero());
    assert!(authorization.valid_after <= now.into());
    assert!(authorization.valid_before <= now.saturating_add(3600).into());
    let chain = caip2(offer.network).strip_prefix("eip155:").unwrap().parse().unwrap();
    let (name, version) = (offer.extra("name").unwrap(), offer.extra("version").unwrap());
    let domain = eip712::domain_separator(name, version, chain, address(offer.asset));
    assert_eq!(*unsigned.digest(), eip712::transfer_digest(&domain, authorization));

    // The curve is slow: most payments have a signature that only a gullible verifier takes.
    let mut out = [0; PAYLOAD_BYTES];
    if dice.one_in(8) {
        let key = secp256k1::LocalKey::from_bytes(&[7; 32]).unwrap();
        let payer = x402_evm::Address(Signer::public_key(&key));
        let unsigned = Eip3009Unsigned::new(&choice.offer, payer, now, [9; 32]).unwrap();
        let signature = Signer::sign(&key, unsigned.digest()).unwrap();
        let payload = unsigned.payload(&signature, &mut out).unwrap();
        sent(choice, payload, |payload| {
            gate::verify(&ExactEvm::with_recover(K256), payload, &choice.offer, now).err()
        });
    } else {
        let signature = RecoverableSignature::from_parts([1; 64], false).unwrap();
        let payload = unsigned.payload(&signature, &mut out).unwrap();
        sent(choice, payload, |payload| {
            let scheme = ExactEvm::with_recover(Gullible(payer.0));
            gate::verify(&scheme, payload, &choice.offer, now).err()
        });
    }
}

fn pay_svm(choice: &Choice<'_>, offer: &Offer<'_>, dice: &mut Dice) {
    let key = ed25519::LocalKey::from_seed(&[2; 32]);
    let payer = x402_svm::Address(Signer::public_key(&key));
    let blockhash = (!dice.one_in(8)).then_some([5; 32]);
    let inputs = Inputs { payer, blockhash, nonce: [9; 16], assets: &[] };
    let mut out = [0; PAYMENT_BYTES];
    // `exact_svm` covers offers that cannot be paid because of payer and fee payer.
    let Ok(unsigned) = SvmUnsigned::new(&choice.offer, &inputs, &Dalek, &mut out) else { return };
    let signature = Signer::sign(&key, unsigned.message()).unwrap();
    let mut payload = [0; x402_svm::PAYLOAD_BYTES];
    let payload = unsigned.payload(&signature, &mut payload).unwrap();

    let address = |text: &str| x402_svm::Address::parse(text).unwrap();
    let mut scratch = [0; PAYMENT_BYTES];
    let bytes = x402_svm::read_transaction(payload, &mut scratch).unwrap();
    let transaction = Transaction::parse(bytes).unwrap();
    let message = transaction.message();
    assert_eq!(offer.scheme, "exact");
    assert_eq!(message.key(0), Some(address(offer.extra("feePayer").unwrap())));
    assert_eq!(message.header().signers, 2);
    let mut transfers = 0;
    for instruction in message.instructions() {
        let program = message.key(instruction.program).unwrap();
        if ![TOKEN, TOKEN_2022].contains(&program) {
            assert!(instruction.accounts.is_empty());
            continue;
        }
        transfers += 1;
        let transfer = TransferChecked::parse(instruction.accounts, instruction.data).unwrap();
        assert_eq!(BigUint::from(transfer.amount), offer.amount);
        let (program, mint) = (TokenProgram::at(program).unwrap(), address(offer.asset));
        let account = |owner| associated_token_address(&Dalek, owner, program, mint);
        let places = transfer.accounts().map(|place| message.key(place));
        let (from, to) = (account(payer), account(address(offer.pay_to)));
        assert_eq!(places, [from, Some(mint), to, Some(payer)]);
    }
    assert_eq!(transfers, 1);
    sent(choice, payload, |payload| {
        gate::verify(&ExactSvm::default(), payload, &choice.offer, 1_795_300_000).err()
    });
}

/// A seller reads the message as a payment of the offer, and lets it pass,
/// unless the offer had its network in the other version's spelling.
fn sent(
    choice: &Choice<'_>,
    payload: RawJson<'_>,
    verdict: impl Fn(&PaymentPayload<'_>) -> Option<Reason>,
) {
    // Borrowed for as long as the challenge in one message.
    let choice = *choice;
    let payment = choice.payment(payload);
    let version = payment.x402_version();
    assert_eq!(version, choice.required.x402_version);
    let mut json = vec![0; payment.encoded_len().unwrap()];
    payment.encode(&mut json).unwrap();
    if json.len() > limits::MESSAGE_BYTES {
        return;
    }
    let read = Seller::read(version, &json).unwrap();
    match read.accepted {
        Accepted::V2(accepted) => assert!(accepted.accepts(&choice.offer, &x402_svm::HINTS)),
        Accepted::V1 { scheme, network } => {
            assert!(scheme == choice.offer.scheme && network == choice.offer.network);
        }
    }
    let own = choice.offer.network.as_str().contains(':') == (version == Version::V2);
    assert_eq!(verdict(&read), (!own).then_some(Reason::InvalidNetwork));
}

//! The page's script signs what the Rust buyers sign. This test writes what those make of some offers to
//! `tests/interop/page-vectors.json`, or finds it there; the case `browser: what is signed` compares the script.
#![cfg(feature = "server")]

use std::path::PathBuf;

use serde_json::{Value, json};
use x402_std::core::crypto::ed25519::Dalek;
use x402_std::core::crypto::{Signer, ed25519, secp256k1};
use x402_std::core::wire::{Message as _, PaymentRequirements};
use x402_std::evm::{Address, Eip3009Unsigned};
use x402_std::svm::{Inputs, PAYMENT_BYTES, SvmUnsigned, assets};

const NOW: u64 = 1_800_000_000;

fn evm(offer: &Value) -> Value {
    let json = offer.to_string();
    let view = PaymentRequirements::parse(json.as_bytes()).unwrap();
    let key = secp256k1::LocalKey::from_bytes(&[7; 32]).unwrap();
    let from = Address(Signer::public_key(&key));
    let unsigned = Eip3009Unsigned::new(&view, from, NOW, [9; 32]).unwrap();
    let signature = Signer::sign(&key, unsigned.digest()).unwrap();
    let mut buffer = [0; x402_std::evm::PAYLOAD_BYTES];
    let payload = unsigned.payload(&signature, &mut buffer).unwrap();
    json!({
        "offer": offer,
        "from": from.to_string(),
        "now": NOW,
        "nonce": hex::encode([9; 32]),
        "digest": hex::encode(unsigned.digest()),
        "payload": payload.as_str(),
    })
}

fn svm(offer: &Value, nonce: [u8; 16]) -> Value {
    let json = offer.to_string();
    let view = PaymentRequirements::parse(json.as_bytes()).unwrap();
    let payer = x402_std::svm::Address(Signer::public_key(&ed25519::LocalKey::from_seed(&[2; 32])));
    let blockhash = [5; 32];
    let inputs = Inputs { payer, blockhash: Some(blockhash), nonce, assets: &[] };
    let mut buffer = [0; PAYMENT_BYTES];
    let unsigned = SvmUnsigned::new(&view, &inputs, &Dalek, &mut buffer).unwrap();
    let transaction = hex::encode(unsigned.sign(&[0; 64]));
    let mint = x402_std::svm::Address::parse(offer["asset"].as_str().unwrap()).unwrap();
    let asset = assets::find(view.network.solana().unwrap(), mint).unwrap();
    json!({
        "offer": offer,
        "coin": { "program": asset.mint.program.address().to_string(), "decimals": asset.mint.decimals },
        "payer": payer.to_string(),
        "blockhash": x402_std::svm::Address(blockhash).to_string(),
        "nonce": hex::encode(nonce),
        "transaction": transaction,
    })
}

#[test]
fn the_script_has_the_vectors_of_the_buyers() {
    let on_evm = |network, asset, name, amount, seconds| {
        evm(&json!({
            "scheme": "exact", "network": network, "amount": amount, "asset": asset,
            "payTo": "0x90F79bf6EB2c4f870365E785982E1f101E93b906", "maxTimeoutSeconds": seconds,
            "extra": { "name": name, "version": "2" },
        }))
    };
    let on_solana = |asset: &str, extra: Value, pay_to: &str, nonce| {
        let mut all = json!({ "feePayer": "AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9" });
        all.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let offer = json!({
            "scheme": "exact", "network": "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1", "amount": "1000",
            "asset": asset, "payTo": pay_to, "maxTimeoutSeconds": 60, "extra": all,
        });
        svm(&offer, nonce)
    };
    const USDC: &str = "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU";
    const PYUSD: &str = "CXk2AMBfi3TwaEL2468s6zP8xq9NxTXjp9gjMgzeUynM";
    const PAYEE: &str = "GyGKxMyg1p9SsHfm15MkNUu1u9TN2JtTspcdmrtGUdse";
    let mut payees: Vec<String> = (10..20)
        .map(|seed| ed25519::LocalKey::from_seed(&[seed; 32]))
        .map(|key| x402_std::svm::Address(Signer::public_key(&key)).to_string())
        .collect();
    payees.push(PAYEE.into());
    let mut solana: Vec<_> = payees
        .iter()
        .enumerate()
        .map(|(at, payee)| on_solana(USDC, json!({}), payee, [u8::try_from(at).unwrap(); 16]))
        .collect();
    for memo in ["order-42", "\u{20ac} caf\u{e9} \u{1f600}", &"m".repeat(256), ""] {
        for asset in [USDC, PYUSD] {
            solana.push(on_solana(asset, json!({ "memo": memo }), PAYEE, [0xfe; 16]));
        }
    }
    solana.push(on_solana(PYUSD, json!({}), PAYEE, [255; 16]));
    let vectors = json!({
        "evm": [
            on_evm("eip155:84532", "0x036CbD53842c5426634e7929541eC2318f3dCF7e", "USDC", "10000", 60),
            on_evm("eip155:1329", "0xe15fC38F6D8c56aF07bbCBe3BAf5708A2Bf42392", "USDC", "1", 300),
            on_evm("eip155:1328", "0x4fCF1784B31630811181f670Aea7A7bEF803eaED", "USDC", "999999999999", 86_400),
            on_evm("eip155:8453", "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913", "USD Coin", "123456", 3601),
        ],
        "svm": solana,
    });
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/interop/page-vectors.json");
    let text = serde_json::to_string_pretty(&vectors).unwrap() + "\n";
    if std::env::var_os("WRITE_VECTORS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let kept: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert!(kept == vectors, "the vectors differ: run this test with WRITE_VECTORS=1");
}

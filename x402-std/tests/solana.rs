//! Payments on Solana through the library: seller, facilitator, ledger and buyer.
#![allow(missing_docs)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::routing::{get, post};
use axum::{Json, Router};
use common::{Act, NETWORK, SELLER, SVM_NETWORK, SVM_SELLER, Scripted};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use x402_core::buyer::{Decline, Flow};
use x402_core::crypto::{Signer, Verify, ed25519};
use x402_core::gate::Verified;
use x402_core::{Either, Money, Payment as _, Reason, Scheme as _, Version, base64};
use x402_std::buyer::wallet::{BlockhashError, PaymentSigner, SignFailure, SvmWallet};
use x402_std::buyer::{Asset, Buyer, Policy};
use x402_std::clock::SystemClock;
use x402_std::facilitator::ledger::SimulatedLedger;
use x402_std::facilitator::{Facilitator, LocalFacilitator, WithScheme};
use x402_std::message::{
    PaymentPayload, PaymentRequired, PaymentRequirements, SettleResponse, VerifyRequest,
};
use x402_std::rpc::SvmRpc;
use x402_std::scheme::{Exact, ExactOnEvm, ExactOnSvm, ExactPayment};
use x402_std::seller::{Offers, Seller, Unsupported, exact};
use x402_std::svm::message::{TRANSACTION_BYTES, Transaction};
use x402_std::svm::{self, base58};
use x402_std::transport::PaymentText;

/// Both offers, Solana first, as the facilitator completes them.
async fn terms(facilitator: &impl Facilitator) -> Offers {
    let offers = [
        exact(SVM_NETWORK, SVM_SELLER, "$0.01").unwrap(),
        exact(NETWORK, SELLER, "$0.01").unwrap(),
    ];
    Offers::new(offers).with_supported(&facilitator.supported().await.unwrap()).unwrap()
}

fn challenge(terms: &Offers, version: Version) -> PaymentRequired {
    PaymentRequired::from_json(terms.challenge(version, "").unwrap().as_bytes()).unwrap()
}

async fn sign(terms: &Offers, version: Version) -> PaymentText {
    Buyer::new(common::svm_wallet()).sign(&challenge(terms, version), 0).await.unwrap()
}

fn request(payment: &PaymentText, offer: &PaymentRequirements) -> VerifyRequest {
    VerifyRequest {
        payment_payload: PaymentPayload::from_json(payment.json.as_bytes()).unwrap(),
        payment_requirements: offer.clone(),
        other: None,
    }
}

/// The decoded transaction of a payment, changed, and put back.
fn changed(payment: &PaymentText, change: impl Fn(&mut Vec<u8>)) -> PaymentText {
    let mut json: Value = serde_json::from_str(&payment.json).unwrap();
    let mut scratch = [0; TRANSACTION_BYTES];
    let text = json["payload"]["transaction"].as_str().unwrap();
    let mut bytes = base64::decode(text.as_bytes(), &mut scratch).unwrap().to_vec();
    change(&mut bytes);
    let mut out = [0; 2 * TRANSACTION_BYTES];
    json["payload"]["transaction"] = base64::encode(&bytes, &mut out).unwrap().into();
    PaymentText { json: json.to_string(), ..payment.clone() }
}

#[tokio::test]
async fn each_wallet_pays_its_offer_of_one_challenge() {
    let facilitator = Scripted::new();
    let seller = Seller::new(facilitator.clone());
    let terms = terms(&facilitator).await;
    seller.check(&terms).unwrap();
    let required = challenge(&terms, Version::V2);
    let evm = Buyer::new(common::wallet());
    let svm = Buyer::new(common::svm_wallet());
    assert_eq!(svm.choose(&required, "").unwrap().index, 0);
    assert_eq!(evm.choose(&required, "").unwrap().index, 1);
    // Whoever can pay both takes the seller's favourite; whoever can pay none, nothing.
    let both = Buyer::new((common::wallet(), common::svm_wallet()));
    assert_eq!(both.choose(&required, "").unwrap().index, 0);
    let none = Buyer::new(None::<SvmWallet<ed25519::LocalKey>>);
    assert_eq!(none.choose(&required, "").unwrap_err().reason, Decline::Unpayable);

    for (index, payer) in [
        (0, common::svm_wallet().address().to_string()),
        (1, common::wallet().address().to_string()),
    ] {
        let payment = both.sign(&required, index).await.unwrap();
        let admit = || seller.admit(&terms, Version::V2, payment.json.as_bytes());
        let admission = admit().await.unwrap();
        assert_eq!(admission.payment().payer().to_string(), payer);
        assert_eq!(admission.flow(), Flow::Authorization);
        let receipt = seller.settle(admission).await.unwrap();
        assert!(receipt.success);
        assert_eq!(receipt.payer, Some(payer));
        assert_eq!(receipt.network, *terms.accepts[index].network);
        assert_eq!(admit().await.unwrap_err().reason, Reason::DuplicateSettlement);
    }
    assert_eq!((facilitator.paid(), facilitator.paid_svm()), (10_000, 10_000));
}

#[tokio::test]
async fn a_transaction_goes_by_the_fee_payers_signature() {
    let facilitator = Scripted::new();
    let terms = terms(&facilitator).await;
    let payment = sign(&terms, Version::V2).await;
    let request = request(&payment, &terms.accepts[0]);
    let receipt = facilitator.settle(&request).await.unwrap();
    let signature: [u8; 64] = base58::decode(&receipt.transaction).unwrap();
    let mut scratch = [0; TRANSACTION_BYTES];
    let bytes = svm::read_transaction(request.payment_payload.payload.as_raw(), &mut scratch);
    let transaction = Transaction::parse(bytes.unwrap()).unwrap();
    let message = transaction.message();
    let fee_payer = message.key(0).unwrap();
    assert!(ed25519::Dalek.verify(&fee_payer.0, message.as_bytes(), &signature));
    let supported = facilitator.supported().await.unwrap();
    let signers: Value = serde_json::from_str(supported.signers.unwrap().as_str()).unwrap();
    assert_eq!(signers, json!({ "solana:*": [fee_payer.to_string()] }));
}

/// The signatures are not part of who a payment is: what the chain runs once is the message.
#[tokio::test]
async fn a_payment_in_other_clothes_is_the_same_payment() {
    let facilitator = Scripted::new();
    let seller = Seller::new(facilitator.clone());
    let terms = terms(&facilitator).await;
    let payment = sign(&terms, Version::V2).await;
    let dressed = changed(&payment, |bytes| bytes[1..65].fill(7));
    let admission = seller.admit(&terms, Version::V2, payment.json.as_bytes()).await.unwrap();
    seller.settle(admission).await.unwrap();
    let refusal = seller.admit(&terms, Version::V2, dressed.json.as_bytes()).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::DuplicateSettlement);
    assert_eq!(facilitator.paid_svm(), 10_000);
}

#[tokio::test]
async fn fifty_at_once_are_served_once() {
    let facilitator = Scripted::new();
    let seller = Arc::new(Seller::new(facilitator.clone()));
    let terms = Arc::new(terms(&facilitator).await);
    let payment = Arc::new(sign(&terms, Version::V2).await);
    let served = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let (seller, terms, payment, served) =
                (seller.clone(), terms.clone(), payment.clone(), served.clone());
            tokio::spawn(async move {
                let admission = seller.admit(&terms, Version::V2, payment.json.as_bytes()).await;
                if let Ok(admission) = admission
                    && seller.settle(admission).await.is_ok()
                {
                    served.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!((served.load(Ordering::SeqCst), facilitator.paid_svm()), (1, 10_000));
}

#[tokio::test]
async fn what_is_pending_is_resumed_and_not_sent_again() {
    let facilitator = Scripted::new();
    let seller = Seller::new(facilitator.clone());
    let terms = terms(&facilitator).await;
    let payment = sign(&terms, Version::V2).await;
    let admit = || seller.admit(&terms, Version::V2, payment.json.as_bytes());
    facilitator.inner.ledger().set_pending(true);
    let refusal = seller.settle(admit().await.unwrap()).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::SettlementPending);
    let transaction = refusal.receipt.unwrap().transaction;
    assert_eq!(base58::decode::<64>(&transaction).map(|_| ()), Some(()));
    facilitator.inner.ledger().set_pending(false);
    let admission = admit().await.unwrap();
    assert_eq!(admission.flow(), Flow::Upfront);
    assert_eq!(seller.settle(admission).await.unwrap().transaction, transaction);
    assert_eq!(facilitator.paid_svm(), 10_000);
}

/// Official facilitators say "failed" without a transaction also of one they have lost sight of.
#[tokio::test]
async fn failed_without_a_transaction_is_not_certain() {
    for reason in [Reason::InvalidExactSvmTransactionFailed, Reason::TransactionFailed] {
        for (transaction, certain) in [("", false), ("3cRQc1wh", true)] {
            let facilitator = Scripted::new();
            let seller = Seller::new(facilitator.clone());
            let terms = terms(&facilitator).await;
            let payment = sign(&terms, Version::V2).await;
            let admit = || seller.admit(&terms, Version::V2, payment.json.as_bytes());
            facilitator.next_settle(Act::Settle(Box::new(SettleResponse {
                error_reason: Some(reason.to_string()),
                transaction: transaction.into(),
                network: SVM_NETWORK.into(),
                ..SettleResponse::default()
            })));
            let refusal = seller.settle(admit().await.unwrap()).await.unwrap_err();
            if certain {
                assert_eq!(refusal.reason, reason);
                assert_eq!(admit().await.unwrap_err().reason, reason);
            } else {
                assert_eq!(refusal.reason, Reason::UnknownSettlementError);
                assert!(seller.settle(admit().await.unwrap()).await.unwrap().success);
            }
        }
    }
}

#[tokio::test]
async fn nobody_pays_with_the_tokens_of_another() {
    let facilitator = Scripted::new();
    let seller = Seller::new(facilitator.clone());
    let terms = terms(&facilitator).await;
    let key = ed25519::LocalKey::from_seed(&[9; 32]);
    let thief = svm::Address(Signer::public_key(&key));
    let account = |owner| {
        let usdc = common::svm_usdc();
        svm::associated_token_address(&ed25519::Dalek, owner, usdc.mint.program, usdc.address)
    };
    let (own, victims) =
        (account(thief).unwrap(), account(common::svm_wallet().address()).unwrap());
    let buyer = Buyer::new(SvmWallet::new(ed25519::LocalKey::from_seed(&[9; 32])));
    let payment = buyer.sign(&challenge(&terms, Version::V2), 0).await.unwrap();
    let payment = changed(&payment, |bytes| {
        let at = bytes.windows(32).position(|window| *window == own.0).unwrap();
        bytes[at..at + 32].copy_from_slice(&victims.0);
        let signature = Signer::sign(&key, &bytes[129..]).unwrap();
        bytes[65..129].copy_from_slice(&signature);
    });
    let refusal = seller.admit(&terms, Version::V2, payment.json.as_bytes()).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::InvalidExactSvmTransactionSimulationFailed);
}

/// Between the challenge and the payment the seller may have moved on to another blockhash.
#[tokio::test]
async fn a_blockhash_in_an_offer_is_a_hint() {
    let facilitator = Scripted::new();
    let seller = Seller::new(facilitator.clone());
    let old = terms(&facilitator).await;
    let payment = sign(&old, Version::V2).await;
    let with = |key: &str, value: &str| {
        let mut terms = old.clone();
        terms.accepts[0] = terms.accepts[0].clone().with_extra(key, value);
        terms
    };
    let newer = with("recentBlockhash", SVM_SELLER);
    let admission = seller.admit(&newer, Version::V2, payment.json.as_bytes()).await.unwrap();
    seller.release(admission).await;
    // Everything else must be as it was offered.
    for other in [with("feePayer", SVM_SELLER), with("memo", "order-1")] {
        let refusal = seller.admit(&other, Version::V2, payment.json.as_bytes()).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::InvalidPaymentRequirements);
    }
    // A blockhash the chain does not know is found by the simulation.
    let payment = sign(&newer, Version::V2).await;
    let refusal = seller.admit(&newer, Version::V2, payment.json.as_bytes()).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::InvalidExactSvmTransactionSimulationFailed);
}

#[tokio::test]
async fn version_1_of_the_protocol() {
    let facilitator = Scripted::new();
    let seller = Seller::new(facilitator.clone());
    let terms = terms(&facilitator).await;
    let payment = sign(&terms, Version::V1).await;
    assert!(payment.json.contains(r#""network":"solana-devnet""#));
    let admission = seller.admit(&terms, Version::V1, payment.json.as_bytes()).await.unwrap();
    let receipt = seller.settle(admission).await.unwrap();
    assert_eq!((receipt.success, receipt.network.as_str()), (true, "solana-devnet"));
    let mut stale = terms.clone();
    stale.accepts[0] = stale.accepts[0].clone().with_extra("recentBlockhash", SVM_SELLER);
    let payment = sign(&stale, Version::V1).await;
    let refusal = seller.admit(&terms, Version::V1, payment.json.as_bytes()).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::TransactionSimulationFailed);
}

#[tokio::test]
async fn token_2022_and_transactions_of_version_1() {
    let facilitator = Scripted::new();
    let seller = Seller::new(facilitator.clone());
    let base = terms(&facilitator).await;
    let pyusd = svm::assets::ASSETS
        .iter()
        .find(|asset| asset.symbol == "PYUSD" && asset.network == common::svm_usdc().network)
        .unwrap();
    let ledger = facilitator.inner.ledger();
    ledger.fund_svm(pyusd, common::svm_wallet().address(), 50_000).unwrap();
    let mut offer = base.accepts[0].clone();
    offer.asset = pyusd.address.to_string();
    let terms = Offers::new([offer.with_extra("transactionVersions", json!([1]))]);
    let payment = sign(&terms, Version::V2).await;
    let admission = seller.admit(&terms, Version::V2, payment.json.as_bytes()).await.unwrap();
    let Either::Second(transfer) = admission.payment() else { panic!("on Solana") };
    assert_eq!(transfer.transaction()[0], 0x81);
    assert_eq!(transfer.payment().token_program, svm::TokenProgram::Token2022);
    seller.settle(admission).await.unwrap();
    assert_eq!(ledger.balance_svm(pyusd, common::svm_wallet().address()), 40_000);
    let payee = svm::Address::parse(SVM_SELLER).unwrap();
    assert_eq!(ledger.balance_svm(pyusd, payee), 10_000);
}

#[tokio::test]
async fn the_facilitator_pays_fees_with_its_own_key_only() {
    let facilitator = LocalFacilitator::new(common::ledger());
    let terms = terms(&facilitator).await;
    let own = &terms.accepts[0];
    let foreign = own.clone().with_extra("feePayer", SVM_SELLER);
    let payment = sign(&Offers::from(foreign.clone()), Version::V2).await;
    for (offer, reason) in [
        (&foreign, Reason::InvalidExactSvmFeePayerNotManagedByFacilitator),
        (own, Reason::InvalidExactSvmFeePayerMismatch),
    ] {
        let request = request(&payment, offer);
        let answer = facilitator.verify(&request).await.unwrap();
        assert_eq!(answer.invalid_reason.as_deref(), Some(reason.as_str()));
        assert_eq!(answer.payer, Some(common::svm_wallet().address().to_string()));
        let answer = facilitator.settle(&request).await.unwrap();
        assert_eq!(answer.error_reason.as_deref(), Some(reason.as_str()));
    }
    // A seller whose facilitator pays takes whichever fee payer its own offer names.
    let payload = PaymentPayload::from_json(payment.json.as_bytes()).unwrap();
    let verified =
        x402_core::gate::verify(&Exact::default(), &payload.as_view(), &foreign.as_view(), 0);
    assert_eq!(
        verified.map(|verified| verified.payment().payer()),
        Ok(Exact::default().named_payer(&payload.as_view(), &foreign.as_view()).unwrap())
    );
}

#[tokio::test]
async fn more_than_the_price_is_refused_unless_the_seller_wants_it() {
    let facilitator = Scripted::new();
    let terms = terms(&facilitator).await;
    let offer = terms.accepts[0].clone();
    let generous = sign(
        &Offers::from(PaymentRequirements { amount: 20_000.into(), ..offer.clone() }),
        Version::V2,
    )
    .await;
    let payload = PaymentPayload::from_json(generous.json.as_bytes()).unwrap();
    let verify = |over_payment, amount: u64| -> Result<Verified<ExactPayment>, Reason> {
        let svm = ExactOnSvm { over_payment, ..ExactOnSvm::default() };
        let schemes = (ExactOnEvm::default(), svm);
        let offer = PaymentRequirements { amount: amount.into(), ..offer.clone() };
        x402_core::gate::verify(&schemes, &payload.as_view(), &offer.as_view(), 0)
    };
    let mismatch = Err(Reason::InvalidExactSvmPayloadAmountMismatch);
    let amount = |verified: Verified<ExactPayment>| match verified.payment() {
        Either::Second(transfer) => transfer.payment().amount,
        Either::First(_) => 0,
    };
    assert_eq!(verify(false, 10_000).map(amount), mismatch);
    assert_eq!(verify(true, 10_000).map(amount), Ok(20_000));
    assert_eq!(verify(true, 20_001).map(amount), mismatch);
}

#[tokio::test]
async fn offers_are_completed_or_refused() {
    let facilitator = LocalFacilitator::new(SimulatedLedger::new());
    let mut supported = facilitator.supported().await.unwrap();
    let bare = exact("solana-devnet", SVM_SELLER, "$0.01").unwrap();
    assert_eq!(&*bare.network, SVM_NETWORK);
    // Without a fee payer it cannot be paid, so it cannot be offered.
    let seller = Seller::new(facilitator);
    let long = "m".repeat(257);
    for (terms, words) in [
        (Offers::new([]), "no offers"),
        (
            Offers::from(bare.clone()),
            "offer 0 cannot be paid: invalid_exact_svm_payload_missing_fee",
        ),
        (Offers::from(bare.clone()), "Offers::with_supported"),
        (
            Offers::from(bare.clone().with_extra("feePayer", SVM_SELLER).with_extra("memo", long)),
            "memo",
        ),
        (Offers::from(bare.clone().with_extra("feePayer", SVM_SELLER).upfront()), ""),
        (
            Offers::from(
                bare.clone().with_extra("feePayer", SVM_SELLER).with_extra("paymentFlow", "x"),
            ),
            "offer 0",
        ),
    ] {
        let said = seller.check(&terms).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(said.contains(words) && said.is_empty() == words.is_empty(), "{said}");
    }
    // What the seller says itself stays.
    let own = bare.clone().with_extra("feePayer", SVM_SELLER);
    let terms = Offers::new([own.clone()]).with_supported(&supported).unwrap();
    assert!(terms.accepts[0].extra.as_ref().unwrap().as_str().contains(SVM_SELLER));
    supported.kinds = supported
        .kinds
        .iter()
        .filter(|it| it.network.as_view().solana().is_none())
        .cloned()
        .collect();
    let evm = exact(NETWORK, SELLER, "$0.01").unwrap();
    let refused = Offers::new([evm, bare]).with_supported(&supported);
    assert_eq!(refused.unwrap_err(), Unsupported { index: 1 });
    for (network, pay_to) in [("solana-devnet", SELLER), (NETWORK, SVM_SELLER)] {
        assert!(exact(network, pay_to, "$0.01").is_err());
    }
}

#[tokio::test]
async fn a_blockhash_comes_from_the_offer_or_from_a_node() {
    const HASH: &str = "CmpNeggWJ4JaWJeJ8YKN1Zypmk7uvQq3PECGUCAEMbky";
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let node = Router::new()
        .route(
            "/key",
            post(move |Json(call): Json<Value>| async move {
                assert_eq!(call["method"], "getLatestBlockhash");
                count.fetch_add(1, Ordering::SeqCst);
                Json(json!({ "jsonrpc": "2.0", "id": 1, "result": { "value": { "blockhash": HASH } } }))
            }),
        )
        .route("/broken", post(|| async { Json(json!({ "error": { "code": -32000 } })) }))
        .route("/get", get(|| async { "" }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, node).await });

    let bare = exact(SVM_NETWORK, SVM_SELLER, "$0.01").unwrap().with_extra("feePayer", SVM_SELLER);
    let sign = async |wallet: &dyn Fn() -> SvmWallet<ed25519::LocalKey>, path: &str, offer| {
        let rpc = SvmRpc::new(&format!("{url}{path}")).unwrap();
        assert!(!format!("{rpc:?}").contains("key"));
        let wallet = wallet().with_blockhashes(rpc);
        let payload = wallet.sign(None, &offer, 0, [9; 32]).await?;
        let mut scratch = [0; TRANSACTION_BYTES];
        let bytes = svm::read_transaction(payload.as_raw(), &mut scratch).unwrap();
        let message = Transaction::parse(bytes).unwrap();
        Ok::<_, SignFailure>(*message.message().lifetime())
    };
    let wallet = &common::svm_wallet as &dyn Fn() -> _;
    let hash = base58::decode::<32>(HASH).unwrap();
    assert_eq!(sign(wallet, "/key", bare.clone()).await, Ok(hash));
    let given = bare.clone().with_extra("recentBlockhash", SVM_SELLER);
    assert_eq!(sign(wallet, "/key", given).await, Ok(base58::decode(SVM_SELLER).unwrap()));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    for (path, error) in [
        ("/broken", BlockhashError::BadAnswer),
        ("/get", BlockhashError::Status(405)),
        ("/missing", BlockhashError::Status(404)),
    ] {
        assert_eq!(sign(wallet, path, bare.clone()).await, Err(SignFailure::Blockhash(error)));
    }
    let alone = common::svm_wallet().sign(None, &bare, 0, [9; 32]).await;
    let nobody = BlockhashError::NobodyToAsk;
    assert_eq!(alone.unwrap_err(), SignFailure::Blockhash(nobody));
    let gone = SvmRpc::new("http://127.0.0.1:1").unwrap().latest_blockhash().await;
    assert_eq!(gone, Err(BlockhashError::Unreachable));
    for refused in ["http://rpc.example.com/key", "ftp://127.0.0.1/", "nonsense"] {
        assert!(SvmRpc::new(refused).is_err());
    }
}

#[tokio::test]
async fn unlisted_tokens_take_a_word_from_both_sides() {
    let mint = svm::Address([77; 32]);
    let asset = svm::Asset {
        network: common::svm_usdc().network,
        symbol: "TEST",
        address: mint,
        mint: svm::Mint {
            program: svm::TokenProgram::Token2022,
            decimals: 9,
            extensions: svm::Extensions::NONE,
        },
    };
    let facilitator = Scripted::new();
    let mut terms = terms(&facilitator).await;
    terms.accepts.truncate(1);
    terms.accepts[0].asset = mint.to_string();
    let wary = Seller::new(facilitator.clone());
    assert!(wary.check(&terms).is_err());
    let rules = ExactOnSvm { assets: vec![asset], ..ExactOnSvm::default() };
    let scheme = (ExactOnEvm::default(), rules);
    let seller = Seller::new(WithScheme::new(facilitator.clone(), scheme));
    seller.check(&terms).unwrap();
    let required = challenge(&terms, Version::V2);
    let policy = || Policy {
        assets: vec![Asset {
            network: SVM_NETWORK.parse().unwrap(),
            address: mint.to_string(),
            decimals: 9,
        }],
        max: Money::ONE,
        ..Policy::default()
    };
    let wary_buyer = Buyer::with_parts(common::svm_wallet(), policy(), SystemClock);
    assert_eq!(wary_buyer.choose(&required, "").unwrap_err().reason, Decline::Unpayable);
    let wallet = || common::svm_wallet().with_assets(vec![asset]);
    assert_eq!(Buyer::new(wallet()).choose(&required, "").unwrap_err().reason, Decline::Asset);
    let buyer = Buyer::with_parts(wallet(), policy(), SystemClock);
    let index = buyer.choose(&required, "").unwrap().index;
    let payment = buyer.sign(&required, index).await.unwrap();
    facilitator.next_verify(Act::Verify(true));
    let admission = seller.admit(&terms, Version::V2, payment.json.as_bytes()).await.unwrap();
    seller.release(admission).await;
    let refusal = wary.admit(&terms, Version::V2, payment.json.as_bytes()).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::InvalidExactSvmPayloadMintMismatch);
}

#[tokio::test]
async fn nothing_of_keys_or_payments_is_shown() {
    let facilitator = Scripted::new();
    let terms = terms(&facilitator).await;
    let payment = sign(&terms, Version::V2).await;
    let payload = PaymentPayload::from_json(payment.json.as_bytes()).unwrap();
    let verified = x402_core::gate::verify(
        &Exact::default(),
        &payload.as_view(),
        &terms.accepts[0].as_view(),
        0,
    );
    let transaction =
        serde_json::from_str::<Value>(&payment.json).unwrap()["payload"]["transaction"].to_string();
    let shown = format!(
        "{verified:?} {payload:?} {payment:?} {:?} {:?}",
        common::svm_wallet(),
        Buyer::new(common::svm_wallet())
    );
    assert!(!shown.contains(&transaction[1..60]) && !shown.contains("[2, 2, 2"), "{shown}");
}

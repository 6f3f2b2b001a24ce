//! The paying client against honest and hostile sellers, over real sockets on this machine.
#![allow(missing_docs)]

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, Response};
use axum::routing::any;
use common::{CHAIN_ID, NETWORK, SELLER, buyer, ledger, usdc};
use std::collections::BTreeMap;
use tokio::net::{TcpListener, TcpStream};
use x402_core::buyer::Decline;
use x402_core::claim::Transaction;
use x402_core::crypto::secp256k1::LocalKey;
use x402_core::gate::Verified;
use x402_core::{Amount, Money, ParseError, Reason, Retry, Version};
use x402_evm::Address;
use x402_std::buyer::budget::{Budget, Limit, LimitError, State};
use x402_std::buyer::client::{Client, HttpError, HttpTransport, WithPayments as _};
use x402_std::buyer::wallet::EvmWallet;
use x402_std::buyer::{Asset, BuyError, Buyer, Doubt, Policy, PurchaseOptions};
use x402_std::clock::SystemClock;
use x402_std::facilitator::ledger::Networks;
use x402_std::facilitator::ledger::{Ledger, Outcome, SimulatedLedger};
use x402_std::facilitator::{
    Facilitator, FacilitatorError, FacilitatorUrlError, LocalFacilitator, RemoteFacilitator, router,
};
use x402_std::message::{
    Json, PaymentPayload, PaymentRequired, PaymentRequirements, ResourceInfo, SettleResponse,
    SupportedKind, VerifyRequest, encode_header,
};
use x402_std::scheme::{Exact, ExactPayment};
use x402_std::seller::server::PaymentLayer;
use x402_std::seller::{Seller, exact};

async fn serve(app: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}")
}

type Seen = Arc<Mutex<Vec<HeaderMap>>>;

/// A seller that answers its n-th request with the n-th of `answers`, and notes the headers.
async fn scripted(answers: Vec<Response<Body>>) -> (String, Seen) {
    let answers =
        Arc::new(Mutex::new(answers.into_iter().collect::<std::collections::VecDeque<_>>()));
    let seen = Seen::default();
    let note = Arc::clone(&seen);
    let handler = move |request: Request| async move {
        note.lock().unwrap().push(request.headers().clone());
        answers.lock().unwrap().pop_front().unwrap_or_default()
    };
    (serve(Router::new().fallback(any(handler))).await, seen)
}

fn offer() -> PaymentRequirements {
    exact(NETWORK, SELLER, "$0.01").unwrap()
}

fn required(offers: impl IntoIterator<Item = PaymentRequirements>) -> PaymentRequired {
    PaymentRequired {
        x402_version: Version::V2,
        error: None,
        resource: Some(ResourceInfo { url: "http://a.test/".into(), ..ResourceInfo::default() }),
        accepts: offers.into_iter().collect(),
        extensions: Json::parse(r#"{"x":{"info":{"caf\u00e9":[1,2]}}}"#).ok(),
        other: None,
    }
}

fn challenge(required: &PaymentRequired) -> Response<Body> {
    let header = required.to_header().unwrap();
    Response::builder().status(402).header("payment-required", header).body(Body::empty()).unwrap()
}

fn refusal(reason: &str, transaction: &str) -> Response<Body> {
    let receipt = SettleResponse {
        error_reason: Some(reason.into()),
        transaction: transaction.into(),
        network: NETWORK.into(),
        ..SettleResponse::default()
    };
    let header = receipt.to_header().unwrap();
    Response::builder().status(402).header("payment-response", header).body("{}".into()).unwrap()
}

fn client() -> Client<EvmWallet<LocalKey>> {
    Client::new(buyer()).unwrap()
}

fn client_with(policy: Policy) -> Client<EvmWallet<LocalKey>> {
    Client::with_parts(
        Buyer::with_parts(common::wallet(), policy, SystemClock),
        HttpTransport::new().unwrap(),
    )
}

#[tokio::test]
async fn pays_and_gets_a_receipt() {
    let facilitator = Arc::new(LocalFacilitator::new(ledger()));
    let url = serve(router(Arc::clone(&facilitator))).await;
    let seller = Arc::new(Seller::new(RemoteFacilitator::new(&url).unwrap()));
    let paid = |charge: PaymentLayer<_>| {
        any(|body: String| async move { format!("got {body}") }).layer(charge)
    };
    let app = Router::new()
        .route("/v2", paid(PaymentLayer::new(Arc::clone(&seller), offer())))
        .route("/v1", paid(PaymentLayer::new(seller, offer()).with_v1_body()))
        .route("/free", any(|| async { "free" }));
    let url = serve(app).await;
    let client = client();
    let bought = client.get(&format!("{url}/free")).await.unwrap();
    assert!(bought.paid.is_none() && bought.receipt.is_none());
    for path in ["v2", "v1"] {
        let mut request =
            reqwest::Request::new(reqwest::Method::POST, format!("{url}/{path}").parse().unwrap());
        *request.body_mut() = Some("a question".into());
        let bought = client.execute(&request).await.unwrap();
        assert_eq!(bought.paid, Some(offer()));
        assert!(bought.receipt.unwrap().success);
        assert_eq!(bought.response.text().await.unwrap(), "got a question");
    }
    let seller = Address::parse(SELLER).unwrap();
    assert_eq!(facilitator.ledger().balance(CHAIN_ID, usdc(), seller), Amount::from(20_000));
}

#[tokio::test]
async fn echoes_what_it_was_sent_and_pays_once() {
    let required = required([offer()]);
    let (url, seen) =
        scripted(vec![challenge(&required), challenge(&required), challenge(&required)]).await;
    let error = client().get(&url).await.unwrap_err();
    let BuyError::Refused { reason: None, retry: Retry::SameAgain, payment, .. } = error else {
        panic!("{error}");
    };
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 2, "a challenge in answer to a payment is not paid");
    let sent = seen[1]["payment-signature"].as_bytes();
    assert_eq!(sent, encode_header(payment.json.as_bytes()).as_bytes());
    let (extensions, resource) = (required.extensions.unwrap(), required.resource.unwrap());
    assert!(payment.json.contains(extensions.as_str()));
    let payload = PaymentPayload::from_header(sent).unwrap();
    assert_eq!(payload.resource, Some(resource));
    assert_eq!(payload.accepted, x402_std::message::Accepted::V2(Box::new(offer())));
}

/// Of a payment on an EVM network, with the transaction's id in the network's form.
fn evm_receipt() -> SettleResponse {
    SettleResponse {
        success: true,
        transaction: format!("0x{}", "aB".repeat(32)),
        network: NETWORK.into(),
        ..SettleResponse::default()
    }
}

fn svm_offer() -> PaymentRequirements {
    let extra = r#"{"feePayer":"AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9",
        "recentBlockhash":"CmpNeggWJ4JaWJeJ8YKN1Zypmk7uvQq3PECGUCAEMbky"}"#;
    let offer = exact(common::SVM_NETWORK, common::SVM_SELLER, "$0.01").unwrap();
    PaymentRequirements { extra: Json::parse(extra).ok(), ..offer }
}

/// Only a receipt that can be this payment's ends its purchase; any other leaves it signed, with the
/// payment, to be presented again.
#[tokio::test]
async fn a_receipt_that_proves_nothing_ends_no_purchase() {
    type Change = fn(&mut SettleResponse);
    let on_evm: [(u16, Change, Option<Doubt>); 24] = [
        (200, |_| {}, None),
        (204, |it| it.network = String::new(), None),
        (200, |it| it.network = "base-sepolia".into(), None),
        (200, |it| it.payer = Some(String::new()), None),
        (200, |it| it.payer = Some(common::wallet().address().to_string()), None),
        (200, |it| it.payer = Some(common::wallet().address().to_string().to_lowercase()), None),
        (200, |it| it.amount = Some(10_000.into()), None),
        (200, |it| it.amount = Some(10_001.into()), None),
        (200, |it| it.error_reason = Some(String::new()), None),
        (500, |_| {}, Some(Doubt::NotDelivered)),
        (403, |_| {}, Some(Doubt::NotDelivered)),
        (307, |_| {}, Some(Doubt::NotDelivered)),
        (304, |_| {}, Some(Doubt::NotDelivered)),
        (200, |it| it.error_reason = Some("settlement_failed".into()), Some(Doubt::Contradiction)),
        (200, |it| it.transaction = String::new(), Some(Doubt::Transaction)),
        (200, |it| it.transaction = "0x".into(), Some(Doubt::Transaction)),
        (200, |it| it.transaction = "pending".into(), Some(Doubt::Transaction)),
        (200, |it| it.transaction.push('0'), Some(Doubt::Transaction)),
        (200, |it| it.transaction = it.transaction.replace('a', "g"), Some(Doubt::Transaction)),
        (200, |it| it.transaction = svm_transaction(), Some(Doubt::Transaction)),
        (200, |it| it.network = "eip155:1".into(), Some(Doubt::Network)),
        (200, |it| it.network = "not a network".into(), Some(Doubt::Network)),
        (200, |it| it.payer = Some(SELLER.into()), Some(Doubt::Payer)),
        (200, |it| it.amount = Some(9_999.into()), Some(Doubt::Amount)),
    ];
    let on_svm: [(u16, Change, Option<Doubt>); 5] = [
        (200, |_| {}, None),
        (200, |it| it.payer = Some(common::svm_wallet().address().to_string()), None),
        (
            200,
            |it| it.payer = Some(common::svm_wallet().address().to_string().to_lowercase()),
            Some(Doubt::Payer),
        ),
        (200, |it| it.transaction = evm_receipt().transaction, Some(Doubt::Transaction)),
        (200, |it| it.network = NETWORK.into(), Some(Doubt::Network)),
    ];
    let svm_receipt = || SettleResponse {
        transaction: svm_transaction(),
        network: common::SVM_NETWORK.into(),
        ..evm_receipt()
    };
    let on_evm =
        on_evm.map(|(status, change, doubt)| (offer(), evm_receipt(), status, change, doubt));
    let on_svm =
        on_svm.map(|(status, change, doubt)| (svm_offer(), svm_receipt(), status, change, doubt));
    for (offer, mut receipt, status, change, doubt) in on_evm.into_iter().chain(on_svm) {
        change(&mut receipt);
        for version in [Version::V1, Version::V2] {
            let required = PaymentRequired { x402_version: version, ..required([offer.clone()]) };
            let answer = Response::builder()
                .status(status)
                .header(version.receipt_header(), receipt.to_header().unwrap())
                .body(Body::empty())
                .unwrap();
            let (url, _) = scripted(vec![v1_or_v2(&required), answer]).await;
            let buyer = Buyer::new((common::svm_wallet(), common::wallet()));
            let client = Client::with_parts(buyer, HttpTransport::new().unwrap());
            let request = reqwest::Request::new(reqwest::Method::GET, url.parse().unwrap());
            let order = PurchaseOptions { id: Some("one"), ..PurchaseOptions::default() };
            let bought = client.buy_with(&request, &order).await.unwrap();
            assert_eq!(bought.doubt, doubt, "{status} {receipt:?}");
            assert_eq!(bought.proof().is_some(), doubt.is_none());
            assert_eq!(bought.receipt.as_ref(), Some(&receipt), "as it came");
            let kept = client.buyer().budget().find("one").await.unwrap().unwrap();
            assert_eq!(kept.payment.is_some(), doubt.is_some(), "{status} {receipt:?}");
            match doubt {
                None => assert_eq!(kept.state, State::Paid(Box::new(receipt.clone()))),
                Some(_) => {
                    assert_eq!(kept.state, State::Signed);
                    let again = client.buy_with(&request, &order).await.unwrap();
                    assert_eq!(again.payment, kept.payment, "the same payment is presented");
                }
            }
        }
    }
}

fn svm_transaction() -> String {
    x402_std::svm::base58::encode(&[5; 64], &mut [0; 100]).unwrap().into()
}

/// Version 1 has its challenge in the body.
fn v1_or_v2(required: &PaymentRequired) -> Response<Body> {
    if required.x402_version == Version::V2 {
        return challenge(required);
    }
    let v1 = PaymentRequired { resource: None, extensions: None, ..required.clone() };
    Response::builder().status(402).body(v1.to_json().unwrap().into()).unwrap()
}

/// A receipt with an empty amount is one that does not give it; any other fault makes it none.
#[tokio::test]
async fn an_empty_amount_is_none() {
    let json = |amount: &str| {
        let SettleResponse { transaction, network, .. } = evm_receipt();
        format!(
            r#"{{"success":true,"transaction":"{transaction}","network":"{network}",{amount}}}"#
        )
    };
    for (amount, is_proof) in [
        (r#""amount":"""#, true),
        (r#""amount" : "" ,"payer":null"#, true),
        (r#""amount":null"#, true),
        (r#""amount":"10000""#, true),
        (r#""amount":" ""#, false),
        (r#""amount":"1e4""#, false),
        (r#""amount":10000"#, false),
        (r#""amount":"","amount":"10000""#, false),
        (r#""amount":"","success":true"#, false),
    ] {
        // An amount that is none is shown, and proves nothing.
        let is_read = is_proof || !amount.contains(',');
        let header = encode_header(json(amount).as_bytes());
        let answer = Response::builder().header("payment-response", header);
        let answer = answer.body(Body::empty()).unwrap();
        let (url, _) = scripted(vec![challenge(&required([offer()])), answer]).await;
        let bought = client().get(&url).await.unwrap();
        assert_eq!(bought.proof().is_some(), is_proof, "{amount}");
        assert_eq!(bought.receipt.is_some(), is_read, "{amount}");
    }
}

#[tokio::test]
async fn pending_is_presented_again_byte_for_byte() {
    let pending = || refusal("settlement_pending", "0xabc");
    let (url, seen) =
        scripted(vec![challenge(&required([offer()])), pending(), Response::new("done".into())])
            .await;
    let bought = client().get(&url).await.unwrap();
    assert_eq!(bought.response.text().await.unwrap(), "done");
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 3);
    assert_eq!(seen[1]["payment-signature"], seen[2]["payment-signature"]);
}

#[tokio::test]
async fn refusals_say_why_and_what_to_do() {
    for (reason, retry) in [
        ("invalid_exact_evm_insufficient_balance", Retry::Never),
        ("invalid_exact_evm_payload_authorization_valid_before", Retry::SignAnew),
        ("duplicate_settlement", Retry::Never),
        ("facilitator_unavailable", Retry::SameAgain),
        ("invalid_payload", Retry::Never),
    ] {
        let in_challenge =
            challenge(&PaymentRequired { error: Some(reason.into()), ..required([offer()]) });
        let mut with_status =
            challenge(&PaymentRequired { error: Some(reason.into()), ..required([offer()]) });
        *with_status.status_mut() = reqwest::StatusCode::BAD_GATEWAY;
        for answer in [refusal(reason, ""), in_challenge, with_status] {
            let (url, _) = scripted(vec![challenge(&required([offer()])), answer]).await;
            let error = client().get(&url).await.unwrap_err();
            let BuyError::Refused {
                reason: Some(given), error: Some(words), retry: advice, ..
            } = error
            else {
                panic!("{error}");
            };
            assert_eq!((given, advice), (Reason::parse(reason).unwrap(), retry));
            assert_eq!(words, reason);
        }
    }
}

#[tokio::test]
async fn a_payment_is_never_redirected() {
    let elsewhere = challenge(&required([offer()]));
    let (other, seen_by_other) = scripted(vec![elsewhere]).await;
    let redirect = |to: &str| {
        Response::builder()
            .status(307)
            .header("location", to.to_owned())
            .body(Body::empty())
            .unwrap()
    };
    // Handed to the caller, before a payment and in answer to one, whatever the target.
    for target in ["/again", other.as_str()] {
        let (url, seen) = scripted(vec![redirect(target)]).await;
        let bought = client().get(&url).await.unwrap();
        assert_eq!((bought.response.status().as_u16(), bought.paid), (307, None));
        assert_eq!(seen.lock().unwrap().len(), 1);
        let (url, seen) = scripted(vec![challenge(&required([offer()])), redirect(target)]).await;
        let bought = client().get(&url).await.unwrap();
        assert_eq!((bought.response.status().as_u16(), seen.lock().unwrap().len()), (307, 2));
    }
    assert!(seen_by_other.lock().unwrap().is_empty());
}

/// A client of the caller's own pays, unless it followed a redirect to the price.
#[tokio::test]
async fn a_client_that_is_there_already_pays_at_the_requested_url_only() {
    let paid = || Response::new(Body::from("content"));
    let redirect = |to: &str| {
        let response = Response::builder().status(307).header("location", to.to_owned());
        response.body(Body::empty()).unwrap()
    };
    let client = |follows| {
        let policy = match follows {
            true => reqwest::redirect::Policy::default(),
            false => reqwest::redirect::Policy::none(),
        };
        let http = reqwest::Client::builder().redirect(policy).build().unwrap();
        http.with_payments(buyer())
    };
    for follows in [false, true] {
        let (url, seen) = scripted(vec![challenge(&required([offer()])), paid()]).await;
        let answer = client(follows).get(&format!("{url}#part")).await.unwrap();
        assert_eq!(answer.response.text().await.unwrap(), "content");
        assert_eq!(seen.lock().unwrap().len(), 2);
        // What costs nothing may be anywhere.
        let (url, _) = scripted(vec![redirect("/there"), paid()]).await;
        let status = if follows { 200 } else { 307 };
        assert_eq!(client(follows).get(&url).await.unwrap().response.status(), status);
    }
    let (other, seen) = scripted(vec![challenge(&required([offer()])), paid()]).await;
    let (url, _) = scripted(vec![redirect(&other)]).await;
    let refused = client(true).get(&url).await.unwrap_err();
    assert!(matches!(refused, BuyError::Transport(HttpError::Redirected)), "{refused:?}");
    // Only the question came there.
    assert_eq!(seen.lock().unwrap().len(), 1);
    let (url, _) = scripted(vec![challenge(&required([offer()])), redirect(&other)]).await;
    let unclear = client(true).get(&url).await.unwrap_err();
    assert!(
        matches!(unclear, BuyError::Unclear { error: HttpError::Redirected, .. }),
        "{unclear:?}"
    );
}

#[tokio::test]
async fn declines_what_the_policy_does_not_allow() {
    let changed = |change: &dyn Fn(&mut PaymentRequirements)| {
        let mut offer = offer();
        change(&mut offer);
        offer
    };
    let with_extra = |json: &str| {
        let json = json.to_owned();
        changed(&move |offer| offer.extra = Json::parse(json.as_str()).ok())
    };
    let unknown = "0x00000000000000000000000000000000000000aa";
    let own = Policy {
        assets: vec![Asset {
            network: "base-sepolia".parse().unwrap(),
            address: unknown.to_uppercase().replacen("0X", "0x", 1),
            decimals: 2,
        }],
        ..Policy::default()
    };
    let unknown = changed(&|offer| offer.asset = unknown.into());
    let cases: Vec<(Policy, PaymentRequirements, Result<(), Decline>)> = vec![
        (Policy::default(), offer(), Ok(())),
        (Policy::default(), exact(NETWORK, SELLER, "$1").unwrap(), Ok(())),
        (Policy::default(), exact(NETWORK, SELLER, "$1.000001").unwrap(), Err(Decline::OverLimit)),
        (
            Policy { max: Money::parse("$0.009999").unwrap(), ..Policy::default() },
            offer(),
            Err(Decline::OverLimit),
        ),
        (Policy::default(), changed(&|offer| offer.amount = Amount::MAX), Err(Decline::OverLimit)),
        (Policy::default(), unknown.clone(), Err(Decline::Asset)),
        // The same number of units is more money in a token of two decimals.
        (own.clone(), unknown.clone(), Err(Decline::OverLimit)),
        (own, changed(&|o| (o.asset, o.amount) = (unknown.asset.clone(), 100.into())), Ok(())),
        (
            Policy { networks: Some(vec!["base".parse().unwrap()]), ..Policy::default() },
            offer(),
            Err(Decline::Network),
        ),
        (
            Policy { networks: Some(vec!["base-sepolia".parse().unwrap()]), ..Policy::default() },
            offer(),
            Ok(()),
        ),
        (Policy { payees: Some(vec![]), ..Policy::default() }, offer(), Err(Decline::Payee)),
        (
            Policy { payees: Some(vec![SELLER.to_lowercase()]), ..Policy::default() },
            offer(),
            Ok(()),
        ),
        (
            Policy::default(),
            changed(&|offer| offer.scheme = "upto".into()),
            Err(Decline::Unpayable),
        ),
        (
            Policy::default(),
            changed(&|offer| offer.network = "solana:x".parse().unwrap()),
            Err(Decline::Unpayable),
        ),
        (Policy::default(), changed(&|offer| offer.pay_to = "joe".into()), Err(Decline::Unpayable)),
        (Policy::default(), with_extra("{}"), Err(Decline::Unpayable)),
        (
            Policy::default(),
            with_extra(r#"{"name":"USDC","version":"2","assetTransferMethod":"permit2"}"#),
            Err(Decline::Unpayable),
        ),
        (
            Policy::default(),
            with_extra(r#"{"name":"USDC","version":"2","paymentFlow":"escrow"}"#),
            Err(Decline::PaymentFlow),
        ),
    ];
    for (policy, offer, wanted) in cases {
        let (url, seen) = scripted(vec![challenge(&required([offer.clone()]))]).await;
        let outcome = client_with(policy).get(&url).await;
        match (wanted, outcome) {
            (Ok(()), Ok(bought)) => assert_eq!(bought.paid, Some(offer)),
            (Err(wanted), Err(BuyError::Declined(decline))) => {
                assert_eq!(decline.reason, wanted, "{offer:?}");
                assert_eq!(seen.lock().unwrap().len(), 1);
            }
            (wanted, outcome) => panic!("{offer:?}: {wanted:?}, {outcome:?}"),
        }
    }
    // The first that fits is taken, whatever stands before it; upfront only if nothing else fits.
    let upfront = with_extra(r#"{"name":"USDC","version":"2","paymentFlow":"upfront"}"#);
    let (url, _) = scripted(vec![challenge(&required([unknown, upfront, offer()]))]).await;
    assert_eq!(client().get(&url).await.unwrap().paid, Some(offer()));
    let (url, _) = scripted(vec![challenge(&required([]))]).await;
    assert!(matches!(
        client().get(&url).await,
        Err(BuyError::Declined(x402_std::buyer::Declined { reason: Decline::NoOffers, .. }))
    ));
}

#[tokio::test]
async fn unreadable_challenges_are_errors_and_nothing_is_signed() {
    let answer = |header: Option<&str>, body: String| {
        let mut answer = Response::builder().status(402);
        if let Some(header) = header {
            answer = answer.header("payment-required", header);
        }
        answer.body(body.into()).unwrap()
    };
    let good = required([offer()]).to_json().unwrap();
    let header = "PAYMENT-REQUIRED";
    let cases = [
        ("body", answer(None, String::new()), ParseError::UnexpectedEnd),
        ("body", answer(None, "{}".into()), ParseError::MissingField),
        ("body", answer(None, "<html>".into()), ParseError::UnexpectedByte),
        // A broken header is not made up for by a body.
        (header, answer(Some("%%%"), good.clone()), ParseError::NotBase64),
        (
            header,
            answer(Some(&encode_header(b"{\"a\":1")), good.clone()),
            ParseError::UnexpectedEnd,
        ),
        (
            "body",
            answer(None, good.replace("\"x402Version\":2", "\"x402Version\":9")),
            ParseError::UnsupportedVersion,
        ),
    ];
    for (part, answer, wanted) in cases {
        let (url, seen) = scripted(vec![answer]).await;
        match client().get(&url).await {
            Err(BuyError::Challenge(error)) => {
                assert_eq!((error.part, error.error.error), (part, wanted));
                assert_eq!(error.body_is_good, part != "body");
            }
            other => panic!("{wanted:?}: {other:?}"),
        }
        assert_eq!(seen.lock().unwrap().len(), 1);
    }
    let (url, _) = scripted(vec![answer(None, " ".repeat(1 << 20))]).await;
    let error = client().get(&url).await.unwrap_err();
    assert_eq!(error.to_string(), "the challenge cannot be read: body: longer than allowed");
    // A challenge in the body alone is as good as one in the header.
    let (url, _) = scripted(vec![answer(None, good)]).await;
    assert!(client().get(&url).await.unwrap().paid.is_some());
}

#[tokio::test]
async fn a_budget_holds_over_many_payments() {
    let facilitator = Arc::new(LocalFacilitator::new(ledger()));
    let seller = Arc::new(Seller::new(facilitator));
    let app =
        Router::new().route("/", any(|| async { "" }).layer(PaymentLayer::new(seller, offer())));
    let url = serve(app).await;
    let policy = Policy { limits: vec!["$0.035".parse().unwrap()], ..Policy::default() };
    let client = client_with(policy);
    for _ in 0..3 {
        client.get(&url).await.unwrap();
    }
    assert!(matches!(client.get(&url).await, Err(BuyError::OverBudget(_))));
    // A seller that refuses has the signed payment all the same: it counts.
    for reason in ["invalid_exact_evm_insufficient_balance", "some_new_code"] {
        let policy = Policy { limits: vec!["$0.01".parse().unwrap()], ..Policy::default() };
        let client = client_with(policy);
        let refused = refusal(reason, "");
        let (refusing, _) = scripted(vec![challenge(&required([offer()])), refused]).await;
        assert!(matches!(client.get(&refusing).await, Err(BuyError::Refused { .. })));
        assert!(matches!(client.get(&url).await, Err(BuyError::OverBudget(_))));
    }
}

#[tokio::test]
async fn a_payment_without_an_answer_is_handed_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let header = required([offer()]).to_header().unwrap();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        // Answers the first request, then hangs up on whatever comes.
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 4096];
        assert!(socket.read(&mut buffer).await.unwrap() > 0);
        let answer = format!(
            "HTTP/1.1 402 x\r\npayment-required: {header}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        );
        socket.write_all(answer.as_bytes()).await.unwrap();
        drop(socket);
        while let Ok((socket, _)) = listener.accept().await {
            drop(socket);
        }
    });
    let error = client().get(&url).await.unwrap_err();
    assert!(matches!(error, BuyError::Unclear { .. }), "{error}");
    let shown = format!("{error:?} {error}");
    assert!(!shown.contains("signature"), "{shown}");
}

#[tokio::test]
async fn a_request_that_pays_already_is_left_alone() {
    let mut request =
        reqwest::Request::new(reqwest::Method::GET, "http://127.0.0.1:9/".parse().unwrap());
    request.headers_mut().insert("x-payment", "e30=".parse().unwrap());
    let outcome = client().execute(&request).await;
    assert!(matches!(outcome, Err(BuyError::Transport(HttpError::AlreadyPaid))));
}

/// Whatever goes to nobody, to the token, to oneself or to a mistyped address is lost.
#[tokio::test]
async fn a_payee_that_cannot_be_meant_is_not_paid() {
    let to = |offer: &PaymentRequirements, payee: &str| PaymentRequirements {
        pay_to: payee.into(),
        ..offer.clone()
    };
    let (evm, svm) = (offer(), svm_offer());
    let own = common::wallet().address().to_string();
    let own_svm = common::svm_wallet().address().to_string();
    let mistyped = SELLER.replace("F79", "f79");
    let programs = [
        "11111111111111111111111111111111",
        "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA",
        "TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb",
    ];
    let nobody = "0x0000000000000000000000000000000000000000";
    let mut cases = vec![
        (to(&evm, SELLER), true),
        (to(&evm, &SELLER.to_lowercase()), true),
        (to(&evm, &format!("0x{}", SELLER[2..].to_uppercase())), true),
        (to(&evm, &mistyped), false),
        (to(&evm, nobody), false),
        (to(&evm, &usdc().to_string()), false),
        (to(&evm, &usdc().to_string().to_lowercase()), false),
        (to(&evm, &own), false),
        (to(&evm, &own.to_lowercase()), false),
        (to(&svm, common::SVM_SELLER), true),
        (to(&svm, &svm.asset), false),
        (to(&svm, &own_svm), false),
    ];
    cases.extend(programs.map(|program| (to(&svm, program), false)));
    let buyer = Buyer::new((common::svm_wallet(), common::wallet()));
    for (offer, is_paid) in cases {
        let required = required([offer]);
        let payee = required.accepts[0].pay_to.clone();
        let chosen = buyer.choose(&required, "").map(|choice| choice.index);
        let chosen = chosen.map_err(|declined| declined.reason);
        assert_eq!(chosen, if is_paid { Ok(0) } else { Err(Decline::NoPayee) }, "{payee}");
        // Nor where the policy is not asked, but for a mistyped one, which somebody may have looked at.
        let is_signed = is_paid || payee == mistyped;
        assert_eq!(buyer.sign(&required, 0).await.is_ok(), is_signed, "{payee}");
    }
    // Another offer of the same challenge is paid.
    let both = required([to(&evm, nobody), evm]);
    assert_eq!(buyer.choose(&both, "").unwrap().index, 1);
}

/// A limit for a host binds it however host and URL are spelt, or is refused.
#[test]
fn a_limit_for_a_host_binds_or_is_refused() {
    use x402_std::transport::Transport;
    let transport = HttpTransport::new().unwrap();
    let refused = |limit: &str, url: &str| {
        let limit = limit.parse().unwrap_or_else(|error| panic!("{limit}: {error}"));
        let request = reqwest::Request::new(reqwest::Method::GET, url.parse().unwrap());
        let host = transport.subject(&request).host;
        let policy = Policy { limits: vec![limit], ..Policy::default() };
        let chosen = policy.choose(&required([offer()]), &host, &common::wallet());
        chosen.is_err_and(|declined| declined.reason == Decline::OverLimit)
    };
    for (host, url) in [
        ("shop.test", "https://shop.test/"),
        ("Shop.TEST", "https://shop.test/"),
        ("shop.test", "https://SHOP.test./"),
        ("shop.test.", "https://shop.test/"),
        ("shop.test:80", "http://shop.test/"),
        ("shop.test:80", "https://shop.test:80/"),
        ("shop.test:443", "https://shop.test/"),
        ("shop.test:443", "http://shop.test:443/"),
        ("shop.test:8443", "https://shop.test.:8443/"),
        ("localhost.", "http://localhost/"),
        ("localhost:4021", "http://localhost.:4021/"),
        ("127.0.0.1:80", "http://127.1/"),
        ("127.0.0.1", "http://0x7f.1/"),
        ("[0::1]:4021", "http://[::1]:4021/"),
        ("xn--bcher-kva.test", "https://b\u{fc}cher.test/"),
        ("example.test", "https://ex%61mple.test/"),
    ] {
        assert!(refused(&format!("$0.005 per day host {host}"), url), "{host} {url}");
        assert!(!refused(&format!("$0.01 per day host {host}"), url), "{host} {url}");
        assert!(!refused("$0.005 per day host other.test", url), "{url}");
        // And so do the names of an allow-list.
        let policy = Policy {
            hosts: Some(vec![x402_std::buyer::budget::host(host).unwrap()]),
            ..Policy::default()
        };
        let request = reqwest::Request::new(reqwest::Method::GET, url.parse().unwrap());
        let host = transport.subject(&request).host;
        let chosen = policy.choose(&required([offer()]), &host, &common::wallet());
        assert!(chosen.is_ok(), "{host} {url}");
    }
    for host in ["*", "*.test", "127.1", "0x7f.1", "b\u{fc}cher.test", "ex%61mple.test", "a:x"] {
        let error = format!("$1 per day host {host}").parse::<Limit>().unwrap_err();
        assert!(matches!(error, LimitError::Host(_)), "{host}: {error}");
    }
}

/// Before a payment is signed, and before one that is given is sent.
#[tokio::test]
async fn plain_http_is_for_this_machine_and_hosts_that_are_named() {
    use x402_std::transport::Transport;
    let transport = HttpTransport::new().unwrap();
    let named = ["10.0.0.1:8402", "Board.Local.", "shop.test:80"];
    let named = transport.clone().with_plain_http_hosts(named).unwrap();
    for (url, always, if_named) in [
        ("https://shop.test/", true, true),
        ("http://127.0.0.1/", true, true),
        ("http://127.1:4021/", true, true),
        ("http://localhost:4021/", true, true),
        ("http://[::1]:4021/", true, true),
        ("http://shop.test/", false, true),
        ("http://SHOP.test.:80/", false, true),
        ("http://board.local/", false, true),
        ("http://10.0.0.1:8402/", false, true),
        ("http://10.0.0.1/", false, false),
        ("http://10.0.0.1:8403/", false, false),
        ("http://shop.test:8080/", false, false),
        ("http://a.shop.test/", false, false),
        ("http://0.0.0.0/", false, false),
        ("http://[::ffff:127.0.0.1]/", false, false),
        ("http://127.0.0.1.nip.test/", false, false),
        ("http://user@shop.test.evil.test/", false, false),
    ] {
        let request = reqwest::Request::new(reqwest::Method::GET, url.parse().unwrap());
        assert_eq!(transport.may_pay(&request).is_ok(), always, "{url}");
        assert_eq!(named.may_pay(&request).is_ok(), if_named, "{url}");
        if !always {
            let payment = buyer().sign(&required([offer()]), 0).await.unwrap();
            let sent = buyer().present(&transport, &request, payment).await;
            let Err(BuyError::Transport(HttpError::PlainHttp)) = sent else { panic!("{url}") };
        }
    }
    assert!(transport.with_plain_http_hosts(["*.test"]).is_err());
}

#[test]
fn a_facilitator_is_asked_over_tls_or_on_this_machine() {
    for url in [
        "https://facilitator.example.com/x402/",
        "http://127.0.0.1:4022",
        "http://127.8.8.8",
        "http://localhost:1",
        "http://[::1]:1",
    ] {
        assert!(RemoteFacilitator::new(url).is_ok(), "{url}");
    }
    for (url, error) in [
        ("http://facilitator.example.com", FacilitatorUrlError::NotSecure),
        ("http://127.0.0.1.example.com", FacilitatorUrlError::NotSecure),
        ("http://10.0.0.1", FacilitatorUrlError::NotSecure),
        ("ftp://127.0.0.1", FacilitatorUrlError::NotSecure),
        ("facilitator", FacilitatorUrlError::NotAbsolute),
        ("https://a.example.com/?key=secret", FacilitatorUrlError::NotAbsolute),
    ] {
        assert_eq!(RemoteFacilitator::new(url).unwrap_err(), error, "{url}");
    }
}

#[tokio::test]
async fn a_facilitators_odd_answers_are_errors() {
    let facilitator = Arc::new(LocalFacilitator::new(ledger()));
    let payment = buyer().sign(&required([offer()]), 0).await.unwrap();
    let request = VerifyRequest {
        payment_payload: PaymentPayload::from_json(payment.json.as_bytes()).unwrap(),
        payment_requirements: offer(),
        other: None,
    };
    let answer = |status: u16, body: &str| {
        Response::builder().status(status).body(Body::from(body.to_owned())).unwrap()
    };
    let yes = r#"{"success":true,"transaction":"0x1","network":"eip155:84532"}"#;
    let no = r#"{"success":false,"transaction":"","network":"","errorReason":"x"}"#;
    let mut redirect = answer(302, yes);
    redirect.headers_mut().insert("location", "/settle".parse().unwrap());
    for (answer, wanted) in [
        (answer(500, "oops"), Err(FacilitatorError::Status(500))),
        (answer(500, yes), Err(FacilitatorError::Status(500))),
        (redirect, Err(FacilitatorError::Status(302))),
        (answer(200, "oops"), Err(FacilitatorError::BadAnswer(ParseError::UnexpectedByte))),
        (answer(200, "{}"), Err(FacilitatorError::BadAnswer(ParseError::MissingField))),
        (
            answer(200, &yes.replace("true", "\"true\"")),
            Err(FacilitatorError::BadAnswer(ParseError::WrongType)),
        ),
        (answer(200, &" ".repeat(1 << 20)), Err(FacilitatorError::BadAnswer(ParseError::TooLong))),
        (answer(400, no), Ok(false)),
        (answer(200, yes), Ok(true)),
    ] {
        let (url, _) = scripted(vec![answer]).await;
        let remote = RemoteFacilitator::new(&url).unwrap();
        let outcome = remote.settle(&request).await.map(|answer| answer.success);
        assert_eq!(outcome, wanted);
    }
    let remote = RemoteFacilitator::new("http://127.0.0.1:9").unwrap();
    assert_eq!(remote.verify(&request).await, Err(FacilitatorError::Unreachable));
    // Through the router: the same answers as without HTTP between.
    let remote = RemoteFacilitator::new(&serve(router(Arc::clone(&facilitator))).await).unwrap();
    assert_eq!(remote.supported().await, facilitator.supported().await);
    assert_eq!(remote.verify(&request).await, facilitator.verify(&request).await);
    let settled = remote.settle(&request).await.unwrap();
    assert!(settled.success, "{settled:?}");
    let again = facilitator.settle(&request).await.unwrap();
    assert_eq!(again.error_reason.as_deref(), Some("duplicate_settlement"));
}

/// A chain that takes its time.
struct Slow(SimulatedLedger);

impl Networks for Slow {
    type Scheme = Exact;
    type Unsent = <SimulatedLedger as Networks>::Unsent;

    fn scheme(&self) -> Exact {
        self.0.scheme()
    }

    fn kinds(&self) -> Vec<SupportedKind> {
        self.0.kinds()
    }

    fn signers(&self) -> BTreeMap<&'static str, Vec<String>> {
        self.0.signers()
    }

    async fn send(&self, unsent: Self::Unsent) {
        tokio::time::sleep(Duration::from_millis(200)).await;
        self.0.send(unsent).await;
    }
}

impl Ledger<ExactPayment> for Slow {
    async fn check(&self, payment: Verified<&ExactPayment>, now: u64) -> Result<(), Reason> {
        self.0.check(payment, now).await
    }

    async fn prepare(
        &self,
        payment: Verified<&ExactPayment>,
    ) -> Result<(Transaction, Self::Unsent), Reason> {
        self.0.prepare(payment).await
    }

    async fn confirm(&self, payment: Verified<&ExactPayment>, id: &Transaction) -> Outcome {
        self.0.confirm(payment, id).await
    }
}

/// Whoever asks for a settlement and hangs up does not leave it half done.
#[tokio::test]
async fn a_settlement_outlives_the_caller() {
    use tokio::io::AsyncWriteExt;
    let facilitator = Arc::new(LocalFacilitator::new(Slow(ledger())));
    let url = serve(router(Arc::clone(&facilitator))).await;
    let payment = buyer().sign(&required([offer()]), 0).await.unwrap();
    let request = VerifyRequest {
        payment_payload: PaymentPayload::from_json(payment.json.as_bytes()).unwrap(),
        payment_requirements: offer(),
        other: None,
    };
    let body = request.to_json().unwrap();
    let mut socket = TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap();
    let json = "POST /settle HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n";
    let head = format!("{json}content-length: {}\r\n\r\n", body.len());
    socket.write_all((head + &body).as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(socket);
    let reason = async || facilitator.settle(&request).await.unwrap().error_reason.unwrap();
    assert_eq!(reason().await, "settlement_pending");
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(reason().await, "duplicate_settlement");
    let seller = Address::parse(SELLER).unwrap();
    let paid = facilitator.ledger().0.balance(CHAIN_ID, usdc(), seller);
    assert_eq!(paid, Amount::from(10_000));
}

//! The stand-in for 1ly.store: bought from on either network, by our client and by one that reads
//! the body only; reviewed by who paid, once.
#![allow(missing_docs)]

mod common;
#[allow(dead_code)] // it is a program
#[path = "../examples/one_ly.rs"]
mod one_ly;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use common::{svm_wallet, wallet};
use one_ly::{EVM, EVM_TREASURY, LINKS, SOLANA, SOLANA_TREASURY};
use reqwest::{Method, Request, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use x402_core::{Amount, Reason};
use x402_std::buyer::client::Client;
use x402_std::buyer::wallet::PaymentSigner;
use x402_std::buyer::{BuyError, Buyer};
use x402_std::facilitator::LocalFacilitator;
use x402_std::facilitator::ledger::SimulatedLedger;
use x402_std::message::{PaymentPayload, PaymentRequired, SettleResponse, encode_header};

const WEATHER: &str = "/api/link/joe/weather";

/// The stand-in, listening.
struct Store {
    url: String,
    facilitator: Arc<LocalFacilitator<SimulatedLedger>>,
    http: reqwest::Client,
}

impl Store {
    async fn new() -> Self {
        let ledger = SimulatedLedger::new();
        one_ly::fund(&ledger, &wallet().address().to_string()).unwrap();
        one_ly::fund(&ledger, &svm_wallet().address().to_string()).unwrap();
        let facilitator = Arc::new(LocalFacilitator::new(ledger));
        let router = one_ly::one_ly(Arc::clone(&facilitator)).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, facilitator, http: reqwest::Client::new() }
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// What the sellers have, on Solana and on EVM.
    fn paid(&self) -> (u64, u64) {
        let ledger = self.facilitator.ledger();
        let solana = x402_std::svm::Address::parse(SOLANA_TREASURY).unwrap();
        let evm = x402_std::evm::Address::parse(EVM_TREASURY).unwrap();
        let evm: Amount = ledger.balance(common::CHAIN_ID, common::usdc(), evm);
        (ledger.balance_svm(common::svm_usdc(), solana), evm.as_u64().unwrap())
    }

    async fn get(&self, path: &str) -> Value {
        let response = self.http.get(self.at(path)).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
    }

    async fn listed(&self, query: &str) -> Vec<Value> {
        let mut found = self.get(&format!("/api/discover?{query}")).await;
        serde_json::from_value(found["results"].take()).unwrap()
    }

    async fn endpoints(&self, query: &str) -> Vec<String> {
        let endpoint = |found: &Value| found["endpoint"].as_str().unwrap().to_owned();
        self.listed(query).await.iter().map(endpoint).collect()
    }

    async fn buyers_of_weather(&self) -> u64 {
        let listed = self.listed("q=").await;
        let weather = listed.iter().find(|found| found["endpoint"] == WEATHER).unwrap();
        weather["stats"]["buyers"].as_u64().unwrap()
    }

    /// Buys at the first offer that the wallet pays: the data, `_1ly`, and the receipt.
    async fn buy(&self, wallet: impl PaymentSigner, path: &str) -> (Value, OneLy, SettleResponse) {
        let client = Client::new(Buyer::new(wallet)).unwrap();
        let bought = client.get(&self.at(path)).await.unwrap();
        let body = bought.response.bytes().await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        (body["data"].clone(), OneLy::of(&body), bought.receipt.unwrap())
    }

    async fn review(&self, review: &Value) -> (StatusCode, Value) {
        let request = self.http.post(self.at("/api/reviews"));
        let request = request.header("content-type", "application/json").body(review.to_string());
        let response = request.send().await.unwrap();
        let status = response.status();
        let body = response.bytes().await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct OneLy {
    purchase: String,
    token: String,
}

impl OneLy {
    fn of(body: &Value) -> Self {
        let field = |name: &str| body["_1ly"][name].as_str().unwrap().to_owned();
        Self { purchase: field("purchaseId"), token: field("reviewToken") }
    }

    fn review(&self, wallet: &str) -> Value {
        json!({
            "purchaseId": self.purchase, "wallet": wallet, "token": self.token, "positive": true,
            "comment": "as sunny as promised",
        })
    }
}

#[tokio::test]
async fn sells_on_solana_first_and_on_evm_to_who_has_only_that() {
    let store = Store::new().await;
    let (data, first, receipt) = store.buy((wallet(), svm_wallet()), WEATHER).await;
    assert_eq!(data, json!({ "city": "Lisbon", "celsius": 21 }));
    assert_eq!(
        (receipt.network.as_str(), receipt.payer),
        (SOLANA, Some(svm_wallet().address().to_string()))
    );
    assert_eq!(store.paid(), (10_000, 0));
    let (_, second, receipt) = store.buy(wallet(), WEATHER).await;
    assert_eq!(
        (receipt.network.as_str(), receipt.payer),
        (EVM, Some(wallet().address().to_string()))
    );
    assert_eq!(store.paid(), (10_000, 10_000));
    assert!(first.purchase != second.purchase && first.token != second.token);
    assert_eq!(first.token.len(), 32);

    // And what is asked of it reaches who answers.
    let client = Client::new(Buyer::new(wallet())).unwrap();
    let mut request = Request::new(Method::POST, store.at(WEATHER).parse().unwrap());
    *request.body_mut() = Some(r#"{"city":"Porto"}"#.into());
    let bought = client.execute(&request).await.unwrap();
    let body: Value = serde_json::from_slice(&bought.response.bytes().await.unwrap()).unwrap();
    assert_eq!(body["data"]["asked"], json!({ "city": "Porto" }));
}

#[tokio::test]
async fn a_dollar_a_payment_buys_no_forecast_whatever_the_listing_says() {
    let store = Store::new().await;
    let client = Client::new(Buyer::new(svm_wallet())).unwrap();
    let refused = client.get(&store.at("/api/link/joe/forecast")).await;
    assert!(matches!(refused, Err(BuyError::Declined(_))), "{refused:?}");
    assert_eq!(store.paid(), (0, 0));
    // The one whose listing and whose challenge differ: the challenge is what is paid.
    let (listed, path) = (store.listed("q=bargain").await, "/api/link/mallory/bargain");
    assert_eq!((listed[0]["endpoint"].as_str(), &listed[0]["price"]), (Some(path), &json!(0.0001)));
    let bought = client.get(&store.at(path)).await.unwrap();
    assert_eq!(bought.paid.unwrap().amount, Amount::from(250_000));
    assert_eq!(store.paid(), (250_000, 0));
}

/// A buyer as 1ly's own client is: it never looks at the challenge's header.
#[tokio::test]
async fn a_buyer_that_reads_only_the_body() {
    for (wanted, expected) in [("solana:", (10_000, 0)), ("eip155:", (0, 10_000))] {
        let store = Store::new().await;
        let url = store.at(WEATHER);
        let unpaid = store.http.get(&url).header("content-type", "application/json");
        let unpaid = unpaid.send().await.unwrap();
        assert_eq!(unpaid.status(), StatusCode::PAYMENT_REQUIRED);
        let body: Value = serde_json::from_slice(&unpaid.bytes().await.unwrap()).unwrap();
        let accepts = body["accepts"].as_array().unwrap();
        let is_wanted = |entry: &Value| entry["network"].as_str().unwrap().starts_with(wanted);
        let index = accepts.iter().position(is_wanted).unwrap();
        // It goes by the amount in the body, as a number.
        let amount = accepts[index]["amount"].as_str().unwrap().parse::<f64>().unwrap();
        assert!(amount > 0.0 && amount / 1e6 <= 1.0);

        let required = PaymentRequired::from_json(body.to_string().as_bytes()).unwrap();
        let buyer = Buyer::new((svm_wallet(), wallet()));
        let payment = buyer.sign(&required, index).await.unwrap();
        let header = encode_header(payment.json.as_bytes());
        let paid = store.http.get(&url).header("payment-signature", header).send().await.unwrap();
        assert_eq!(paid.status(), StatusCode::OK);
        let body: Value = serde_json::from_slice(&paid.bytes().await.unwrap()).unwrap();
        assert_eq!(body["data"]["celsius"], 21);
        OneLy::of(&body);
        assert_eq!(store.paid(), expected, "{wanted}");
    }
}

fn recorded() -> Value {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../x402-core/tests/vectors");
    let text = fs::read(vectors.join("e2e-1ly/1ly-call-402-body.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

fn keys(object: &Value) -> BTreeSet<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn has_the_shape_that_was_recorded() {
    let (store, recorded) = (Store::new().await, recorded());
    let exchanges = recorded["exchanges"].as_array().unwrap();
    let to_store = |exchange: &&Value| exchange["hop"] == "1ly-mcp->server";
    let hops: Vec<_> = exchanges.iter().filter(to_store).collect();
    let [unpaid, paid] = hops[..] else { panic!("{} exchanges", hops.len()) };

    let send = |recorded: &Value, payment: Option<String>| {
        let mut request = store.http.get(store.at(WEATHER));
        for header in recorded["request"]["headers"].as_array().unwrap() {
            let [name, value] = [0, 1].map(|at| header[at].as_str().unwrap());
            let value = payment.as_deref().filter(|_| name == "payment-signature").unwrap_or(value);
            if !["host", "connection", "accept-encoding"].contains(&name) {
                request = request.header(name, value);
            }
        }
        request.send()
    };
    let ours = send(unpaid, None).await.unwrap();
    assert_eq!(json!(ours.status().as_u16()), unpaid["response"]["status"]);
    let header = PaymentRequired::from_header(ours.headers()["payment-required"].as_bytes());
    let body = ours.bytes().await.unwrap();
    let required = PaymentRequired::from_json(&body).unwrap();
    assert_eq!(header.unwrap(), required);
    let body: Value = serde_json::from_slice(&body).unwrap();
    let theirs = &unpaid["response"]["json"];
    assert_eq!(keys(&body), keys(theirs));
    assert_eq!(keys(&body["resource"]), keys(&theirs["resource"]));
    assert_eq!(body["resource"]["url"], store.at(WEATHER));
    let [solana, evm] = &body["accepts"].as_array().unwrap()[..] else { panic!("{body}") };
    for offer in [solana, evm] {
        assert_eq!(keys(offer), keys(&theirs["accepts"][0]));
    }
    assert_eq!((&solana["network"], &evm["network"]), (&json!(SOLANA), &json!(EVM)));
    assert!(solana["extra"]["feePayer"].is_string(), "{solana}");
    assert_eq!(evm["extra"], theirs["accepts"][0]["extra"]);

    let payment = Buyer::new(wallet()).sign(&required, 1).await.unwrap();
    PaymentPayload::from_json(payment.json.as_bytes()).unwrap();
    let sent = encode_header(payment.json.as_bytes());
    let ours = send(paid, Some(sent)).await.unwrap();
    assert_eq!(json!(ours.status().as_u16()), paid["response"]["status"]);
    assert!(ours.headers().contains_key("payment-response"));
    let body: Value = serde_json::from_slice(&ours.bytes().await.unwrap()).unwrap();
    let theirs = &paid["response"]["json"];
    assert_eq!(keys(&body), keys(theirs));
    assert_eq!(keys(&body["_1ly"]), keys(&theirs["_1ly"]));

    // The payment that was recorded is for somebody else's offer, and past.
    let stale = send(paid, None).await.unwrap();
    assert_eq!(stale.status(), StatusCode::PAYMENT_REQUIRED);
    assert_eq!(store.paid(), (0, 10_000));
}

#[tokio::test]
async fn is_reviewed_once_by_who_paid() {
    let store = Store::new().await;
    let (solana, evm) = (svm_wallet().address().to_string(), wallet().address().to_string());
    let (_, bought, _) = store.buy(svm_wallet(), WEATHER).await;
    let (_, other, _) = store.buy(wallet(), WEATHER).await;
    assert_eq!(store.buyers_of_weather().await, 2);

    let good = bought.review(&solana);
    let with = |key: &str, value: Value| {
        let mut review = good.clone();
        review[key] = value;
        review
    };
    let lowered = json!(solana.to_lowercase());
    let refused = [
        (with("token", json!(other.token)), 401, "another purchase's token"),
        (with("token", json!("")), 401, "no token"),
        (with("wallet", json!(evm)), 401, "who bought too, not this"),
        (with("wallet", lowered), 401, "an address on Solana has its case"),
        (with("purchaseId", json!("none")), 404, "no purchase"),
        (with("comment", json!("x".repeat(501))), 400, "too long"),
        (with("positive", json!("yes")), 422, "not a boolean"),
    ];
    for (review, status, why) in refused {
        assert_eq!(store.review(&review).await.0.as_u16(), status, "{why}");
    }
    let (status, body) = store.review(&good).await;
    assert_eq!(status, StatusCode::OK);
    assert!(body["reviewId"].is_string(), "{body}");
    assert_eq!(store.review(&good).await.0, StatusCode::CONFLICT);

    // The other's, in another spelling of the address; this one did not like it.
    let mut second = other.review(&evm.to_lowercase());
    second["positive"] = json!(false);
    second.as_object_mut().unwrap().remove("comment");
    assert_eq!(store.review(&second).await.0, StatusCode::OK);
    let weather = &store.listed("q=lisbon+now").await[0];
    assert_eq!(weather["stats"], json!({ "buyers": 2, "reviews": 2, "rating": 50 }));
}

#[tokio::test]
async fn what_is_not_settled_is_no_purchase() {
    let store = Store::new().await;
    let evm = wallet().address().to_string();
    let guess = OneLy { purchase: "p-1".into(), token: "t-1".into() };
    assert_eq!(store.review(&guess.review(&evm)).await.0, StatusCode::NOT_FOUND);

    // The handler runs, and the settlement does not come to its end: nothing of it goes out.
    store.facilitator.ledger().set_pending(true);
    let client = Client::new(Buyer::new(wallet())).unwrap();
    let refused = client.get(&store.at(WEATHER)).await;
    let Err(BuyError::Refused { response, reason, payment, .. }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(reason, Some(Reason::SettlementPending));
    let body = String::from_utf8(response.bytes().await.unwrap().to_vec()).unwrap();
    assert!(!body.contains("_1ly") && !body.contains("Token"), "{body}");
    assert_eq!(store.buyers_of_weather().await, 0);

    // Once it is settled, the same payment buys, and counts.
    store.facilitator.ledger().set_pending(false);
    let request = Request::new(Method::GET, store.at(WEATHER).parse().unwrap());
    let bought = client.buyer().present(client.transport(), &request, payment).await.unwrap();
    let body: Value = serde_json::from_slice(&bought.response.bytes().await.unwrap()).unwrap();
    assert_eq!(store.buyers_of_weather().await, 1);
    assert_eq!(store.review(&OneLy::of(&body).review(&evm)).await.0, StatusCode::OK);
    assert_eq!(store.paid(), (0, 10_000));
}

#[tokio::test]
async fn is_searched_as_1ly_is() {
    let store = Store::new().await;
    let [weather, forecast, atlas, bargain] =
        LINKS.each_ref().map(|link| format!("/api/link/{}/{}", link.user, link.slug));
    let all = [&weather, &forecast, &atlas, &bargain];
    let cases: [(&str, &[&String]); 10] = [
        ("", &all),
        ("q=weather", &[&weather, &forecast, &bargain]),
        ("q=FORECAST+weather", &[&forecast, &weather, &bargain]),
        ("q=clouds&limit=10", &[&atlas]),
        ("q=stocks", &[]),
        ("q=&type=standard", &[&atlas]),
        ("q=&maxPrice=0.5&minPrice=0.01", &[&weather, &atlas]),
        ("q=weather&limit=1", &[&weather]),
        ("q=weather&limit=2&offset=1", &[&forecast, &bargain]),
        ("q=weather&limit=99999&offset=99999", &[]),
    ];
    for (query, expected) in cases {
        assert_eq!(store.endpoints(query).await.iter().collect::<Vec<_>>(), expected, "{query}");
    }
    let found = store.get("/api/discover?q=weather&limit=1").await;
    assert_eq!(
        found["pagination"],
        json!({ "total": 3, "limit": 1, "offset": 0, "hasMore": true })
    );
    let expected = json!({
        "id": "joe-weather", "title": "Weather API", "description": "The weather in Lisbon, now",
        "endpoint": weather, "price": 0.01, "currency": "USDC", "type": "api",
        "seller": { "username": "joe", "displayName": "joe" },
        "stats": { "buyers": 0, "reviews": 0, "rating": null },
    });
    assert_eq!(found["results"], json!([expected]));
}

#[tokio::test]
async fn is_searched_as_a_bazaar_is() {
    let store = Store::new().await;
    let listed = store.get("/discovery/resources?type=http&limit=2&offset=1").await;
    assert_eq!(listed["pagination"], json!({ "limit": 2, "offset": 1, "total": 4 }));
    let items = listed["items"].as_array().unwrap();
    let resources: Vec<_> = items.iter().map(|item| item["resource"].as_str().unwrap()).collect();
    let expected = ["/api/link/joe/forecast", "/api/link/ada/atlas"].map(|path| store.at(path));
    assert_eq!(resources, expected);

    // It offers what the resource itself asks for.
    let found = store.get("/discovery/search?query=weather&limit=1").await;
    assert_eq!((&found["x402Version"], &found["partialResults"]), (&json!(2), &json!(true)));
    let [weather] = &found["resources"].as_array().unwrap()[..] else { panic!("{found}") };
    let unpaid = store.http.get(weather["resource"].as_str().unwrap()).send().await.unwrap();
    let unpaid: Value = serde_json::from_slice(&unpaid.bytes().await.unwrap()).unwrap();
    assert_eq!(weather["accepts"], unpaid["accepts"]);
    assert_eq!(weather["accepts"].as_array().unwrap().len(), 2);

    for path in ["/discovery/resources?type=mcp", "/discovery/search?query=weather&type=mcp"] {
        let none = store.get(path).await;
        assert_eq!(none.get("items").or(none.get("resources")), Some(&json!([])), "{path}");
    }
}

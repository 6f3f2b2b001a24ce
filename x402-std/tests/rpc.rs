//! The pool of nodes against nodes that fail in every way, over real sockets on this machine.
#![allow(missing_docs)]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::Response;
use axum::routing::any;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use x402_std::buyer::wallet::BlockhashError;
use x402_std::rpc::{Nodes, RpcError, RpcUrlError, SvmRpc};

/// What a node does with one question.
#[derive(Clone, Debug)]
enum Act {
    /// This result.
    Result(Value),
    /// This error code.
    Error(i64),
    /// This HTTP status.
    Status(u16),
    /// These words, whatever was asked; `ID` stands for the id.
    Body(String),
    /// A redirect to here.
    Redirect(String),
    /// Breaks off.
    Break,
    /// This result, a little later.
    Slow(Value),
    /// Says nothing for two seconds.
    Hang,
}

type Seen = Arc<Mutex<Vec<Value>>>;

/// A node that answers the n-th question with the n-th act, and with the last one from then on.
struct Node {
    url: String,
    seen: Seen,
}

impl Node {
    async fn start(acts: impl Into<VecDeque<Act>>) -> Self {
        let acts = Arc::new(Mutex::new(acts.into()));
        let seen = Seen::default();
        let note = Arc::clone(&seen);
        let handler = move |request: Request| async move {
            let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
            let call: Value = serde_json::from_slice(&body).unwrap_or_default();
            let id = call["id"].clone();
            note.lock().unwrap().push(call);
            let act = {
                let mut acts = acts.lock().unwrap();
                if acts.len() > 1 { acts.pop_front() } else { acts.front().cloned() }
            };
            let ok = |body: Value| Response::new(Body::from(body.to_string()));
            match act.unwrap() {
                Act::Result(result) => ok(json!({ "jsonrpc": "2.0", "id": id, "result": result })),
                Act::Error(code) => {
                    let error = json!({ "code": code, "message": "secret", "data": "0x08c379a0" });
                    ok(json!({ "jsonrpc": "2.0", "id": id, "error": error }))
                }
                Act::Status(status) => {
                    Response::builder().status(status).body(Body::empty()).unwrap()
                }
                Act::Body(text) => Response::new(text.replace("ID", &id.to_string()).into()),
                Act::Redirect(to) => Response::builder()
                    .status(307)
                    .header("location", to)
                    .body(Body::empty())
                    .unwrap(),
                Act::Break => {
                    Response::builder().header("content-length", "100").body("{".into()).unwrap()
                }
                Act::Slow(result) => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    ok(json!({ "jsonrpc": "2.0", "id": id, "result": result }))
                }
                Act::Hang => {
                    tokio::time::sleep(Duration::from_secs(2)).await;
                    Response::new(Body::empty())
                }
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://user:password@{}/key", listener.local_addr().unwrap());
        let app = Router::new().fallback(any(handler));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, seen }
    }

    fn asked(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

async fn start<const N: usize>(acts: [Vec<Act>; N]) -> ([Node; N], Nodes) {
    let mut nodes = Vec::new();
    for acts in acts {
        nodes.push(Node::start(acts).await);
    }
    let pool = Nodes::new(nodes.iter().map(|node| &node.url)).unwrap();
    let pool = pool.with_timeout(Duration::from_millis(400));
    (nodes.try_into().ok().unwrap(), pool)
}

fn good() -> Act {
    Act::Result(json!("good"))
}

/// The result or the error in short.
fn short(answer: Result<Box<serde_json::value::RawValue>, RpcError>) -> String {
    match answer {
        Ok(result) => result.get().to_owned(),
        Err(error) => format!("{error:?}"),
    }
}

#[tokio::test]
async fn a_question_is_json_rpc_and_an_answer_may_be_null() {
    let ([node], pool) =
        start([vec![Act::Result(json!({ "a": [1, null] })), Act::Result(Value::Null)]]).await;
    assert_eq!(short(pool.ask("m", &("a", 1)).await), r#"{"a":[1,null]}"#);
    assert_eq!(short(pool.ask("m", &json!([])).await), "null");
    let seen = node.seen.lock().unwrap();
    assert_eq!(seen[0], json!({ "jsonrpc": "2.0", "id": 1, "method": "m", "params": ["a", 1] }));
    assert_eq!(seen[1]["id"], 2);
}

#[tokio::test]
async fn what_is_an_answer_and_what_is_not() {
    let long = format!(r#"{{"jsonrpc":"2.0","id":ID,"result":"{}"}}"#, "x".repeat(4 << 20));
    let body = |text: &str| Act::Body(text.into());
    let (other, seen_by_other) = {
        let node = Node::start([good()]).await;
        (node.url.clone(), node.seen)
    };
    let bad = "RPC node's answer cannot be read: check its URL";
    // Act, what comes of it alone, how often it is asked, and whether the next node is asked.
    let cases = [
        (good(), "\"good\"", 1, false),
        (Act::Error(3), "RPC node answered with error 3", 1, false),
        (Act::Error(-32602), "RPC node answered with error -32602", 1, false),
        (Act::Error(-32015), "RPC node answered with error -32015", 1, false),
        (Act::Error(-32005), "RPC node answered with error -32005", 2, true),
        (Act::Error(-32016), "RPC node answered with error -32016", 2, true),
        (Act::Error(-32029), "RPC node answered with error -32029", 2, true),
        (Act::Error(429), "RPC node answered with error 429", 2, true),
        (Act::Status(429), "RPC node answered with status 429", 2, true),
        (Act::Status(500), "RPC node answered with status 500", 2, true),
        (Act::Status(503), "RPC node answered with status 503", 2, true),
        (Act::Status(401), "RPC node answered with status 401", 1, true),
        (Act::Status(404), "RPC node answered with status 404", 1, true),
        (Act::Redirect(other), "RPC node answered with status 307", 1, true),
        (Act::Break, "RPC node cannot be reached: check its URL", 2, true),
        (Act::Hang, "RPC node timed out", 2, true),
        (body(&long), bad, 2, true),
        (body(""), bad, 2, true),
        (body("<html>"), bad, 2, true),
        (body("[]"), bad, 2, true),
        (body(r#"{"jsonrpc":"2.0","id":ID"#), bad, 2, true),
        (body(r#"{"jsonrpc":"2.0","id":ID}"#), bad, 2, true),
        (body(r#"{"jsonrpc":"2.0","id":99,"result":1}"#), bad, 2, true),
        (body(r#"{"jsonrpc":"2.0","id":"ID","result":1}"#), bad, 2, true),
        (body(r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":""}}"#), bad, 2, true),
        (body(r#"{"jsonrpc":"1.0","id":ID,"result":1}"#), bad, 2, true),
        (body(r#"{"id":ID,"result":1}"#), bad, 2, true),
        (body(r#"{"jsonrpc":"2.0","id":ID,"result":1,"error":{"code":1}}"#), bad, 2, true),
        (body(r#"{"jsonrpc":"2.0","id":ID,"error":{"message":"no code"}}"#), bad, 2, true),
        (body(r#"{"jsonrpc":"2.0","id":ID,"result":1,"result":2}"#), bad, 2, true),
        (body(r#"[{"jsonrpc":"2.0","id":ID,"result":1}]"#), bad, 2, true),
        (body(r#"{"jsonrpc":"2.0","id":ID,"result":1,"more":[]}"#), "1", 1, false),
    ];
    for (act, wanted, times, next) in cases {
        let ([node], pool) = start([vec![act.clone()]]).await;
        let answer = pool.with_attempts(2).ask("m", &()).await;
        assert_eq!(short(answer), wanted, "{act:?}");
        assert_eq!(node.asked(), times, "{act:?}");
        let ([_, second], pool) = start([vec![act.clone()], vec![good()]]).await;
        let answer = short(pool.ask("m", &()).await);
        assert_eq!(answer, if next { "\"good\"" } else { wanted }, "{act:?}");
        assert_eq!(second.asked(), usize::from(next), "{act:?}");
    }
    assert!(seen_by_other.lock().unwrap().is_empty(), "a redirect was followed");
}

#[tokio::test]
async fn words_and_data_of_an_error_are_for_code_only() {
    let (_, pool) = start([vec![Act::Error(3)]]).await;
    let error = pool.ask("m", &()).await.unwrap_err();
    assert_eq!(
        format!("{error:?} {error}"),
        "RPC node answered with error 3 RPC node answered with error 3"
    );
    let RpcError::Refused { code: 3, message, data: Some(data) } = error else { panic!() };
    assert_eq!((message.as_str(), data.get()), ("secret", "\"0x08c379a0\""));
}

#[tokio::test]
async fn the_first_that_works_is_asked_and_one_that_failed_is_asked_last() {
    let failing = vec![Act::Status(500), good()];
    let ([first, second, third], pool) = start([failing, vec![good()], vec![good()]]).await;
    for _ in 0..3 {
        assert_eq!(short(pool.ask("m", &()).await), "\"good\"");
    }
    assert_eq!([&first, &second, &third].map(Node::asked), [1, 3, 0]);
    // It is asked again when nobody else answers, before any wait.
    let ([first, second], pool) =
        start([vec![Act::Status(500), good()], vec![good(), Act::Break]]).await;
    pool.ask("m", &()).await.unwrap();
    assert_eq!(short(pool.clone().ask("m", &()).await), "\"good\"");
    assert_eq!([&first, &second].map(Node::asked), [2, 2]);
}

#[tokio::test]
async fn attempts_are_bounded_and_waits_grow() {
    for (nodes, attempts, wanted) in [(1, 4, vec![4]), (2, 4, vec![2, 2]), (3, 4, vec![2, 1, 1])] {
        let mut started = Vec::new();
        for _ in 0..nodes {
            started.push(Node::start([Act::Status(503)]).await);
        }
        let pool = Nodes::new(started.iter().map(|node| &node.url)).unwrap();
        let begun = Instant::now();
        assert_eq!(
            short(pool.with_attempts(attempts).ask("m", &()).await),
            "RPC node answered with status 503"
        );
        assert_eq!(started.iter().map(Node::asked).collect::<Vec<_>>(), wanted);
        // One node is asked four times with waits of 0.2, 0.4 and 0.8 s, each cut to half at most.
        let (least, most) = if nodes == 1 { (700, 5_000) } else { (100, 5_000) };
        let took = begun.elapsed().as_millis();
        assert!((least..most).contains(&took), "{nodes} nodes took {took} ms");
    }
    // Of several errors the one that tells most.
    let gone = "http://127.0.0.1:1".to_owned();
    let node = Node::start([Act::Status(404)]).await;
    let pool = Nodes::new([&gone, &node.url, &gone]).unwrap().with_attempts(3);
    assert_eq!(short(pool.ask("m", &()).await), "RPC node answered with status 404");
}

#[tokio::test]
async fn everybody_is_told_and_the_first_result_is_enough() {
    let ([a, b, c], pool) = start([vec![Act::Hang], vec![Act::Error(-32002)], vec![good()]]).await;
    let pool = pool.with_timeout(Duration::from_secs(3));
    let begun = Instant::now();
    assert_eq!(short(pool.tell("send", &("tx",)).await), "\"good\"");
    assert!(begun.elapsed() < Duration::from_millis(1_500), "waits for the slowest");
    // The others are told all the same.
    tokio::time::sleep(Duration::from_millis(100)).await;
    for node in [&a, &b, &c] {
        assert_eq!(node.seen.lock().unwrap()[0]["params"], json!(["tx"]));
    }
    let ([a, b], pool) = start([vec![Act::Status(500)], vec![Act::Error(-32002)]]).await;
    assert_eq!(short(pool.tell("send", &()).await), "RPC node answered with error -32002");
    assert_eq!((a.asked(), b.asked()), (2, 1), "a share of four attempts each");
    let ([_, _], pool) = start([vec![Act::Status(500), good()], vec![Act::Break]]).await;
    assert_eq!(short(pool.tell("send", &()).await), "\"good\"");
    let ([a, _], pool) = start([vec![Act::Status(500), good()], vec![good()]]).await;
    assert_eq!(short(pool.tell("send", &()).await), "\"good\"");
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if a.asked() == 2 {
            break;
        }
    }
    assert_eq!(a.asked(), 2, "one that fails is told again, though another one has answered");
}

#[tokio::test]
async fn witnesses_speak_in_order_and_are_replaced_when_they_are_silent() {
    let say = |word: &str| vec![Act::Result(json!(word))];
    let slow = vec![Act::Slow(json!("a"))];
    let ([a, b, c], pool) = start([slow, say("b"), say("c")]).await;
    let words = async |pool: &Nodes, n| {
        pool.ask_each(n, "m", &()).await.into_iter().map(short).collect::<Vec<_>>()
    };
    assert_eq!(words(&pool, 2).await, ["\"a\"", "\"b\""]);
    assert_eq!([&a, &b, &c].map(Node::asked), [1, 1, 0]);
    assert_eq!(words(&pool, 9).await, ["\"a\"", "\"b\"", "\"c\""]);
    assert!(words(&pool, 0).await.is_empty());
    let (_, pool) = start([vec![Act::Hang], say("b"), say("c")]).await;
    assert_eq!(words(&pool, 2).await, ["\"b\"", "\"c\""]);
    // An error is a word.
    let (_, pool) = start([vec![Act::Error(-32011)], say("b")]).await;
    assert_eq!(words(&pool, 1).await, ["RPC node answered with error -32011"]);
    // Nobody is left to ask: what remains is told as it is, and nobody is asked twice.
    let ([a, b], pool) = start([vec![Act::Status(500)], say("b")]).await;
    assert_eq!(words(&pool, 2).await, ["RPC node answered with status 500", "\"b\""]);
    assert_eq!([&a, &b].map(Node::asked), [1, 1]);
}

#[tokio::test]
async fn urls_are_private_and_never_shown() {
    for refused in ["http://rpc.example.com/key", "ftp://127.0.0.1/", "ws://127.0.0.1", "nonsense"]
    {
        assert_eq!(Nodes::new(["http://127.0.0.1:1", refused]).unwrap_err(), RpcUrlError);
    }
    assert_eq!(Nodes::new([""; 0]).unwrap_err(), RpcUrlError);
    let pool = Nodes::new(["https://rpc.example.com/key", "http://user:key@localhost:1"]).unwrap();
    let pool = pool.with_attempts(2).with_timeout(Duration::from_millis(100));
    let gone = Nodes::new(["http://user:key@127.0.0.1:1/key"]).unwrap().with_attempts(1);
    let error = gone.ask("m", &()).await.unwrap_err();
    let shown = format!("{pool:?} {gone:?} {error:?} {error} {:?}", SvmRpc::from(gone.clone()));
    let gone = "RPC node cannot be reached: check its URL";
    assert_eq!(shown, format!("Nodes(2) Nodes(1) {gone} {gone} SvmRpc"));
}

#[tokio::test]
async fn a_wallet_gets_its_blockhash_through_the_pool() {
    let hash = "CmpNeggWJ4JaWJeJ8YKN1Zypmk7uvQq3PECGUCAEMbky";
    let answer = Act::Result(json!({ "context": {}, "value": { "blockhash": hash } }));
    let ([_, _], pool) = start([vec![Act::Break], vec![answer]]).await;
    assert!(SvmRpc::from(pool).latest_blockhash().await.is_ok());
    for (act, error) in [
        (Act::Result(json!({ "value": { "blockhash": "0x" } })), BlockhashError::BadAnswer),
        (Act::Error(1), BlockhashError::BadAnswer),
        (Act::Status(403), BlockhashError::Status(403)),
        (Act::Hang, BlockhashError::Unreachable),
    ] {
        let (_, pool) = start([vec![act]]).await;
        assert_eq!(SvmRpc::from(pool.with_attempts(1)).latest_blockhash().await, Err(error));
    }
}

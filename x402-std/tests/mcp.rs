//! Tools of MCP servers that cost something: what is charged, what is refused, what is never sent;
//! and the gateway as a process.
#![allow(missing_docs)]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Act, CHAIN_ID, NETWORK, SELLER, Scripted, buyer, sign, usdc};
use rmcp::model::*;
use rmcp::service::{RequestContext, RunningService};
use rmcp::{
    ClientLifecycleMode, ClientServiceExt, ErrorData, RoleClient, RoleServer, ServerHandler,
    ServiceError, ServiceExt,
};
use serde_json::{Value, json};
use tokio::sync::Notify;
use x402_core::{Amount, ParseError, Reason, Version};
use x402_evm::Address;
use x402_std::buyer::BuyError;
use x402_std::facilitator::LocalFacilitator;
use x402_std::facilitator::ledger::SimulatedLedger;
use x402_std::mcp::{McpError, McpTransport, PAYMENT, PAYMENT_RESPONSE, PaidTools};
use x402_std::message::{PaymentRequired, PaymentRequirements, SettleResponse};
use x402_std::seller::{Offers, Seller, exact};
use x402_std::store::MemoryStore;
use x402_std::transport::{PaymentText, Transport};

const CONTENT: &str = "secret until paid";

/// A server with tools of every temper, which counts what reaches them.
#[derive(Clone, Default)]
struct Tools {
    called: Arc<AtomicUsize>,
    /// Whether a payment was seen in a call.
    saw_payment: Arc<AtomicUsize>,
    dropped: Arc<AtomicUsize>,
    started: Arc<Notify>,
}

struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().enable_prompts().build())
            .with_instructions("ask me")
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tool = |name: &'static str| Tool::new(name, "a tool", Arc::new(JsonObject::new()));
        let mut typed = tool("typed");
        let schema = json!({ "type": "object", "required": ["degrees"] });
        typed.output_schema = Some(Arc::new(schema.as_object().unwrap().clone()));
        Ok(ListToolsResult::with_all_items(vec![tool("weather"), tool("free"), typed]))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        Ok(GetPromptResult::default().with_description(request.name).into())
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        self.called.fetch_add(1, Ordering::SeqCst);
        let in_request = request.meta.is_some_and(|meta| meta.contains_key(PAYMENT));
        if in_request || context.meta.contains_key(PAYMENT) {
            self.saw_payment.fetch_add(1, Ordering::SeqCst);
        }
        let mut result = CallToolResult::success(vec![ContentBlock::text(CONTENT)]);
        match request.name.as_ref() {
            "fails" => result.is_error = Some(true),
            "breaks" => return Err(ErrorData::invalid_params("broken", None)),
            "panics" => panic!("the tool's own bug"),
            "asks" => return Ok(InputRequiredResult::from_request_state("state").into()),
            "task" => {
                let task = json!({
                    "resultType": "task", "taskId": CONTENT, "status": "working",
                    "createdAt": "2026-11-21T00:00:00Z", "lastUpdatedAt": "2026-11-21T00:00:00Z",
                    "ttlMs": null,
                });
                let task: CreateTaskResult = serde_json::from_value(task).unwrap();
                return Ok(task.into());
            }
            "waits" => {
                let _dropped = Dropped(Arc::clone(&self.dropped));
                self.started.notify_one();
                std::future::pending::<()>().await;
            }
            "tells" => {
                let forged = json!({ "success": true, "transaction": "0xforged", "network": "x" });
                let meta = json!({ "other": 7, PAYMENT_RESPONSE: forged });
                result.meta = Some(serde_json::from_value(meta).unwrap());
                result.structured_content = Some(json!({ "weather": "sunny" }));
            }
            _ => {}
        }
        Ok(result.into())
    }
}

type Client = RunningService<RoleClient, ClientConfig>;

struct Shop {
    client: Client,
    tools: Tools,
    facilitator: Scripted,
}

fn offer(price: &str) -> PaymentRequirements {
    exact(NETWORK, SELLER, price).unwrap()
}

/// Every tool costs a cent but `free`, and `cheap`, which costs a tenth of it.
async fn shop() -> Shop {
    shop_with(offer("$0.01"), |paid| paid).await
}

async fn shop_with(
    terms: impl Into<Offers>,
    set: impl FnOnce(PaidTools<Tools, Scripted>) -> PaidTools<Tools, Scripted>,
) -> Shop {
    let (tools, facilitator) = (Tools::default(), Scripted::new());
    let seller = Arc::new(Seller::new(facilitator.clone()));
    let paid = PaidTools::new(tools.clone(), seller).with_price_for_others(terms).with_free("free");
    let cheap = Offers::new([offer("$0.001")]).with_description("less", "text/plain");
    let client = connect(set(paid.with_price("cheap", cheap))).await;
    Shop { client, tools, facilitator }
}

/// A client of a server, connected by a pipe in memory.
async fn connect(server: impl ServerHandler) -> Client {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    tokio::spawn(async move { server.serve(theirs).await.unwrap().waiting().await });
    let tasks = ClientCapabilities::builder().enable_tasks().build();
    let client = ClientConfig::new(tasks, Implementation::new("test", "1"));
    let preferred_versions = vec![ProtocolVersion::V_2026_07_28];
    client
        .serve_with_lifecycle(ours, ClientLifecycleMode::Discover { preferred_versions })
        .await
        .unwrap()
}

/// A call, with anything as its payment.
fn call_with(tool: &str, payment: Option<Value>) -> CallToolRequestParams {
    let mut call = CallToolRequestParams::new(tool.to_owned());
    if let Some(payment) = payment {
        call.meta_or_default().insert(PAYMENT.into(), payment);
    }
    call
}

fn object(payment: &PaymentText) -> Value {
    serde_json::from_str(&payment.json).unwrap()
}

impl Shop {
    async fn call(&self, tool: &str, payment: Option<&PaymentText>) -> CallToolResult {
        self.call_raw(tool, payment.map(object)).await
    }

    async fn call_raw(&self, tool: &str, payment: Option<Value>) -> CallToolResult {
        match self.client.call_tool_once(call_with(tool, payment)).await.unwrap() {
            CallToolResponse::Complete(result) => result,
            other => panic!("{other:?}"),
        }
    }

    async fn pay_for(&self, tool: &str) -> PaymentText {
        sign(&challenge(&self.call(tool, None).await)).await
    }

    fn called(&self) -> usize {
        self.tools.called.load(Ordering::SeqCst)
    }

    /// A payment that came back is good for something else.
    async fn serves(&self, tool: &str, payment: &PaymentText) {
        let call = || async { Ok::<_, ServiceError>(self.call(tool, Some(payment)).await) };
        assert_eq!(text(&given_back(call, |result| Some(result)).await.unwrap()), CONTENT);
    }
}

/// What a call comes to when its payment, which was used for another, has been given back: that is
/// done a moment later.
async fn given_back<T, E>(
    call: impl AsyncFn() -> Result<T, E>,
    result: impl Fn(&T) -> Option<&CallToolResult>,
) -> Result<T, E> {
    for _ in 0..200 {
        let answer = call().await;
        let result = answer.as_ref().ok().and_then(&result);
        let Some(error) = result.filter(|result| result.is_error == Some(true)) else {
            return answer;
        };
        assert_eq!(challenge(error).error.as_deref(), Some("busy"));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the claim is not given back");
}

/// A settlement that does not come to pass.
fn failed(reason: &str) -> Act {
    Act::Settle(Box::new(SettleResponse {
        error_reason: Some(reason.into()),
        transaction: if reason == "settlement_pending" { "0xabc".into() } else { String::new() },
        network: NETWORK.into(),
        ..SettleResponse::default()
    }))
}

fn text(result: &CallToolResult) -> &str {
    &result.content[0].as_text().unwrap().text
}

/// The challenge, in the shape that the specification gives it.
#[track_caller]
fn challenge(result: &CallToolResult) -> PaymentRequired {
    assert_eq!(result.is_error, Some(true), "{result:?}");
    assert_eq!(result.content.len(), 1);
    let structured = result.structured_content.as_ref().unwrap();
    assert_eq!(serde_json::from_str::<Value>(text(result)).unwrap(), *structured);
    PaymentRequired::from_json(text(result).as_bytes()).unwrap()
}

fn receipt(result: &CallToolResult) -> Option<SettleResponse> {
    let receipt = result.meta.as_ref()?.get(PAYMENT_RESPONSE)?;
    Some(SettleResponse::from_json(receipt.to_string().as_bytes()).unwrap())
}

#[tokio::test]
async fn unpaid_gets_the_challenge_as_object_and_text() {
    let shop = shop_with(offer("$0.01"), |paid| {
        let mut named = Offers::new([offer("$1")]);
        named.resource.url = "https://shop.test/tool".into();
        paid.with_price("named", named)
    })
    .await;
    for (tool, amount, url, description) in [
        ("weather", 10_000, "mcp://tool/weather", None),
        ("no such tool", 10_000, "mcp://tool/no such tool", None),
        ("cheap", 1000, "mcp://tool/cheap", Some("less")),
        ("named", 1_000_000, "https://shop.test/tool", None),
    ] {
        let result = shop.call(tool, None).await;
        let challenge = challenge(&result);
        assert_eq!(challenge.x402_version, Version::V2);
        assert_eq!(challenge.accepts[0].amount, Amount::from(amount), "{tool}");
        let resource = challenge.resource.unwrap();
        assert_eq!((&*resource.url, resource.description.as_deref()), (url, description));
        assert_eq!(challenge.error.as_deref(), Some("payment required to call this tool"));
        assert_eq!(receipt(&result), None);
    }
    assert_eq!(shop.called(), 0);
    assert!(shop.facilitator.calls().is_empty());
}

#[tokio::test]
async fn paid_is_served_once_with_the_receipt() {
    let shop = shop().await;
    let payment = shop.pay_for("weather").await;
    let result = shop.call("weather", Some(&payment)).await;
    assert_eq!((text(&result), result.is_error), (CONTENT, Some(false)));
    let first = receipt(&result).unwrap();
    assert!(first.success && first.transaction.starts_with("0x"), "{first:?}");
    assert_eq!((first.network.as_str(), shop.facilitator.paid()), (NETWORK, 10_000));

    for tool in ["weather", "fails"] {
        let again = shop.call(tool, Some(&payment)).await;
        assert_eq!(challenge(&again).error.as_deref(), Some("duplicate_settlement"));
        assert!(!receipt(&again).unwrap().success);
    }
    assert_eq!((shop.called(), shop.facilitator.paid()), (1, 10_000));
    assert_eq!(shop.tools.saw_payment.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn of_what_the_tool_says_beside_only_the_receipt_is_replaced() {
    let shop = shop().await;
    let payment = shop.pay_for("tells").await;
    let result = shop.call("tells", Some(&payment)).await;
    assert_ne!(receipt(&result).unwrap().transaction, "0xforged");
    assert_eq!(result.meta.unwrap()["other"], 7);
    assert_eq!(result.structured_content, Some(json!({ "weather": "sunny" })));
}

#[tokio::test]
async fn what_is_no_payment_for_the_tool_is_refused() {
    let shop = shop().await;
    let cheap = object(&shop.pay_for("cheap").await);
    let good = object(&shop.pay_for("weather").await);
    let changed = |pointer: &str, value: Value| {
        let mut payment = good.clone();
        *payment.pointer_mut(pointer).unwrap() = value;
        payment
    };
    let signature = good["payload"]["signature"].as_str().unwrap();
    let other_signature = signature.replacen("0x", "0x1", 1)[..signature.len()].to_owned();
    for (payment, reason) in [
        (cheap, "invalid_payment_requirements"),
        (json!(null), "invalid_payload"),
        (json!(good.to_string()), "invalid_payload"),
        (json!([good]), "invalid_payload"),
        (json!({}), "invalid_payload"),
        (json!({ "x402Version": 2, "payload": {} }), "invalid_payload"),
        (changed("/x402Version", json!(3)), "invalid_x402_version"),
        (changed("/x402Version", json!(1)), "invalid_"),
        (changed("/accepted/amount", json!("1")), "invalid_payment_requirements"),
        (changed("/payload/authorization/value", json!("1")), "invalid_exact_evm_"),
        (changed("/payload/signature", json!(other_signature)), "invalid_exact_evm_signature"),
        (changed("/payload", json!("x".repeat(70_000))), "invalid_payload"),
    ] {
        let shown = payment.to_string().chars().take(200).collect::<String>();
        let result = shop.call_raw("weather", Some(payment)).await;
        let error = challenge(&result).error.unwrap();
        assert!(error.starts_with(reason), "{error} for {shown}");
    }
    assert_eq!((shop.called(), shop.facilitator.paid()), (0, 0));
    // All that leaves the good one good.
    assert_eq!(text(&shop.call_raw("weather", Some(good)).await), CONTENT);
}

#[tokio::test]
async fn what_fails_is_not_charged_for_and_the_payment_stays_good() {
    let shop = shop().await;
    let payment = shop.pay_for("weather").await;

    let result = shop.call("fails", Some(&payment)).await;
    assert_eq!((text(&result), result.is_error, receipt(&result)), (CONTENT, Some(true), None));

    let call = |tool| shop.client.call_tool_once(call_with(tool, Some(object(&payment))));
    let mut answers = vec![];
    for (tool, answer) in [("breaks", "broken"), ("task", "internal error"), ("asks", "state")] {
        let said = given_back(
            || call(tool),
            |response| match response {
                CallToolResponse::Complete(result) => Some(result),
                _ => None,
            },
        );
        let said = format!("{:?}", said.await);
        assert!(said.contains(answer) && !said.contains(CONTENT), "{said}");
        answers.push(said);
    }
    assert!(answers[2].contains("InputRequired"), "{answers:?}");

    let panicked = tokio::time::timeout(Duration::from_secs(5), call("panics")).await;
    let panicked = format!("{:?}", panicked.expect("answered"));
    assert!(panicked.contains("internal error") && !panicked.contains(CONTENT), "{panicked}");
    assert_eq!((shop.called(), shop.facilitator.paid()), (5, 0));
    assert!(!shop.facilitator.calls().contains(&"settle"));
    shop.serves("weather", &payment).await;
    assert_eq!(shop.facilitator.paid(), 10_000);
}

#[tokio::test]
async fn a_failed_settlement_sends_nothing_of_the_answer() {
    let shop = shop().await;
    let payment = shop.pay_for("tells").await;
    shop.facilitator.next_settle(failed("invalid_exact_evm_insufficient_balance"));
    let result = shop.call("tells", Some(&payment)).await;
    let said = serde_json::to_string(&result).unwrap();
    assert!(!said.contains(CONTENT) && !said.contains("sunny"), "{said}");
    let error = challenge(&result).error;
    assert_eq!(error.as_deref(), Some("invalid_exact_evm_insufficient_balance"));
    let failed = receipt(&result).unwrap();
    assert_eq!((failed.success, failed.error_reason), (false, error));
    assert_eq!((shop.called(), shop.facilitator.paid()), (1, 0));
}

#[tokio::test]
async fn a_pending_settlement_is_served_when_the_same_payment_comes_again() {
    let shop = shop().await;
    let payment = shop.pay_for("weather").await;
    shop.facilitator.inner.ledger().set_pending(true);
    let result = shop.call("weather", Some(&payment)).await;
    assert_eq!(challenge(&result).error.as_deref(), Some("settlement_pending"));
    assert!(!serde_json::to_string(&result).unwrap().contains(CONTENT));
    assert!(receipt(&result).unwrap().transaction.starts_with("0x"));

    shop.facilitator.inner.ledger().set_pending(false);
    let result = shop.call("weather", Some(&payment)).await;
    assert_eq!(text(&result), CONTENT);
    assert!(receipt(&result).unwrap().success);
    assert_eq!(shop.facilitator.paid(), 10_000);
}

/// Strict clients hold every object against the schema that the tool was listed with, errors too.
#[tokio::test]
async fn a_challenge_of_a_typed_tool_is_text_alone() {
    let shop = shop().await;
    shop.client.list_all_tools().await.unwrap();
    for (tool, is_typed) in [("weather", false), ("typed", true)] {
        let unpaid = shop.call(tool, None).await;
        assert_eq!(unpaid.structured_content.is_none(), is_typed, "{tool}");
        let read: PaymentRequired = serde_json::from_str(text(&unpaid)).unwrap();
        let payment = sign(&read).await;
        assert_eq!(read.accepts[0].amount, Amount::from(10_000));
        shop.facilitator.next_verify(Act::Lose);
        let refused = shop.call(tool, Some(&payment)).await;
        assert_eq!(
            (refused.is_error, refused.structured_content.is_none()),
            (Some(true), is_typed)
        );
        assert_eq!(text(&shop.call(tool, Some(&payment)).await), CONTENT);
    }
}

#[tokio::test]
async fn upfront_is_settled_before_the_tool_is_called() {
    let upfront = offer("$0.01").with_extra("paymentFlow", "upfront");
    let shop = shop_with(upfront, |paid| paid).await;
    let payment = shop.pay_for("weather").await;
    // Asked twice, without an answer.
    shop.facilitator.next_settle(Act::Lose);
    shop.facilitator.next_settle(Act::Lose);
    let result = shop.call("weather", Some(&payment)).await;
    assert_eq!(challenge(&result).error.as_deref(), Some("unknown_settlement_error"));
    assert_eq!((shop.called(), shop.facilitator.paid()), (0, 0));
    assert_eq!(text(&shop.call("weather", Some(&payment)).await), CONTENT);

    // Kept whatever the tool answers, and receipted.
    let payment = shop.pay_for("fails").await;
    let result = shop.call("fails", Some(&payment)).await;
    assert_eq!((text(&result), receipt(&result).unwrap().success), (CONTENT, true));
    assert_eq!(shop.facilitator.paid(), 20_000);

    let payment = shop.pay_for("task").await;
    let call = call_with("task", Some(object(&payment)));
    let CallToolResponse::Task(task) = shop.client.call_tool_once(call).await.unwrap() else {
        panic!("no task");
    };
    assert_eq!(task.meta.unwrap()[PAYMENT_RESPONSE]["success"], true);
    assert_eq!(shop.facilitator.paid(), 30_000);
}

#[tokio::test]
async fn free_tools_and_all_else_are_the_inner_servers() {
    let shop = shop().await;
    let plain = connect(Tools::default()).await;
    let listed = shop.client.list_tools(None).await.unwrap();
    assert_eq!((listed.tools.len(), &listed), (3, &plain.list_tools(None).await.unwrap()));
    assert_eq!(shop.client.peer_info(), plain.peer_info());
    let ask = GetPromptRequestParams::new("hello");
    let prompt = shop.client.get_prompt(ask.clone()).await.unwrap();
    assert_eq!(prompt.description.as_deref(), Some("hello"));
    assert_eq!(prompt, plain.get_prompt(ask).await.unwrap());

    let result = shop.call("free", None).await;
    assert_eq!(result, plain.call_tool(call_with("free", None)).await.unwrap());
    // Also what is said beside is its own business.
    shop.call_raw("free", Some(json!("anything"))).await;
    assert_eq!(shop.tools.saw_payment.load(Ordering::SeqCst), 1);
    assert!(shop.facilitator.calls().is_empty());
}

#[tokio::test]
async fn prices_can_depend_on_the_call() {
    let shop = shop_with(offer("$0.01"), |paid| {
        paid.with_offers_for(|call| {
            match call.arguments.as_ref().and_then(|a| a.get("days")?.as_u64()) {
                None => Ok(None),
                Some(0) => Err(ErrorData::invalid_params("no days", None)),
                Some(99) => Ok(Some(Offers::new([]))),
                Some(days) => Ok(Some(offer(&format!("$0.0{days}")).into())),
            }
        })
    })
    .await;
    let ask = |days: Value| {
        let mut call = call_with("weather", None);
        call.arguments = Some([("days".to_owned(), days)].into_iter().collect());
        shop.client.call_tool(call)
    };
    assert_eq!(text(&ask(json!(null)).await.unwrap()), CONTENT);
    let three = challenge(&ask(json!(3)).await.unwrap());
    assert_eq!(three.accepts[0].amount, Amount::from(30_000));
    assert!(ask(json!(0)).await.unwrap_err().to_string().contains("no days"));
    assert!(ask(json!(99)).await.unwrap_err().to_string().contains("internal error"));
    assert_eq!(shop.called(), 1);
}

#[tokio::test]
async fn a_call_that_is_cancelled_gives_its_payment_back() {
    let shop = shop().await;
    let payment = shop.pay_for("weather").await;
    let call = shop.client.call_tool_once(call_with("waits", Some(object(&payment))));
    tokio::select! {
        _ = call => panic!("it waits"),
        () = shop.tools.started.notified() => {}
    }
    // Dropped, the call was cancelled.
    shop.serves("weather", &payment).await;
    assert_eq!(shop.tools.dropped.load(Ordering::SeqCst), 1);
    assert_eq!((shop.called(), shop.facilitator.paid()), (2, 10_000));
}

#[tokio::test]
async fn a_server_that_goes_gives_payments_back_and_finishes() {
    let (tools, facilitator) = (Tools::default(), Scripted::new());
    let seller = Arc::new(Seller::new(facilitator.clone()));
    let paid = PaidTools::new(tools.clone(), seller).with_price_for_others(offer("$0.01"));
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let first = paid.clone();
    let server = tokio::spawn(async move { first.serve(theirs).await.unwrap() });
    let client = ClientConfig::default().serve(ours).await.unwrap();
    let server = server.await.unwrap();
    let unpaid = client.call_tool(call_with("waits", None)).await.unwrap();
    let payment = sign(&challenge(&unpaid)).await;
    let call = client.call_tool(call_with("waits", Some(object(&payment))));
    let gone = async {
        tools.started.notified().await;
        let working = tokio::time::timeout(Duration::from_millis(50), paid.drain()).await;
        assert!(working.is_err());
        server.cancel().await.unwrap();
    };
    tokio::select! {
        _ = call => {}
        () = gone => {}
    }
    tokio::time::timeout(Duration::from_secs(5), paid.drain()).await.unwrap();
    assert_eq!(tools.dropped.load(Ordering::SeqCst), 1);
    // Of its clones one serves the payment.
    let client = connect(paid).await;
    let result = client.call_tool(call_with("weather", Some(object(&payment)))).await.unwrap();
    assert_eq!(text(&result), CONTENT);
    assert_eq!(facilitator.paid(), 10_000);
}

#[tokio::test]
async fn no_payment_is_begun_while_the_last_are_finished() {
    let (tools, facilitator) = (Tools::default(), Scripted::new());
    let seller = Arc::new(Seller::new(facilitator.clone()));
    let paid = PaidTools::new(tools.clone(), seller).with_price_for_others(offer("$0.01"));
    let client = connect(paid.clone()).await;
    let unpaid = challenge(&client.call_tool(call_with("waits", None)).await.unwrap());
    let (first, second) = (sign(&unpaid).await, sign(&unpaid).await);
    let waits = client.call_tool(call_with("waits", Some(object(&first))));
    let meanwhile = async {
        tools.started.notified().await;
        let mut finish = std::pin::pin!(paid.drain());
        let unfinished = tokio::time::timeout(Duration::from_millis(20), &mut finish).await;
        assert!(unfinished.is_err());
        let refused = client.call_tool(call_with("weather", Some(object(&second)))).await.unwrap();
        assert_eq!(challenge(&refused).error.as_deref(), Some(Reason::Busy.as_str()));
    };
    tokio::select! {
        _ = waits => panic!("it waits"),
        () = meanwhile => {}
    }
    assert_eq!(tools.called.load(Ordering::SeqCst), 1);
}

// ---- buying

#[tokio::test]
async fn a_buyer_pays_once_for_a_tool() {
    let shop = shop().await;
    let tools = McpTransport::new(shop.client.peer().clone(), "Weather.example");
    let buyer = buyer();
    let call = call_with("weather", None);
    let bought = buyer.buy(&tools, &call).await.unwrap();
    assert_eq!(text(&bought.response), CONTENT);
    assert_eq!(bought.paid.unwrap().amount, Amount::from(10_000));
    assert!(bought.receipt.unwrap().success);
    assert_eq!((shop.called(), shop.facilitator.paid()), (1, 10_000));

    let free = buyer.buy(&tools, &call_with("free", None)).await.unwrap();
    assert_eq!((text(&free.response), free.paid, free.payment), (CONTENT, None, None));

    // What is pending is presented again.
    for _ in 0..2 {
        shop.facilitator.next_settle(failed("settlement_pending"));
    }
    let bought = buyer.buy(&tools, &call).await.unwrap();
    assert_eq!(text(&bought.response), CONTENT);
    assert_eq!(shop.facilitator.paid(), 20_000);

    shop.facilitator.next_settle(failed("invalid_exact_evm_insufficient_balance"));
    let Err(BuyError::Refused { reason, receipt, response, .. }) = buyer.buy(&tools, &call).await
    else {
        panic!("served");
    };
    assert_eq!(reason, Some(Reason::InvalidExactEvmInsufficientBalance));
    assert!(!receipt.unwrap().success && text(&response) != CONTENT);

    let carrying = call_with("weather", Some(json!({})));
    let carried = buyer.buy(&tools, &carrying).await;
    assert!(matches!(carried, Err(BuyError::Transport(McpError::AlreadyPaid))), "{carried:?}");
    let asks = tools.exchange(&call_with("asks", None), None).await.unwrap();
    assert!(asks.challenge.is_some());
    assert_eq!(shop.facilitator.paid(), 20_000);
}

#[tokio::test]
async fn a_tool_that_does_not_answer_in_time_is_given_up() {
    let shop = shop().await;
    let tools = McpTransport::new(shop.client.peer().clone(), "shop");
    let tools = tools.within(Duration::from_millis(100));
    let Err(BuyError::Unclear { error, payment, .. }) =
        buyer().buy(&tools, &call_with("waits", None)).await
    else {
        panic!("it waits");
    };
    assert!(matches!(error, McpError::TimedOut), "{error}");
    // The seller was told, too.
    shop.serves("weather", &payment).await;
}

#[tokio::test]
async fn what_is_asked_is_told_apart() {
    let client = connect(Tools::default()).await;
    let tools = McpTransport::new(client.peer().clone(), "Weather.example");
    let other = McpTransport::new(client.peer().clone(), "other");
    let call = |tool: &str, city: &str| {
        let mut call = call_with(tool, None);
        call.arguments = Some([("city".to_owned(), json!(city))].into_iter().collect());
        call
    };
    let subject = tools.subject(&call("get\nit", "Lisbon"));
    assert_eq!(subject.host, "weather.example");
    assert_eq!(subject.what, "mcp://weather.example/tool/get\\nit");
    let mut same = call("get\nit", "Lisbon");
    same.meta_or_default().insert("progressToken".into(), json!(1));
    assert_eq!(tools.subject(&same), subject);
    for different in [
        tools.subject(&call("get\nit", "Porto")),
        tools.subject(&call("got\nit", "Lisbon")),
        tools.subject(&call_with("get\nit", None)),
        other.subject(&call("get\nit", "Lisbon")),
    ] {
        assert_ne!(different.digest, subject.digest, "{different:?}");
    }
}

/// A server that answers every call as it is told, and keeps the calls' `_meta`.
#[derive(Clone)]
struct Says(CallToolResult, Arc<Mutex<Vec<RequestMetaObject>>>);

impl ServerHandler for Says {
    async fn call_tool(
        &self,
        _: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        self.1.lock().unwrap().push(context.meta);
        Ok(self.0.clone().into())
    }
}

async fn said(
    result: CallToolResult,
) -> (McpTransport, Client, Arc<Mutex<Vec<RequestMetaObject>>>) {
    let seen = Arc::default();
    let client = connect(Says(result, Arc::clone(&seen))).await;
    (McpTransport::new(client.peer().clone(), "shop"), client, seen)
}

fn v1_challenge() -> Value {
    json!({ "x402Version": 1, "error": "pay", "accepts": [{
        "scheme": "exact", "network": "base-sepolia", "maxAmountRequired": "10000",
        "asset": "0x036CbD53842c5426634e7929541eC2318f3dCF7e", "payTo": SELLER,
        "resource": "mcp://tool/weather", "description": "", "mimeType": "",
        "maxTimeoutSeconds": 60, "extra": { "name": "USDC", "version": "2" } }] })
}

#[tokio::test]
async fn challenges_are_found_where_servers_put_them() {
    let terms = Offers::new([offer("$0.01")]);
    let v2: Value = serde_json::from_str(&terms.challenge(Version::V2, "pay").unwrap()).unwrap();
    let other: Value = {
        let terms = Offers::new([offer("$0.02")]);
        serde_json::from_str(&terms.challenge(Version::V2, "pay").unwrap()).unwrap()
    };
    let broken = json!({ "x402Version": 3, "accepts": [{}] });
    let mut long = v2.clone();
    long["error"] = json!("x".repeat(300_000));
    let answer = |structured: Option<&Value>, text: &str, is_error: bool| {
        let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
        result.structured_content = structured.cloned();
        result.is_error = is_error.then_some(true);
        result
    };
    type Amount64 = Option<Result<u64, ParseError>>;
    let cases: Vec<(&str, CallToolResult, Result<Amount64, &str>)> = vec![
        ("both", answer(Some(&v2), &other.to_string(), true), Ok(Some(Ok(10_000)))),
        ("text only", answer(None, &other.to_string(), true), Ok(Some(Ok(20_000)))),
        ("no text", answer(Some(&v2), "pay!", true), Ok(Some(Ok(10_000)))),
        ("not one", answer(Some(&json!({})), &v2.to_string(), true), Ok(Some(Ok(10_000)))),
        ("v1", answer(Some(&v1_challenge()), "", true), Ok(Some(Ok(10_000)))),
        ("no error", answer(Some(&v2), &v2.to_string(), false), Ok(None)),
        ("an error", answer(None, "sorry", true), Ok(None)),
        ("a long error", answer(None, &"x".repeat(100_000), true), Ok(None)),
        ("json", answer(None, "{\"accepts\":[]}", true), Ok(None)),
        ("long", answer(Some(&long), "", true), Err("challenge too long")),
        ("long text", answer(None, &long.to_string(), true), Err("challenge too long")),
        (
            "broken",
            answer(Some(&broken), &v2.to_string(), true),
            Ok(Some(Err(ParseError::UnsupportedVersion))),
        ),
    ];
    for (name, result, expected) in cases {
        let (tools, _client, _) = said(result).await;
        let found = tools.exchange(&call_with("weather", None), None).await;
        let found = found.map(|answer| {
            let read = answer.challenge.map(|read| read.map_err(|error| error.error.error));
            read.map(|read| read.map(|read| read.accepts[0].amount.as_u64().unwrap()))
        });
        assert_eq!(
            found.map_err(|error| error.to_string()),
            expected.map_err(str::to_owned),
            "{name}"
        );
    }
}

#[tokio::test]
async fn version_1_is_paid_in_version_1_at_the_same_place() {
    let mut result = CallToolResult::error(vec![]);
    result.structured_content = Some(v1_challenge());
    let (tools, _client, seen) = said(result).await;
    let refused = buyer().buy(&tools, &call_with("weather", None)).await;
    assert!(matches!(refused, Err(BuyError::Refused { .. })), "{refused:?}");
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    assert!(!seen[0].contains_key(PAYMENT));
    assert_eq!(seen[1][PAYMENT]["x402Version"], 1);

    // Our own servers take it.
    let shop = shop().await;
    let taken = shop.call_raw("weather", Some(seen[1][PAYMENT].clone())).await;
    assert_eq!(text(&taken), CONTENT);
    assert!(receipt(&taken).unwrap().success);
    let refused = shop.call_raw("weather", Some(seen[1][PAYMENT].clone())).await;
    assert_eq!(challenge(&refused).x402_version, Version::V1);
}

#[tokio::test]
async fn a_failed_receipt_inside_the_challenge_counts() {
    let terms = Offers::new([offer("$0.01")]);
    let challenge = terms.challenge(Version::V2, "Payment settlement failed: why").unwrap();
    let mut challenge: Value = serde_json::from_str(&challenge).unwrap();
    challenge[PAYMENT_RESPONSE] = json!({
        "success": false, "errorReason": "invalid_exact_evm_insufficient_balance",
        "transaction": "", "network": NETWORK, "payer": null,
    });
    let mut result = CallToolResult::error(vec![ContentBlock::text(challenge.to_string())]);
    result.structured_content = Some(challenge);
    let (tools, _client, _) = said(result).await;
    let refused = buyer().buy(&tools, &call_with("weather", None)).await;
    let Err(BuyError::Refused { reason, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(reason, Some(Reason::InvalidExactEvmInsufficientBalance));
}

// ---- what the official Python SDK sent

fn recorded() -> Vec<Value> {
    let file = "../x402-core/tests/vectors/e2e-mcp/mcp-paid-tool-py.json";
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let mut recorded: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    recorded["exchanges"].as_array_mut().unwrap().drain(..).collect()
}

/// The results of a recorded server, out of its event streams.
fn recorded_results() -> Vec<CallToolResult> {
    let bodies = recorded().into_iter().filter_map(|exchange| {
        let body = exchange["response"]["body"].as_str()?.to_owned();
        let line = body.lines().find_map(|line| line.strip_prefix("data: "))?.to_owned();
        let called = exchange["request"]["json"]["method"] == "tools/call";
        called.then(|| serde_json::from_str::<Value>(&line).unwrap()["result"].take())
    });
    bodies.map(|result| serde_json::from_value(result).unwrap()).collect()
}

#[tokio::test]
async fn a_recorded_python_payment_is_taken() {
    let calls = recorded()
        .into_iter()
        .filter(|exchange| exchange["request"]["json"]["params"]["_meta"][PAYMENT].is_object());
    let payments: Vec<Value> =
        calls.map(|call| call["request"]["json"]["params"]["_meta"][PAYMENT].clone()).collect();
    let [payment] = &payments[..] else { panic!("{payments:?}") };
    let authorization = &payment["payload"]["authorization"];
    let valid_before = authorization["validBefore"].as_str().unwrap().parse::<u64>().unwrap();
    let payer = Address::parse(authorization["from"].as_str().unwrap()).unwrap();

    let then = valid_before - 60;
    let ledger = SimulatedLedger::new();
    ledger.fund(CHAIN_ID, usdc(), payer, Amount::from(1000)).unwrap();
    let facilitator = LocalFacilitator::with_parts(ledger, MemoryStore::default(), then);
    let seller = Arc::new(Seller::with_parts(facilitator, MemoryStore::default(), then));
    let paid = PaidTools::new(Tools::default(), seller).with_price("get_weather", offer("$0.001"));
    let client = connect(paid).await;
    let call = call_with("get_weather", Some(payment.clone()));
    let result = client.call_tool(call).await.unwrap();
    assert_eq!(text(&result), CONTENT);
    let receipt = receipt(&result).unwrap();
    assert_eq!((receipt.success, receipt.payer), (true, Some(payer.to_string())));
}

#[tokio::test]
async fn a_recorded_python_servers_answers_are_read() {
    let mut found = vec![];
    for result in recorded_results() {
        let (tools, _client, _) = said(result).await;
        let answer = tools.exchange(&call_with("get_weather", None), None).await.unwrap();
        let amount = answer.challenge.map(|challenge| challenge.unwrap().accepts[0].amount);
        found.push((amount, answer.receipt.map(|receipt| receipt.success)));
    }
    assert_eq!(found, [(None, None), (Some(Amount::from(1000)), None), (None, Some(true))]);
}

/// `x402 mcp --upstream`, run as people run it.
#[cfg(feature = "cli")]
mod gateway {
    use std::fs;
    use std::path::PathBuf;
    use std::process::Stdio;

    use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
    use rmcp::transport::{
        StreamableHttpClientTransport, StreamableHttpService, TokioChildProcess,
    };
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
    use tokio::net::TcpListener;
    use tokio::process::{Child, ChildStderr, Command};

    use super::*;

    const X402: &str = env!("CARGO_BIN_EXE_x402");

    /// The tools over HTTP, until the test ends.
    async fn upstream(tools: &Tools) -> String {
        let (tools, sessions) = (tools.clone(), Arc::new(LocalSessionManager::default()));
        let service =
            StreamableHttpService::new(move || Ok(tools.clone()), sessions, Default::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/tools", listener.local_addr().unwrap());
        let router = axum::Router::new().route_service("/tools", service);
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    const PRICES: [&str; 6] = ["--price", "$0.01", "--tool", "cheap=$0.001", "--free", "free"];

    fn x402(upstream: &str, options: &[&str]) -> Command {
        let fund = format!("{}=$1", common::wallet().address());
        let mut command = Command::new(X402);
        command.args(["mcp", "--upstream", upstream, "--facilitator", "simulated"]);
        command.args(["--network", NETWORK, "--pay-to", SELLER, "--fund", &fund]);
        command.args(options).env_clear().kill_on_drop(true);
        command
    }

    /// A file that is gone when this is.
    struct TempFile(PathBuf);

    impl TempFile {
        fn new(name: &str) -> Self {
            let name = format!("x402-mcp-{}-{name}", std::process::id());
            Self(std::env::temp_dir().join(name))
        }
    }

    impl Drop for TempFile {
        fn drop(&mut self) {
            fs::remove_file(&self.0).ok();
        }
    }

    /// A command that serves the tools at a URL for nothing, over stdio, and notes its process.
    fn stdio_server(url: &str, note: &TempFile) -> String {
        let free: String = ["weather", "cheap", "free", "fails", "breaks"]
            .map(|t| format!("--free {t} "))
            .concat();
        let note = note.0.display();
        format!(
            "/bin/sh -c 'echo $$ > \"{note}\"; exec \"{X402}\" mcp --upstream {url} --price 1 {free} \
             --network {NETWORK} --pay-to {SELLER} --facilitator simulated'"
        )
    }

    fn signal(signal: &str, process: &str) -> bool {
        let mut kill = std::process::Command::new("kill");
        kill.args([signal, process]).stderr(Stdio::null()).status().unwrap().success()
    }

    /// Runs a gateway and connects to it over stdio.
    async fn over_stdio(command: Command) -> (Client, ChildStderr) {
        let builder = TokioChildProcess::builder(command).stderr(Stdio::piped());
        let (child, stderr) = builder.spawn().unwrap();
        (ClientConfig::default().serve(child).await.unwrap(), stderr.unwrap())
    }

    async fn rest(mut stderr: impl tokio::io::AsyncRead + Unpin) -> String {
        let mut said = String::new();
        stderr.read_to_string(&mut said).await.unwrap();
        said
    }

    /// What is to be seen through a gateway, whatever it is connected by.
    async fn is_a_shop(client: &Client, tools: &Tools) {
        let plain = connect(tools.clone()).await;
        let info = client.peer_info().unwrap();
        assert_eq!(info.instructions.as_deref(), Some("ask me"));
        assert_eq!(info.server_info, plain.peer_info().unwrap().server_info);
        assert!(info.capabilities.tools.is_some() && info.capabilities.prompts.is_some());
        assert!(info.capabilities.resources.is_none());
        let names = |tools: Vec<Tool>| tools.into_iter().map(|tool| tool.name).collect::<Vec<_>>();
        assert_eq!(
            names(client.list_all_tools().await.unwrap()),
            names(plain.list_all_tools().await.unwrap())
        );
        let prompt = client.get_prompt(GetPromptRequestParams::new("hello")).await.unwrap();
        assert_eq!(prompt.description.as_deref(), Some("hello"));
        assert_eq!(text(&client.call_tool(call_with("free", None)).await.unwrap()), CONTENT);
        for (tool, amount) in [("weather", 10_000), ("cheap", 1000)] {
            let unpaid = challenge(&client.call_tool(call_with(tool, None)).await.unwrap());
            assert_eq!(unpaid.accepts[0].amount, Amount::from(amount));
        }
        let before = tools.called.load(Ordering::SeqCst);
        let transport = McpTransport::new(client.peer().clone(), "gateway");
        let bought = buyer().buy(&transport, &call_with("weather", None)).await.unwrap();
        assert_eq!(text(&bought.response), CONTENT);
        let (receipt, payment) = (bought.receipt.unwrap(), bought.payment.unwrap());
        assert!(receipt.success);
        // Until it is known to have arrived, the answer is given again.
        let again =
            async || client.call_tool(call_with("weather", Some(object(&payment)))).await.unwrap();
        let mut answer = again().await;
        for _ in 0..100 {
            if answer.is_error != Some(true) {
                tokio::time::sleep(Duration::from_millis(20)).await;
                answer = again().await;
            }
        }
        assert_eq!(challenge(&answer).error.as_deref(), Some("duplicate_settlement"));

        // Errors are the upstream server's, and free.
        let bought = buyer().buy(&transport, &call_with("fails", None)).await.unwrap();
        assert_eq!((text(&bought.response), bought.receipt), (CONTENT, None));
        let call = call_with("breaks", Some(object(&bought.payment.unwrap())));
        let broken =
            given_back(|| client.call_tool(call.clone()), |result| Some(result)).await.unwrap_err();
        assert!(broken.to_string().contains("broken"), "{broken}");
        assert_eq!(tools.called.load(Ordering::SeqCst), before + 3);
        assert_eq!(tools.saw_payment.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn sells_the_tools_of_a_command_over_stdio() {
        let (tools, note) = (Tools::default(), TempFile::new("stdio"));
        let command = stdio_server(&upstream(&tools).await, &note);
        let options = [&PRICES[..], &["--free", "frea"]].concat();
        let (client, stderr) = over_stdio(x402(&command, &options)).await;
        is_a_shop(&client, &tools).await;
        let process = fs::read_to_string(&note.0).unwrap();
        let process = process.trim();
        assert!(signal("-0", process));

        client.cancel().await.unwrap();
        let said = rest(stderr).await;
        assert!(said.contains("warning: --upstream has no tool frea\n"), "{said}");
        assert!(said.contains("payment refused reason=\"duplicate_settlement\""), "{said}");
        assert!(!said.contains("signature") && !said.contains(CONTENT), "{said}");
        // The gateway has ended, and the command before it.
        assert!(!signal("-0", process));
    }

    #[tokio::test]
    async fn ends_with_its_upstream() {
        let (tools, note) = (Tools::default(), TempFile::new("ends"));
        let command = stdio_server(&upstream(&tools).await, &note);
        let mut gateway = x402(&command, &PRICES);
        gateway.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut gateway = gateway.spawn().unwrap();
        let (stdin, stdout) = (gateway.stdin.take().unwrap(), gateway.stdout.take().unwrap());
        let _client = ClientConfig::default().serve((stdout, stdin)).await.unwrap();
        assert!(signal("-KILL", fs::read_to_string(&note.0).unwrap().trim()));
        assert_eq!(gateway.wait().await.unwrap().code(), Some(1));
        let said = rest(gateway.stderr.unwrap()).await;
        assert!(said.ends_with("the upstream server has ended\n"), "{said}");
    }

    /// A gateway that listens.
    async fn listening(mut command: Command) -> (Child, BufReader<ChildStderr>, String) {
        command.args(["--listen", "127.0.0.1:0"]).stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        loop {
            let mut line = String::new();
            assert_ne!(stderr.read_line(&mut line).await.unwrap(), 0, "ended");
            if let Some(url) = line.strip_prefix("listening on ") {
                return (child, stderr, url.trim_end().to_owned());
            }
        }
    }

    #[tokio::test]
    async fn sells_the_tools_of_a_url_over_http() {
        let tools = Tools::default();
        let options = [&PRICES[..], &["--host", "shop.test"]].concat();
        let gateway = x402(&upstream(&tools).await, &options);
        let (mut child, stderr, url) = listening(gateway).await;
        let mcp = format!("{url}/mcp");
        let transport = StreamableHttpClientTransport::from_uri(mcp.as_str());
        let client = ClientConfig::default().serve(transport).await.unwrap();
        is_a_shop(&client, &tools).await;

        // What browsers could be made to send.
        let http = reqwest::Client::new();
        let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        for (name, value, allowed) in [
            ("host", "evil.test", false),
            ("origin", "https://evil.test", false),
            ("origin", "http://localhost.evil.test", false),
            ("origin", "null", false),
            ("origin", "file://", false),
            ("origin", &url, true),
            ("origin", "http://localhost:6274", true),
            ("origin", "http://localhost", true),
            ("origin", "http://[::1]:1", true),
            ("host", "shop.test", true),
        ] {
            let request = http.post(&mcp).header(name, value).body(ping);
            let request = request.header("content-type", "application/json");
            let request = request.header("accept", "application/json, text/event-stream");
            let status = request.send().await.unwrap().status().as_u16();
            assert_eq!(status != 403, allowed, "{status} for {name} {value}");
        }

        // A client that stays does not keep it.
        assert!(signal("-TERM", &child.id().unwrap().to_string()));
        let ended = tokio::time::timeout(Duration::from_secs(10), child.wait()).await;
        assert_eq!(ended.unwrap().unwrap().code(), Some(0));
        let said = rest(stderr).await;
        assert!(!said.contains("signature") && !said.contains(CONTENT), "{said}");
    }

    /// Each result says its kind to a client of the newest revision, and not to an older one, although the
    /// server behind speaks an older one.
    #[tokio::test]
    async fn results_say_their_kind_where_the_revision_asks_for_it() {
        let tools = Tools::default();
        let gateway = x402(&upstream(&tools).await, &PRICES);
        let (_child, _stderr, url) = listening(gateway).await;
        let mcp = format!("{url}/mcp");
        let http = reqwest::Client::new();
        for (method, name, extra) in [
            ("tools/list", None, json!({})),
            ("prompts/get", Some("hello"), json!({ "name": "hello" })),
            ("tools/call", Some("free"), json!({ "name": "free", "arguments": {} })),
            ("tools/call", Some("weather"), json!({ "name": "weather", "arguments": {} })),
            ("tools/call", Some("fails"), json!({ "name": "fails", "arguments": {} })),
        ] {
            for newest in [true, false] {
                let version = if newest { "2026-07-28" } else { "2025-06-18" };
                let mut params = extra.clone();
                if newest {
                    params["_meta"] = json!({
                        "io.modelcontextprotocol/protocolVersion": version,
                        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "0" },
                        "io.modelcontextprotocol/clientCapabilities": {},
                    });
                }
                let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
                let mut request = http.post(&mcp).body(body.to_string());
                if let Some(name) = name.filter(|_| newest) {
                    request = request.header("mcp-name", name);
                }
                let request = request
                    .header("content-type", "application/json")
                    .header("accept", "application/json, text/event-stream")
                    .header("mcp-protocol-version", version)
                    .header("mcp-method", method);
                let answer = request.send().await.unwrap().text().await.unwrap();
                let json = answer.lines().find_map(|line| {
                    let line = line.strip_prefix("data:").unwrap_or(line).trim();
                    serde_json::from_str::<Value>(line).ok().filter(|line| line.is_object())
                });
                let json = json.unwrap_or_else(|| panic!("{method} {version}: {answer}"));
                let result = &json["result"];
                assert!(result.is_object(), "{method} {version}: {answer}");
                let kind = newest.then_some("complete");
                assert_eq!(result["resultType"].as_str(), kind, "{method} {version}: {answer}");
            }
        }
    }

    /// One request by hand on an open connection: the head of the answer, and its body.
    async fn ask(http: &reqwest::Client, mcp: &str, body: &str) -> reqwest::Response {
        let request = http.post(mcp).body(body.to_owned());
        let request = request.header("content-type", "application/json");
        request.header("accept", "application/json, text/event-stream").send().await.unwrap()
    }

    /// The memory of a process, in kilobytes.
    #[cfg(target_os = "linux")]
    fn memory(child: &Child) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id().unwrap())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Clients that only introduce themselves leave nothing behind, and others are served meanwhile.
    #[cfg(target_os = "linux")]
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn introductions_fill_no_memory() {
        const CLIENTS: usize = 16;
        const MOST: usize = 15_000;
        let tools = Tools::default();
        let gateway = x402(&upstream(&tools).await, &PRICES);
        let (child, _stderr, url) = listening(gateway).await;
        let mcp = format!("{url}/mcp");
        let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":
            "2025-06-18","capabilities":{},"clientInfo":{"name":"flood","version":"1"}}}"#;
        let http = reqwest::Client::new();
        let first = ask(&http, &mcp, initialize).await;
        assert_eq!(first.status(), 200);
        assert!(!first.headers().contains_key("mcp-session-id"), "{:?}", first.headers());
        assert!(first.text().await.unwrap().contains("\"protocolVersion\":\"2025-06-18\""));
        let flood = async |requests: usize| {
            let until = tokio::time::Instant::now() + Duration::from_secs(10);
            let clients = (0..CLIENTS).map(|_| {
                let (http, mcp) = (http.clone(), mcp.clone());
                tokio::spawn(async move {
                    let mut asked = 0;
                    while asked < requests / CLIENTS && tokio::time::Instant::now() < until {
                        let answer = ask(&http, &mcp, initialize).await;
                        assert_eq!(answer.status(), 200);
                        answer.bytes().await.unwrap();
                        asked += 1;
                    }
                    asked
                })
            });
            let mut asked = 0;
            for client in clients.collect::<Vec<_>>() {
                asked += client.await.unwrap();
            }
            asked
        };
        // What it takes to serve so many at once is taken once.
        flood(512).await;
        let before = memory(&child);
        let asked = flood(MOST).await;
        let after = memory(&child);
        eprintln!("{asked} introductions: {before} kB before, {after} kB after");
        // A session took 60 kB.
        let each = after.saturating_sub(before) * 1024 / u64::try_from(asked).unwrap().max(1);
        assert!(asked > 0 && each < 6 * 1024, "{each} bytes each: {before} kB, {after} kB");
        let transport = StreamableHttpClientTransport::from_uri(mcp.as_str());
        let client = ClientConfig::default().serve(transport).await.unwrap();
        is_a_shop(&client, &tools).await;
    }

    /// Over HTTP too, the place and the payment of a client that went are free again.
    #[tokio::test]
    async fn a_client_that_hangs_up_gives_its_call_up() {
        let tools = Tools::default();
        let gateway = x402(&upstream(&tools).await, &PRICES);
        let (_child, _stderr, url) = listening(gateway).await;
        let mcp = format!("{url}/mcp");
        let transport = StreamableHttpClientTransport::from_uri(mcp.as_str());
        let client = ClientConfig::default().serve(transport).await.unwrap();
        let unpaid = client.call_tool(call_with("waits", None)).await.unwrap();
        let payment = object(&sign(&challenge(&unpaid)).await);
        let call = json!({
            "jsonrpc": "2.0", "id": 7, "method": "tools/call",
            "params": { "name": "waits", "arguments": {}, "_meta": { PAYMENT: payment.clone() } },
        });
        let http = reqwest::Client::new();
        let asking = async {
            ask(&http, &mcp, &call.to_string()).await.bytes().await.ok();
        };
        tokio::select! {
            () = asking => panic!("it waits"),
            () = tools.started.notified() => {}
        }
        // Its connection is closed with it.
        drop(http);
        let again = call_with("weather", Some(payment));
        let served = given_back(|| client.call_tool(again.clone()), |result| Some(result)).await;
        assert_eq!(text(&served.unwrap()), CONTENT);
    }

    #[tokio::test]
    async fn what_cannot_be_sold_is_said() {
        let nobody = "http://127.0.0.1:1/s3cret";
        let twice = ["--price", "1", "--free", "a", "--tool", "a=1"];
        for (upstream, options, code, says) in [
            ("server", &[][..], 2, "--price"),
            ("server", &["--price", "s3cret"], 2, "--price: "),
            ("server", &["--price", "1", "--tool", "s3cret"], 2, "NAME=MONEY"),
            ("server", &["--price", "1", "--tool", "a=s3cret"], 2, "--tool: price"),
            ("server", &twice, 2, "named twice"),
            ("server", &["--price", "1", "--host", "s3cret"], 2, "--listen"),
            ("'s3cret", &["--price", "1"], 2, "quote"),
            (" ", &["--price", "1"], 2, "--upstream: empty"),
            ("/no/s3cret", &["--price", "1"], 2, "--upstream: "),
            ("http://[s3cret", &["--price", "1"], 2, "not a valid URL"),
            ("/bin/sh -c 'exit 3'", &["--price", "1"], 1, "no answer in MCP"),
            (nobody, &["--price", "1"], 1, "no answer in MCP"),
        ] {
            let output = x402(upstream, options).stdin(Stdio::null()).output().await.unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(code), "{said}");
            assert!(said.contains(says) && !said.contains("s3cret"), "{says:?} in {said:?}");
            assert!(output.stdout.is_empty());
        }
        let mut alone = Command::new(X402);
        let output = alone.args(["mcp", "--price", "1"]).env_clear().output().await.unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8(output.stderr).unwrap().contains("--upstream"));
    }
}

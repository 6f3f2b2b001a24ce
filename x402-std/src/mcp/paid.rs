//! The seller's side.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex};

use http::request::Parts;
use rmcp::model::*;
use rmcp::service::{MaybeSendFuture, NotificationContext, RequestContext, SubscriptionContext};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::Value;
use x402_core::Version;

use super::{PAYMENT, PAYMENT_RESPONSE};
use crate::clock::{Clock, SystemClock};
use crate::extension::PaidRequest;
use crate::facilitator::Facilitator;
use crate::lock;
use crate::message::SettleResponse;
use crate::seller::driver::{Driver, Job, Served, Worked};
use crate::seller::{AcceptedPayment, Offers, Refusal, RequestDigest, Seller};
use crate::store::{ClaimStore, MemoryStore};

/// Most payments that one server works on at the same time; more are refused as `busy`.
pub const PAYMENTS_AT_ONCE: usize = 1024;

/// A server some of whose tools cost something. All else is the inner server's, its list of tools
/// included: the specification has no place for prices there.
///
/// A call that is paid for reaches the inner server without its payment. If that answers with an
/// error, asks for input first, or the call is cancelled meanwhile, the payment is given back, and may
/// be presented again. If the payment cannot be settled, nothing of the answer is sent.
///
/// A challenge is an object and the same as text; of a tool that has an `outputSchema` it is text alone,
/// for strict clients hold every object against the schema.
///
/// With the flow `upfront` the payment is settled first, and kept whatever the tool answers. It is the
/// only flow for tools that answer with a task, which cannot be taken back when it is not paid, and
/// none for tools that ask for input.
///
/// Clones share prices, seller and counts: over streamable HTTP every session can have one.
pub struct PaidTools<H, F, S = MemoryStore, C = SystemClock> {
    inner: H,
    seller: Arc<Seller<F, S, C>>,
    prices: Arc<Prices>,
    driver: Driver<CallToolResponse>,
    /// Tools that were listed with a schema of what they give.
    typed: Arc<Mutex<HashSet<String>>>,
}

/// So many tools are remembered.
const TYPED: usize = 4096;

type Compute = dyn Fn(&CallToolRequestParams) -> Result<Option<Offers>, ErrorData> + Send + Sync;

#[derive(Clone, Default)]
struct Prices {
    /// Of the tools that are named; `None` is free.
    tools: HashMap<String, Option<Offers>>,
    /// Of all others, if they are not free.
    others: Option<Arc<Compute>>,
    secret: Option<[u8; 32]>,
}

impl<H: Clone, F, S, C> Clone for PaidTools<H, F, S, C> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            seller: Arc::clone(&self.seller),
            prices: Arc::clone(&self.prices),
            driver: self.driver.clone(),
            typed: Arc::clone(&self.typed),
        }
    }
}

impl<H, F, S, C> fmt::Debug for PaidTools<H, F, S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PaidTools").field("tools", &self.prices.tools).finish_non_exhaustive()
    }
}

impl<H, F: Facilitator, S, C> PaidTools<H, F, S, C> {
    /// A server whose tools are free until they are given prices.
    pub fn new(inner: H, seller: Arc<Seller<F, S, C>>) -> Self {
        let driver = Driver::new(PAYMENTS_AT_ONCE);
        Self { inner, seller, prices: Arc::default(), driver, typed: Arc::default() }
    }

    /// Gives a tool a price. Unless the offers name another resource, it is `mcp://tool/NAME`.
    ///
    /// # Panics
    /// If nobody could pay it: see [`Seller::check`].
    pub fn with_price(self, tool: impl Into<String>, offers: impl Into<Offers>) -> Self {
        let offers = self.payable(offers);
        self.set(|prices| _ = prices.tools.insert(tool.into(), Some(offers)))
    }

    /// Makes a tool free, whatever the others cost.
    pub fn with_free(self, tool: impl Into<String>) -> Self {
        self.set(|prices| _ = prices.tools.insert(tool.into(), None))
    }

    /// Gives one price to every tool that has none of its own, also to those that do not exist: calls
    /// of them fail and are not charged for.
    ///
    /// # Panics
    /// If nobody could pay it: see [`Seller::check`].
    pub fn with_price_for_others(self, offers: impl Into<Offers>) -> Self {
        let offers = self.payable(offers);
        self.with_offers_for(move |_| Ok(Some(offers.clone())))
    }

    /// Prices that depend on the call, for tools that have none of their own. They must come out the
    /// same for the call that is answered with a challenge and for the one that pays. `None` is free;
    /// an error is answered as it is, and offers that nobody can pay with an internal error.
    pub fn with_offers_for(
        self,
        offers: impl Fn(&CallToolRequestParams) -> Result<Option<Offers>, ErrorData>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.set(|prices| prices.others = Some(Arc::new(offers)))
    }

    /// Ties payments on Solana to the tool they are for: see [`Offers::with_memo`]. All who serve the tool
    /// need the same secret.
    pub fn with_memo_secret(self, secret: [u8; 32]) -> Self {
        self.set(|prices| prices.secret = Some(secret))
    }

    /// Waits until no payment is worked on. Clients that hang up leave work behind: await this before
    /// the process ends.
    pub async fn drain(&self) {
        self.driver.drain().await;
    }

    fn set(mut self, set: impl FnOnce(&mut Prices)) -> Self {
        set(Arc::make_mut(&mut self.prices));
        self
    }

    fn payable(&self, offers: impl Into<Offers>) -> Offers {
        let offers = offers.into();
        if let Err(error) = self.seller.check(&offers) {
            panic!("{error}");
        }
        offers
    }

    /// The price of a call; `None` if it is free.
    fn quote(&self, request: &CallToolRequestParams) -> Result<Option<Offers>, ErrorData> {
        let tool = request.name.as_ref();
        let named = self.prices.tools.get(tool).cloned();
        let offers = match (named, &self.prices.others) {
            (Some(offers), _) => offers,
            (None, Some(compute)) => {
                let offers = compute(request)?;
                if let Some(offers) = &offers
                    && let Err(error) = self.seller.check(offers)
                {
                    tracing::error!(%error, "offers for this call cannot be paid");
                    return Err(broken());
                }
                offers
            }
            (None, None) => None,
        };
        Ok(offers.map(|mut offers| {
            if offers.resource.url.is_empty() {
                offers.resource.url = format!("mcp://tool/{tool}");
            }
            self.seller.announce(match &self.prices.secret {
                Some(secret) => offers.with_memo(secret, "tools/call", tool),
                None => offers,
            })
        }))
    }
}

impl<H, F, S, C> PaidTools<H, F, S, C>
where
    H: ServerHandler,
    F: Facilitator + 'static,
    S: ClaimStore + 'static,
    C: Clock + 'static,
{
    /// Whether a tool says what it gives.
    fn is_typed(&self, tool: &str) -> bool {
        let listed = lock(&self.typed).contains(tool);
        listed || self.inner.get_tool(tool).is_some_and(|tool| tool.output_schema.is_some())
    }

    async fn call(
        &self,
        mut request: CallToolRequestParams,
        mut context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(offers) = self.quote(&request)? else {
            return self.inner.call_tool(request, context).await;
        };
        // rmcp puts what was sent into the context; another server in this process may not.
        let in_request = request.meta.as_mut().and_then(|meta| meta.remove(PAYMENT));
        let payment = context.meta.remove(PAYMENT).or(in_request);
        let typed = self.is_typed(&request.name);
        let version = match payment.as_ref().and_then(|it| it.get("x402Version")?.as_u64()) {
            Some(1) => Version::V1,
            _ => Version::V2,
        };
        let payment = payment.map(|payment| (version, payment.to_string().into_bytes()));
        let beside = |name: &str| Some((name.to_owned(), context.meta.get(name)?.as_str()?.into()));
        let headers = self.seller.headers().filter_map(beside).collect();
        let arguments = request.arguments.as_ref().map(|given| Value::Object(given.clone()));
        let arguments = arguments.unwrap_or_default().to_string();
        let parts: [&[u8]; 3] = [b"mcp", request.name.as_bytes(), arguments.as_bytes()];
        let digest = RequestDigest::from_parts(&parts);
        let offers = Arc::new(offers);
        let asked =
            PaidRequest { offers: Arc::clone(&offers), payment, digest, again: false, headers };
        // How the connection ends, over HTTP; and whether the call is cancelled before.
        let end = context.extensions.get::<Parts>().and_then(|parts| parts.extensions.get());
        let (end, cancelled) = (end.cloned(), context.ct.clone());
        let call = Call { inner: &self.inner, request, context };
        match self.driver.serve(&self.seller, asked, call).await {
            Served::Paid(response, delivery) => {
                // Dropped, it counts as lost.
                if !cancelled.is_cancelled() {
                    delivery.written(end);
                }
                Ok(response)
            }
            Served::Granted(response) => Ok(response),
            Served::Passed(passed) => passed,
            Served::Unpaid => ask(&offers, version, "payment required to call this tool", typed),
            Served::Refused(refusal) => refuse(&offers, version, &refusal, typed),
            Served::Panicked(_) => Err(broken()),
            Served::TimedOut(settled) => {
                let text = match settled {
                    None => {
                        "the tool took longer than its payment is good for; nothing was charged"
                    }
                    Some(_) => {
                        "the tool took too long; its payment was settled before: call it again"
                    }
                };
                Err(ErrorData::internal_error(text, None))
            }
        }
    }
}

/// The work for one call: the inner server's.
struct Call<'s, H> {
    inner: &'s H,
    request: CallToolRequestParams,
    context: RequestContext<RoleServer>,
}

impl<H: ServerHandler> Job for Call<'_, H> {
    type Answer = CallToolResponse;
    type Passed = Answer<CallToolResponse>;

    /// Here and in no task of its own: what the tool asks its client belongs to this call.
    async fn work(
        mut self,
        payment: Option<AcceptedPayment>,
        paid: bool,
    ) -> Worked<CallToolResponse, Self::Passed> {
        if let Some(payment) = payment {
            self.context.extensions.insert(payment);
        }
        let cancelled = self.context.ct.clone();
        let call = self.inner.call_tool(self.request, self.context);
        if paid {
            return match call.await {
                Ok(response) if is_success(&response) => goods(response),
                passed => Worked::NotCharged(passed),
            };
        }
        match cancelled.run_until_cancelled(call).await {
            Some(Ok(response)) if !cancelled.is_cancelled() => match &response {
                CallToolResponse::Complete(_) if is_success(&response) => goods(response),
                CallToolResponse::Complete(_) | CallToolResponse::InputRequired(_) => {
                    Worked::NotCharged(Ok(response))
                }
                _ => {
                    tracing::error!("a tool that answers with a task must be priced upfront");
                    Worked::NotCharged(Err(broken()))
                }
            },
            Some(Err(error)) => Worked::NotCharged(Err(error)),
            _ => Worked::NotCharged(Err(ErrorData::internal_error("cancelled", None))),
        }
    }

    fn with_receipt(
        mut answer: CallToolResponse,
        _: Version,
        receipt: &SettleResponse,
    ) -> CallToolResponse {
        give_receipt(&mut answer, receipt);
        answer
    }

    fn passed_with_receipt(
        mut passed: Self::Passed,
        _: Version,
        receipt: &SettleResponse,
    ) -> Self::Passed {
        if let Ok(response) = &mut passed {
            give_receipt(response, receipt);
        }
        passed
    }
}

fn goods<P>(response: CallToolResponse) -> Worked<CallToolResponse, P> {
    let bytes = size_of(&response);
    Worked::Goods(response, bytes)
}

fn is_success(response: &CallToolResponse) -> bool {
    !matches!(response, CallToolResponse::Complete(result) if result.is_error == Some(true))
}

/// About how many bytes an answer takes.
fn size_of(response: &CallToolResponse) -> usize {
    match response {
        CallToolResponse::Complete(result) => {
            serde_json::to_string(result).map_or(0, |json| 2 * json.len())
        }
        _ => 0,
    }
}

fn broken() -> ErrorData {
    ErrorData::internal_error("internal error", None)
}

/// The answer to a payment that is not served, in the payment's version.
fn refuse(
    offers: &Offers,
    version: Version,
    refusal: &Refusal,
    typed: bool,
) -> Result<CallToolResponse, ErrorData> {
    tracing::info!(reason = %refusal, "payment refused");
    let mut response = ask(offers, version, &refusal.to_string(), typed)?;
    if let Some(receipt) = &refusal.receipt {
        give_receipt(&mut response, receipt);
    }
    Ok(response)
}

/// The challenge as a result: an object, and the same as text. The object would have to be one of a
/// `typed` tool's.
fn ask(
    offers: &Offers,
    version: Version,
    error: &str,
    typed: bool,
) -> Result<CallToolResponse, ErrorData> {
    // What v1 cannot name is offered in v2 only.
    let challenge = offers.challenge(version, error);
    let json = challenge.or_else(|_| offers.challenge(Version::V2, error)).map_err(|_| broken())?;
    let object = serde_json::from_str(&json).map_err(|_| broken())?;
    let mut result = CallToolResult::error(vec![ContentBlock::text(json)]);
    result.structured_content = Some(object).filter(|_| !typed);
    Ok(result.into())
}

/// Puts a receipt beside what is in `_meta`; the tool has no say in what was paid.
fn give_receipt(response: &mut CallToolResponse, receipt: &SettleResponse) {
    let meta = match response {
        CallToolResponse::Complete(result) => &mut result.meta,
        CallToolResponse::InputRequired(result) => &mut result.meta,
        CallToolResponse::Task(result) => &mut result.meta,
        _ => return,
    };
    let object = receipt.to_json().ok().and_then(|json| serde_json::from_str(&json).ok());
    let meta = meta.get_or_insert_default();
    match object {
        Some(object) => meta.insert(PAYMENT_RESPONSE.into(), object),
        None => meta.remove(PAYMENT_RESPONSE),
    };
}

/// Methods that are the inner server's.
macro_rules! inner {
    ($($(#[$attribute:meta])* $name:ident($($argument:ident: $type:ty),*) -> $output:ty;)*) => {$(
        $(#[$attribute])*
        fn $name(
            &self,
            $($argument: $type,)*
        ) -> impl Future<Output = $output> + MaybeSendFuture + '_ {
            self.inner.$name($($argument),*)
        }
    )*};
}

type Answer<T> = Result<T, ErrorData>;
type Request = RequestContext<RoleServer>;
type Notification = NotificationContext<RoleServer>;

/// All methods there are: those that rmcp adds must be added here.
impl<H, F, S, C> ServerHandler for PaidTools<H, F, S, C>
where
    H: ServerHandler,
    F: Facilitator + 'static,
    S: ClaimStore + 'static,
    C: Clock + 'static,
{
    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: Request,
    ) -> Answer<CallToolResponse> {
        self.call(request, context).await
    }

    async fn list_tools(
        &self,
        page: Option<PaginatedRequestParams>,
        context: Request,
    ) -> Answer<ListToolsResult> {
        let listed = self.inner.list_tools(page, context).await?;
        let mut typed = lock(&self.typed);
        for tool in listed.tools.iter().filter(|tool| tool.output_schema.is_some()) {
            if typed.len() < TYPED {
                typed.insert(tool.name.to_string());
            }
        }
        Ok(listed)
    }

    inner! {
        ping(context: Request) -> Answer<()>;
        initialize(request: InitializeRequestParams, context: Request) -> Answer<InitializeResult>;
        discover(context: Request) -> Answer<DiscoverResult>;
        complete(request: CompleteRequestParams, context: Request) -> Answer<CompleteResult>;
        #[expect(deprecated)]
        set_level(request: SetLevelRequestParams, context: Request) -> Answer<()>;
        get_prompt(request: GetPromptRequestParams, context: Request) -> Answer<GetPromptResponse>;
        list_prompts(page: Option<PaginatedRequestParams>, context: Request)
            -> Answer<ListPromptsResult>;
        list_resources(page: Option<PaginatedRequestParams>, context: Request)
            -> Answer<ListResourcesResult>;
        list_resource_templates(page: Option<PaginatedRequestParams>, context: Request)
            -> Answer<ListResourceTemplatesResult>;
        read_resource(request: ReadResourceRequestParams, context: Request)
            -> Answer<ReadResourceResponse>;
        listen(context: SubscriptionContext) -> Answer<()>;
        #[expect(deprecated)]
        subscribe(request: SubscribeRequestParams, context: Request) -> Answer<()>;
        #[expect(deprecated)]
        unsubscribe(request: UnsubscribeRequestParams, context: Request) -> Answer<()>;
        on_custom_request(request: CustomRequest, context: Request) -> Answer<CustomResult>;
        get_task(request: GetTaskParams, context: Request) -> Answer<GetTaskResult>;
        update_task(request: UpdateTaskParams, context: Request) -> Answer<()>;
        cancel_task(request: CancelTaskParams, context: Request) -> Answer<()>;
        list_skills(page: Option<PaginatedRequestParams>, context: Request)
            -> Answer<ListSkillsResult>;
        get_skill(request: GetSkillRequestParams, context: Request) -> Answer<GetSkillResult>;
        read_resource_directory(request: ReadResourceDirectoryRequestParams, context: Request)
            -> Answer<ReadResourceDirectoryResult>;
        on_cancelled(notification: CancelledNotificationParam, context: Notification) -> ();
        on_progress(notification: ProgressNotificationParam, context: Notification) -> ();
        on_initialized(context: Notification) -> ();
        on_roots_list_changed(context: Notification) -> ();
        on_custom_notification(notification: CustomNotification, context: Notification) -> ();
    }

    fn negotiate_initialize(&self, request: &InitializeRequestParams) -> Answer<InitializeResult> {
        self.inner.negotiate_initialize(request)
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        self.inner.supported_protocol_versions()
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        self.inner.accepted_subscription_filter(requested)
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.inner.get_tool(name)
    }

    fn get_info(&self) -> ServerConfig {
        self.inner.get_info()
    }
}

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

/// A server with paid tools. Everything else comes from the inner server, including the list of tools: the
/// specification has no place for prices there.
///
/// A paid call reaches the inner server without its payment. The payment is released if the server answers
/// with an error or asks for input, or if the call is cancelled. It may then be presented again. If the
/// payment cannot be settled, no part of the answer is sent.
///
/// A challenge is sent as an object and as text. For a tool with an `outputSchema` it is text alone, as
/// strict clients check every object against the schema.
///
/// With the flow `upfront` the payment is settled first, and kept whatever the tool answers. Tools that
/// answer with a task need this flow, since an unpaid task cannot be taken back. It does not suit tools that
/// ask for input.
///
/// Clones share prices, seller and counts, so that every session over streamable HTTP can have one.
pub struct PaidTools<H, F, S = MemoryStore, C = SystemClock> {
    inner: H,
    seller: Arc<Seller<F, S, C>>,
    prices: Arc<Prices>,
    driver: Driver<CallToolResponse>,
    /// Listed tools with an output schema.
    typed: Arc<Mutex<HashSet<String>>>,
}

/// Most tools that are remembered.
const TYPED: usize = 4096;

type Compute = dyn Fn(&CallToolRequestParams) -> Result<Option<Offers>, ErrorData> + Send + Sync;

#[derive(Clone, Default)]
struct Prices {
    /// Prices of the named tools; `None` is free.
    tools: HashMap<String, Option<Offers>>,
    /// Prices of all other tools; `None` if these are free.
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
    /// Returns a server whose tools are free until they get prices.
    pub fn new(inner: H, seller: Arc<Seller<F, S, C>>) -> Self {
        let driver = Driver::new(PAYMENTS_AT_ONCE);
        Self { inner, seller, prices: Arc::default(), driver, typed: Arc::default() }
    }

    /// Sets the price of a tool. Unless the offers name a resource, it is `mcp://tool/NAME`.
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

    /// Sets one price for every tool without its own. It covers unknown tools too; calls of those fail, and
    /// are not charged.
    ///
    /// # Panics
    /// If nobody could pay it: see [`Seller::check`].
    pub fn with_price_for_others(self, offers: impl Into<Offers>) -> Self {
        let offers = self.payable(offers);
        self.with_offers_for(move |_| Ok(Some(offers.clone())))
    }

    /// Sets prices that depend on the call, for tools without their own. They must be the same for the call
    /// that gets the challenge and for the call that pays. `None` is free. An error is sent as it is; offers
    /// that nobody can pay are answered with an internal error.
    pub fn with_offers_for(
        self,
        offers: impl Fn(&CallToolRequestParams) -> Result<Option<Offers>, ErrorData>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.set(|prices| prices.others = Some(Arc::new(offers)))
    }

    /// Ties payments on Solana to their tool: see [`Offers::with_memo`]. All servers of the tool need the
    /// same secret.
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

    /// Returns the price of a call; `None` if it is free.
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
    /// Returns whether a tool has an output schema.
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
        // rmcp moves the metadata of a call into the context; another server in this process may leave it in
        // the call.
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
        // The end of the connection, over HTTP, and the cancellation of the call before that.
        let end = context.extensions.get::<Parts>().and_then(|parts| parts.extensions.get());
        let (end, cancelled) = (end.cloned(), context.ct.clone());
        let call = Call { inner: &self.inner, request, context };
        match self.driver.serve(&self.seller, asked, call).await {
            Served::Paid(response, delivery) => {
                // A dropped delivery counts as lost.
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

/// The work for one call, which the inner server does.
struct Call<'s, H> {
    inner: &'s H,
    request: CallToolRequestParams,
    context: RequestContext<RoleServer>,
}

impl<H: ServerHandler> Job for Call<'_, H> {
    type Answer = CallToolResponse;
    type Passed = Answer<CallToolResponse>;

    /// Runs inside this call, without a task of its own: the tool's requests to its client belong to this
    /// call.
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

/// Returns the approximate size of an answer, in bytes.
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

/// Returns the answer to a refused payment, in the payment's version.
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

/// Returns the challenge as a result, as an object and as text. For a `typed` tool it is text alone, since an
/// object would have to match the tool's schema.
fn ask(
    offers: &Offers,
    version: Version,
    error: &str,
    typed: bool,
) -> Result<CallToolResponse, ErrorData> {
    // Offers on networks without a v1 name are in v2 only.
    let challenge = offers.challenge(version, error);
    let json = challenge.or_else(|_| offers.challenge(Version::V2, error)).map_err(|_| broken())?;
    let object = serde_json::from_str(&json).map_err(|_| broken())?;
    let mut result = CallToolResult::error(vec![ContentBlock::text(json)]);
    result.structured_content = Some(object).filter(|_| !typed);
    Ok(result.into())
}

/// Puts a receipt into `_meta`, in place of any from the tool, and keeps the rest.
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

/// Methods that the inner server answers.
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

/// All methods of the trait: methods that rmcp adds later must be added here.
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

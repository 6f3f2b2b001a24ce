//! A price in front of the tools of another MCP server.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use clap::Args;
use reqwest::Url;
use reqwest::redirect::Policy;
use rmcp::model::*;
use rmcp::service::{RequestContext, RunningService};
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::transport::streamable_http_server::StreamableHttpServerConfig;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::{StreamableHttpClientTransport, StreamableHttpService, TokioChildProcess};
use rmcp::{ErrorData, Peer, RoleClient, RoleServer, ServerHandler, ServiceError, ServiceExt};
use tokio::process::Command;
use tokio::time::{sleep, timeout};
use x402_std::facilitator;
use x402_std::mcp::PaidTools;
use x402_std::seller::{Offers, Seller};
use x402_std::store::ClaimStore;

use super::over_stdio;
use crate::listen::{Listen, Stop};
use crate::serve::{Selling, Shop, kept};
use crate::{Exit, Failure, Outcome, talk};

/// Longest wait for the upstream server's introduction: some servers are downloaded first.
const START: Duration = Duration::from_secs(120);

/// Time after which a line on stderr says that the upstream server is slow.
const PATIENCE: Duration = Duration::from_secs(5);

/// Time for sending the last answers, when the process is asked to stop.
const LAST: Duration = Duration::from_millis(500);

/// The server's path over HTTP.
const PATH: &str = "/mcp";

#[derive(Args)]
pub(crate) struct Gateway {
    /// MCP server whose tools are sold: its URL (streamable HTTP), or the command that runs it
    /// (stdio), in words with or without quotes, without a shell. It has two minutes to introduce
    /// itself. Its prompts and resources are free. Its own requests and notifications to the client
    /// (sampling, elicitation, progress, changed lists) are not passed on
    #[arg(long, value_name = "CMD|URL")]
    upstream: String,
    #[command(flatten)]
    selling: Selling,
    /// Price of one tool, instead of --price; may be repeated
    #[arg(long = "tool", value_name = "NAME=MONEY", value_parser = priced)]
    tools: Vec<(String, String)>,
    /// Tool that costs nothing; may be repeated
    #[arg(long, value_name = "NAME")]
    free: Vec<String>,
    /// Serves over streamable HTTP, at /mcp, instead of over stdin and stdout. All clients share one
    /// connection to the upstream server. No sessions are kept
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// Name of this server in HTTP requests, besides localhost and the address of --listen; may be
    /// repeated. Requests to other names are refused, so that no website can reach it through a browser
    #[arg(long = "host", value_name = "NAME", requires = "listen")]
    hosts: Vec<String>,
}

impl Gateway {
    pub(crate) async fn run(&self) -> Outcome {
        let mut names = HashSet::new();
        let named = self.tools.iter().map(|(name, _)| name).chain(&self.free);
        if !named.into_iter().all(|name| names.insert(name)) {
            return Err(Failure::unusable("--tool, --free: a tool is named twice: remove one"));
        }
        let prices: Vec<_> =
            self.tools.iter().map(|(_, price)| ("--tool", price.as_str())).collect();
        self.selling.run(&prices, self).await
    }

    /// Connects to the upstream server.
    async fn connect(&self) -> Result<Upstream, Failure> {
        let us = Implementation::new("x402", env!("CARGO_PKG_VERSION"));
        let client = ClientConfig::new(ClientCapabilities::default(), us);
        // Errors of the transports may have the URL in them.
        let silent = |_| Failure::refused("--upstream: no answer in MCP: check the URL or command");
        let connected = async {
            if let Some(url) = http_url(&self.upstream)? {
                let http = reqwest::Client::builder().redirect(Policy::none()).no_proxy().build();
                let http = http.map_err(|error| Failure::refused(error.without_url()))?;
                let config = StreamableHttpClientTransportConfig::with_uri(url.as_str());
                let transport = StreamableHttpClientTransport::with_client(http, config);
                return client.serve(transport).await.map_err(silent);
            }
            let mut words = words(&self.upstream)?.into_iter();
            let program = words.next();
            let program = program
                .ok_or_else(|| Failure::unusable("--upstream: empty: give a URL or a command"))?;
            let mut command = Command::new(program);
            command.args(words);
            let child = TokioChildProcess::new(command)
                .map_err(|error| Failure::unusable(format_args!("--upstream: {error}")))?;
            client.serve(child).await.map_err(silent)
        };
        let late = |_| Failure::refused("--upstream: no answer in MCP in two minutes");
        timeout(START, connected).await.map_err(late)?
    }

    /// Warns of tools that were named and do not exist: a typing mistake would sell them at another price.
    async fn check_names(&self, upstream: &Peer<RoleClient>) {
        let Ok(tools) = upstream.list_all_tools().await else {
            return talk("warning: --upstream: the server does not list its tools");
        };
        for name in self.tools.iter().map(|(name, _)| name).chain(&self.free) {
            if !tools.iter().any(|tool| tool.name == *name) {
                talk(format_args!("warning: --upstream has no tool {}", name.escape_debug()));
            }
        }
    }
}

impl Shop for &Gateway {
    async fn open<F, S>(self, seller: Seller<F, S>, offers: Vec<Offers>) -> Outcome
    where
        F: facilitator::Facilitator + 'static,
        S: ClaimStore + 'static,
    {
        let mut stop = Stop::new().map_err(Failure::refused)?;
        let waiting = async {
            sleep(PATIENCE).await;
            talk("--upstream: waiting for the server's introduction");
            std::future::pending::<()>().await;
        };
        let upstream = tokio::select! {
            upstream = self.connect() => upstream?,
            () = stop.asked() => return Ok(Exit::Yes),
            () = waiting => return Ok(Exit::Yes),
        };
        self.check_names(upstream.peer()).await;
        let seller = Arc::new(seller);
        let mut paid = PaidTools::new(Proxy::new(&upstream), Arc::clone(&seller));
        let mut offers = offers.into_iter();
        if let Some(price) = offers.next() {
            paid = paid.with_price_for_others(price);
        }
        for ((name, _), price) in self.tools.iter().zip(offers) {
            paid = paid.with_price(name, price);
        }
        for name in &self.free {
            paid = paid.with_free(name);
        }
        // This stops a child process, and waits until it has ended.
        let end = upstream.cancellation_token();
        let mut ended = pin!(upstream.waiting());
        let served = {
            let served: Pin<Box<dyn Future<Output = Outcome> + Send>> = match self.listen {
                Some(address) => Box::pin(over_http(paid, address, &self.hosts, stop)),
                None => {
                    let last = paid.clone();
                    Box::pin(async move { over_stdio(paid, stop, || last.drain()).await })
                }
            };
            tokio::select! {
                served = kept(seller, served) => Some(served),
                _ = &mut ended => None,
            }
        };
        let Some(served) = served else {
            return Err(Failure::refused("the upstream server has ended"));
        };
        end.cancel();
        ended.await.ok();
        served
    }
}

async fn over_http<F, S>(
    paid: PaidTools<Proxy, F, S>,
    address: SocketAddr,
    hosts: &[String],
    mut stop: Stop,
) -> Outcome
where
    F: facilitator::Facilitator + 'static,
    S: ClaimStore + 'static,
{
    // The server only answers requests, so it needs no sessions. Clients that only begin sessions would fill
    // the memory. A client that hangs up cancels its call.
    let mut config = StreamableHttpServerConfig::default()
        .enforce_origin_validation()
        .with_legacy_session_mode(false);
    config.allowed_hosts.push(address.ip().to_string());
    config.allowed_hosts.extend(hosts.iter().cloned());
    // A page of this machine, at any port, under an allowed name.
    let local = ["http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*"];
    config.allowed_origins = local.map(String::from).into();
    let end = config.cancellation_token.clone();
    let last = paid.clone();
    // Streams to clients stay open: they are closed when payments are finished.
    let closing = tokio::spawn(async move {
        stop.asked().await;
        last.drain().await;
        sleep(LAST).await;
        end.cancel();
    });
    let sessions = Arc::new(NeverSessionManager::default());
    let for_each = paid.clone();
    let service = StreamableHttpService::new(move || Ok(for_each.clone()), sessions, config);
    let router = Router::new().route_service(PATH, service);
    let served = Listen::new(address).serve(router, async move { paid.drain().await }).await;
    closing.abort();
    served
}

type Upstream = RunningService<RoleClient, ClientConfig>;

/// Passes everything on to the upstream server.
#[derive(Clone)]
struct Proxy {
    upstream: Peer<RoleClient>,
    info: ServerConfig,
}

impl Proxy {
    fn new(upstream: &Upstream) -> Self {
        let mut info = ServerConfig::default();
        if let Some(theirs) = upstream.peer_info() {
            info.capabilities = passed_on(&theirs.capabilities);
            info.instructions = theirs.instructions.clone();
            if let Some(server) = &theirs.server_info {
                info.server_info = server.clone();
            }
        }
        Self { upstream: upstream.peer().clone(), info }
    }
}

/// The capabilities of a server that need no message from the server itself.
fn passed_on(theirs: &ServerCapabilities) -> ServerCapabilities {
    let mut ours = ServerCapabilities::default();
    ours.tools = theirs.tools.as_ref().map(|_| ToolsCapability::default());
    ours.prompts = theirs.prompts.as_ref().map(|_| PromptsCapability::default());
    ours.resources = theirs.resources.as_ref().map(|_| ResourcesCapability::default());
    ours.completions = theirs.completions.clone();
    ours
}

/// The metadata of a request, without members about its connection.
fn beside(context: RequestContext<RoleServer>) -> Option<RequestMetaObject> {
    let mut meta = context.meta;
    meta.retain(|key, _| key != "progressToken" && !key.starts_with("io.modelcontextprotocol/"));
    (!meta.is_empty()).then_some(meta)
}

fn failed(error: ServiceError) -> ErrorData {
    match error {
        ServiceError::McpError(error) => error,
        _ => ErrorData::internal_error("the upstream server does not answer: try again", None),
    }
}

/// Adds the kind of result, which newer revisions of MCP require and older upstream servers leave out. rmcp
/// removes it again for older clients.
macro_rules! complete {
    ($result:expr) => {
        $result.map_err(failed).map(|mut result| {
            result.result_type.get_or_insert(ResultType::COMPLETE);
            result
        })
    };
    ($result:expr, $response:ident) => {
        $result.map_err(failed).map(|mut response| {
            if let $response::Complete(result) = &mut response {
                result.result_type.get_or_insert(ResultType::COMPLETE);
            }
            response
        })
    };
}

type Page = Option<PaginatedRequestParams>;

impl ServerHandler for Proxy {
    fn get_info(&self) -> ServerConfig {
        self.info.clone()
    }

    async fn list_tools(
        &self,
        page: Page,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        complete!(self.upstream.list_tools(page).await)
    }

    async fn call_tool(
        &self,
        mut request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        request.meta = beside(context);
        complete!(self.upstream.call_tool_once(request).await, CallToolResponse)
    }

    async fn list_prompts(
        &self,
        page: Page,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        complete!(self.upstream.list_prompts(page).await)
    }

    async fn get_prompt(
        &self,
        mut request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        request.meta = beside(context);
        complete!(self.upstream.get_prompt_once(request).await, GetPromptResponse)
    }

    async fn list_resources(
        &self,
        page: Page,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        complete!(self.upstream.list_resources(page).await)
    }

    async fn list_resource_templates(
        &self,
        page: Page,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        complete!(self.upstream.list_resource_templates(page).await)
    }

    async fn read_resource(
        &self,
        mut request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        request.meta = beside(context);
        complete!(self.upstream.read_resource_once(request).await, ReadResourceResponse)
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        complete!(self.upstream.complete(request).await)
    }
}

/// Reads `NAME=MONEY`. A name may contain `=`; money never does.
fn priced(text: &str) -> Result<(String, String), &'static str> {
    let (name, price) = text.rsplit_once('=').ok_or("not NAME=MONEY, such as search=$0.01")?;
    Ok((name.into(), price.into()))
}

/// Returns the URL in a text, or `None` for a command.
fn http_url(text: &str) -> Result<Option<Url>, Failure> {
    if !["http://", "https://"].iter().any(|scheme| text.starts_with(scheme)) {
        return Ok(None);
    }
    Url::parse(text).map(Some).map_err(|_| Failure::unusable("--upstream: not a valid URL"))
}

/// Returns the words of a command. Quotes keep characters together. Outside of single quotes, a backslash
/// keeps the next character as it is.
fn words(command: &str) -> Result<Vec<String>, Failure> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut chars = command.chars();
    while let Some(next) = chars.next() {
        match (next, quote) {
            (_, Some(open)) if next == open => quote = None,
            ('\'' | '"', None) => {
                quote = Some(next);
                word.get_or_insert_default();
            }
            ('\\', None | Some('"')) => {
                let next = chars.next();
                let next =
                    next.ok_or_else(|| Failure::unusable("--upstream: ends in \\: remove it"))?;
                word.get_or_insert_default().push(next);
            }
            (_, None) if next.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(next),
        }
    }
    if quote.is_some() {
        return Err(Failure::unusable("--upstream: a quote is open: close it"));
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_split_as_people_expect() {
        for (command, expected) in [
            ("npx -y  server", Some(vec!["npx", "-y", "server"])),
            ("'/opt/my server' --name=\"a b\"c", Some(vec!["/opt/my server", "--name=a bc"])),
            (r#"a\ b "c\"d" 'e\f' """#, Some(vec!["a b", "c\"d", r"e\f", ""])),
            ("  ", Some(vec![])),
            ("a 'b", None),
            ("a \\", None),
        ] {
            let found = words(command).ok();
            let found = found.as_ref().map(|words| words.iter().map(String::as_str).collect());
            assert_eq!(found, expected, "{command}");
        }
    }
}

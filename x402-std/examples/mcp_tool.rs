//! An MCP server with a weather tool, over stdin and stdout. Started with a price, it sells the tool;
//! without one, the tool is free, and `x402 mcp --upstream` can put a price in front of it:
//!
//!     cargo run -p x402-std --features cli --example mcp_tool -- '$0.01' eip155:1328 PAYEE FACILITATOR
//!
//!     x402 mcp --upstream target/debug/examples/mcp_tool --price '$0.01' --network eip155:1328 \
//!         --pay-to PAYEE --facilitator FACILITATOR

use std::error::Error;
use std::sync::Arc;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler, ServiceExt};
use serde_json::json;
use x402_std::facilitator::{Facilitator, RemoteFacilitator};
use x402_std::mcp::PaidTools;
use x402_std::seller::{Offers, Seller, exact};

/// The server as it is without payments.
#[derive(Clone)]
struct Weather;

impl ServerHandler for Weather {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let schema = json!({
            "type": "object",
            "properties": { "city": { "type": "string" } },
            "required": ["city"],
        });
        let schema = schema.as_object().cloned().unwrap_or_default();
        let tool = Tool::new("get_weather", "The weather in a city", Arc::new(schema));
        Ok(ListToolsResult::with_all_items(vec![tool]))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        if request.name != "get_weather" {
            return Err(ErrorData::invalid_params("no such tool", None));
        }
        let arguments = request.arguments.unwrap_or_default();
        // For an error nobody is charged.
        let Some(city) = arguments.get("city").and_then(|city| city.as_str()) else {
            return Ok(CallToolResult::error(vec![ContentBlock::text("which city?")]).into());
        };
        Ok(CallToolResult::structured(json!({ "city": city, "weather": "sunny" })).into())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let stdio = (tokio::io::stdin(), tokio::io::stdout());
    let [price, network, payee, facilitator] = &arguments[..] else {
        Weather.serve(stdio).await?.waiting().await?;
        return Ok(());
    };
    let facilitator = RemoteFacilitator::new(facilitator)?;
    let offers = Offers::new([exact(network, payee, price)?])
        .with_description("the weather in a city", "application/json")
        .with_supported(&facilitator.supported().await?)?;
    let server = PaidTools::new(Weather, Arc::new(Seller::new(facilitator)))
        .with_price("get_weather", offers);
    server.clone().serve(stdio).await?.waiting().await?;
    // What was being settled when the client left.
    server.drain().await;
    Ok(())
}

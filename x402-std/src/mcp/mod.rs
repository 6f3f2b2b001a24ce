//! Paid tools of MCP servers, over rmcp: [`PaidTools`] sells them, and [`McpTransport`] buys them.
//!
//! By the specification's MCP transport, the answer to a call without a payment is the challenge. It is a
//! result with `isError`, in `structuredContent` and as text. The payment goes into
//! [`_meta["x402/payment"]`](PAYMENT) of the call, and the receipt comes in
//! [`_meta["x402/payment-response"]`](PAYMENT_RESPONSE) of the result.
//!
//! Selling:
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use rmcp::{ErrorData, RoleServer, ServerHandler, ServiceExt, service::RequestContext};
//! # use rmcp::model::{CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock};
//! # use x402_std::facilitator::RemoteFacilitator;
//! # use x402_std::mcp::PaidTools;
//! # use x402_std::seller::{Offers, Seller, exact};
//! struct Weather; // any server, also one made by rmcp's macros
//!
//! impl ServerHandler for Weather {
//!     async fn call_tool(
//!         &self,
//!         _: CallToolRequestParams,
//!         _: RequestContext<RoleServer>,
//!     ) -> Result<CallToolResponse, ErrorData> {
//!         Ok(CallToolResult::success(vec![ContentBlock::text("sunny")]).into())
//!     }
//! }
//!
//! # async fn run(reader: tokio::io::DuplexStream) -> Result<(), Box<dyn std::error::Error>> {
//! let seller = Arc::new(Seller::new(RemoteFacilitator::new("https://facilitator.example.com")?));
//! let offer = exact("eip155:84532", "0x90F79bf6EB2c4f870365E785982E1f101E93b906", "$0.01")?;
//! let offers = Offers::new([offer]).with_description("the weather in a city", "application/json");
//! let server = PaidTools::new(Weather, seller).with_price("get_weather", offers);
//! # let stdio = reader;
//! server.serve(stdio).await?.waiting().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Buying:
//!
//! ```no_run
//! # use rmcp::{ServiceExt, model::CallToolRequestParams};
//! # use x402_std::buyer::Buyer;
//! # use x402_std::core::crypto::secp256k1::LocalKey;
//! # use x402_std::mcp::McpTransport;
//! # use x402_std::buyer::wallet::EvmWallet;
//! # async fn run(stdio: tokio::io::DuplexStream) -> Result<(), Box<dyn std::error::Error>> {
//! let client = ().serve(stdio).await?;
//! let tools = McpTransport::new(client.peer().clone(), "weather-server");
//! let buyer = Buyer::new(EvmWallet::new(LocalKey::from_bytes(&[7; 32]).ok_or("not a key")?));
//! let bought = buyer.buy(&tools, &CallToolRequestParams::new("get_weather")).await?;
//! println!("{:?}", bought.response.content);
//! # Ok(())
//! # }
//! ```
//!
//! serde_json reads JSON-RPC. If a key is repeated inside a payment, challenge or receipt, only the last
//! value arrives here. Numbers beyond 64 bits lose digits; amounts are texts, and safe. rmcp's own events of
//! level `debug` and `trace` contain whole requests, with their payments: do not log them.

mod buy;
mod paid;

pub use buy::{McpError, McpTransport};
pub use paid::{PAYMENTS_AT_ONCE, PaidTools};

/// Key of the payment in a call's `_meta`: a `PaymentPayload` as object.
pub const PAYMENT: &str = "x402/payment";

/// Key of the receipt in a result's `_meta`: a `SettleResponse` as object.
pub const PAYMENT_RESPONSE: &str = "x402/payment-response";

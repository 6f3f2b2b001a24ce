//! Calls a tool of an MCP server over streamable HTTP, and pays for it if that is what it takes: at
//! most a dollar, in a known stablecoin.
//!
//!     cargo run -p x402-std --features cli --example mcp_buyer -- \
//!         http://127.0.0.1:8000/mcp get_weather '{"city":"Lisbon"}'
//!
//! Prints one line of JSON: what the tool answered, whether a payment was sent, and the receipt. The
//! keys are `X402_EVM_KEY`, in hexadecimal, and `X402_SVM_KEY`, in base58 as Solana's wallets write
//! it; `X402_SVM_RPC` is a node of Solana's, for offers without a blockhash.

use std::env;
use std::error::Error;
use std::process::ExitCode;

use rmcp::ServiceExt;
use rmcp::model::CallToolRequestParams;
use rmcp::transport::StreamableHttpClientTransport;
use serde_json::{Value, json};
use x402_std::buyer::wallet::{EvmWallet, SvmWallet};
use x402_std::buyer::{BuyError, Buyer};
use x402_std::core::crypto::{ed25519, secp256k1};
use x402_std::mcp::McpTransport;
use x402_std::rpc::SvmRpc;
use x402_std::svm::base58;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> ExitCode {
    let (told, is_error) = match call().await {
        Ok(told) => told,
        Err(error) => (json!({ "error": error.to_string() }), true),
    };
    println!("{told}");
    ExitCode::from(u8::from(is_error))
}

async fn call() -> Result<(Value, bool)> {
    let usage = "usage: mcp_buyer URL TOOL [ARGUMENTS]";
    let mut args = env::args().skip(1);
    let (url, tool) = (args.next().ok_or(usage)?, args.next().ok_or(usage)?);
    let mut call = CallToolRequestParams::new(tool);
    if let Some(arguments) = args.next() {
        call.arguments = Some(serde_json::from_str(&arguments)?);
    }

    // Whom the budget knows: the host, not what the server says of itself.
    let parsed = reqwest::Url::parse(&url)?;
    let host = parsed.host_str().ok_or("a URL without a host")?;
    let host = parsed.port().map_or_else(|| host.into(), |port| format!("{host}:{port}"));
    let server = ().serve(StreamableHttpClientTransport::from_uri(url)).await?;
    let tools = McpTransport::new(server.peer().clone(), host);
    let buyer = Buyer::new((svm_wallet()?, evm_wallet()?));
    let bought = buyer.buy(&tools, &call).await;
    let told = match bought {
        Ok(bought) => {
            let is_error = bought.response.is_error == Some(true);
            let receipt = bought.receipt.map(|receipt| receipt.to_json()).transpose()?;
            let receipt: Option<Value> =
                receipt.as_deref().and_then(|r| serde_json::from_str(r).ok());
            let told = json!({
                "content": bought.response.content,
                "structuredContent": bought.response.structured_content,
                "isError": is_error,
                "paid": bought.paid.is_some(),
                "receipt": receipt,
            });
            (told, is_error)
        }
        Err(error) => {
            let sent = matches!(error, BuyError::Refused { .. } | BuyError::Unclear { .. });
            (json!({ "error": error.to_string(), "paid": sent }), true)
        }
    };
    server.cancel().await?;
    Ok(told)
}

fn evm_wallet() -> Result<Option<EvmWallet<secp256k1::LocalKey>>> {
    let Ok(text) = env::var("X402_EVM_KEY") else { return Ok(None) };
    let mut key = [0; 32];
    let digits = text.trim().trim_start_matches("0x");
    hex::decode_to_slice(digits, &mut key).map_err(|_| "X402_EVM_KEY: not hexadecimal")?;
    let key = secp256k1::LocalKey::from_bytes(&key).ok_or("X402_EVM_KEY: not a key")?;
    Ok(Some(EvmWallet::new(key)))
}

fn svm_wallet() -> Result<Option<SvmWallet<ed25519::LocalKey, Option<SvmRpc>>>> {
    let Ok(text) = env::var("X402_SVM_KEY") else { return Ok(None) };
    let keypair =
        base58::decode::<64>(text.trim()).ok_or("X402_SVM_KEY: not base58 of 64 bytes")?;
    let key = ed25519::LocalKey::from_keypair(&keypair).ok_or("X402_SVM_KEY: not a key")?;
    let node = env::var("X402_SVM_RPC").ok().map(|url| SvmRpc::new(&url)).transpose()?;
    Ok(Some(SvmWallet::new(key).with_blockhashes(node)))
}

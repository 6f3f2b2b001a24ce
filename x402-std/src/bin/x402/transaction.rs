//! A Solana transaction in words.

use std::fmt::Display;

use serde::Serialize;
use x402_std::core::Reason;
use x402_std::core::crypto::Verify;
use x402_std::core::crypto::ed25519::Dalek;
use x402_std::core::wire::PaymentPayload;
use x402_std::svm::message::{
    Config, Instruction, Message, MessageVersion, TRANSACTION_V1_BYTES, Transaction,
};
use x402_std::svm::programs::{
    COMPUTE_BUDGET, LIGHTHOUSE, MEMO, TransferChecked, compute_unit_limit, compute_unit_price,
};
use x402_std::svm::{Address, TokenProgram, assets, read_transaction};

use crate::decimal;

/// The transaction of a payment on Solana in words, as JSON; `None` for a payment without one.
pub(crate) fn words(payment: &PaymentPayload<'_>) -> Option<String> {
    let network = payment.network().solana()?;
    payment.payload.get("transaction")?;
    let mut scratch = [0; TRANSACTION_V1_BYTES];
    let words = read_transaction(payment.payload, &mut scratch)
        .map_err(|reason| match reason {
            Reason::InvalidPayload => "not a text".into(),
            _ => "not base64, or longer than a transaction may be".into(),
        })
        .and_then(|bytes| Transaction::parse(bytes).map_err(|error| error.to_string()))
        .map(|transaction| Words::new(network, &transaction));
    match words {
        Ok(words) => serde_json::to_string(&words).ok(),
        Err(error) => Some(serde_json::json!({ "error": error }).to_string()),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Words {
    version: &'static str,
    fee_payer: String,
    signers: Vec<Signer>,
    blockhash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    lookups: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<Budget>,
    instructions: Vec<String>,
}

#[derive(Serialize)]
struct Signer {
    address: String,
    signed: bool,
}

/// The members of [`Config`] that are set.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Budget {
    #[serde(skip_serializing_if = "Option::is_none")]
    priority_fee: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compute_units: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    loaded_accounts_bytes: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    heap_bytes: Option<u32>,
}

impl Words {
    fn new(network: &str, transaction: &Transaction<'_>) -> Self {
        let message = transaction.message();
        let signers = message.keys().iter().zip(transaction.signatures());
        let signers = signers.map(|(key, signature)| Signer {
            address: Address(*key).to_string(),
            signed: Dalek.verify(key, message.as_bytes(), signature),
        });
        let lookups = message.lookups().count();
        let Config { priority_fee, compute_units, loaded_accounts_bytes, heap_bytes } =
            message.config();
        let config = Budget { priority_fee, compute_units, loaded_accounts_bytes, heap_bytes };
        let words = |instruction| in_words(network, message, &instruction);
        Self {
            version: match message.version() {
                MessageVersion::Legacy => "legacy",
                MessageVersion::V0 => "v0",
                MessageVersion::V1 => "v1",
            },
            fee_payer: account(message, 0),
            signers: signers.collect(),
            // Written as addresses are.
            blockhash: Address(*message.lifetime()).to_string(),
            lookups: (lookups != 0).then_some(lookups),
            config: (message.version() == MessageVersion::V1).then_some(config),
            instructions: message.instructions().map(words).collect(),
        }
    }
}

fn in_words(network: &str, message: &Message<'_>, instruction: &Instruction<'_>) -> String {
    let known = match message.key(instruction.program) {
        Some(COMPUTE_BUDGET) => budget(instruction.data),
        Some(MEMO) => Some(memo(instruction.data)),
        Some(program) => TokenProgram::at(program)
            .and_then(|program| transfer(network, message, program, instruction)),
        None => None,
    };
    known.unwrap_or_else(|| {
        let program = match message.key(instruction.program) {
            Some(LIGHTHOUSE) => "Lighthouse".into(),
            _ => account(message, instruction.program),
        };
        let accounts = count(instruction.accounts.len(), "account");
        format!("call {program} with {accounts} and {}", count(instruction.data.len(), "byte"))
    })
}

fn budget(data: &[u8]) -> Option<String> {
    if let Some(units) = compute_unit_limit(data) {
        return Some(format!("set compute unit limit to {units}"));
    }
    let price = compute_unit_price(data)?;
    Some(format!("set compute unit price to {}", count(price, "micro-lamport")))
}

fn memo(data: &[u8]) -> String {
    match std::str::from_utf8(data) {
        // Characters that move the cursor or hide text are escaped.
        Ok(text) => format!("memo {text:?}"),
        Err(_) => format!("memo 0x{}", hex::encode(data)),
    }
}

fn transfer(
    network: &str,
    message: &Message<'_>,
    program: TokenProgram,
    instruction: &Instruction<'_>,
) -> Option<String> {
    let transfer = TransferChecked::parse(instruction.accounts, instruction.data)?;
    let account = |place| account(message, place);
    let asset = message.key(transfer.mint).and_then(|mint| assets::find(network, mint));
    // The chain refuses a transfer with other decimals, or by another program, than the token's.
    let asset = asset
        .filter(|asset| asset.mint.decimals == transfer.decimals && asset.mint.program == program);
    let (units, mint) = (count(transfer.amount, "unit"), account(transfer.mint));
    let decimals = count(transfer.decimals, "decimal");
    let amount = match asset {
        Some(asset) => {
            let amount = decimal(&transfer.amount.to_string(), asset.mint.decimals.into());
            format!("{amount} {} ({units} of {mint}, {decimals})", asset.symbol)
        }
        None => format!("{units} of {mint} ({decimals})"),
    };
    let (from, to) = (account(transfer.source), account(transfer.destination));
    let authority = account(transfer.authority);
    Some(format!("transfer {amount} from {from} to {to}, authorised by {authority}"))
}

/// An address, or its place in a table, whose contents only the chain has.
fn account(message: &Message<'_>, place: u8) -> String {
    if let Some(address) = message.key(place) {
        return address.to_string();
    }
    message
        .looked_up(place)
        .map_or_else(String::new, |(table, index)| format!("account {index} of table {table}"))
}

fn count(number: impl Display, of: &str) -> String {
    let number = number.to_string();
    let plural = if number == "1" { "" } else { "s" };
    format!("{number} {of}{plural}")
}

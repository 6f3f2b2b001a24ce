//! The parts of nodes' answers that are read.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use x402_svm::SvmPayment;

use super::{TOKEN_ACCOUNT_BYTES, TOKEN_ACCOUNT_STATE};
use crate::base64;

#[derive(Deserialize)]
pub(super) struct InContext<T> {
    pub(super) context: Context,
    pub(super) value: T,
}

#[derive(Deserialize)]
pub(super) struct Context {
    pub(super) slot: u64,
}

/// Of source, destination and fee payer.
pub(super) type Accounts = [Option<Account>; 3];

#[derive(Deserialize)]
pub(super) struct Account {
    pub(super) lamports: u64,
    pub(super) owner: String,
    pub(super) data: (String, String),
}

impl Account {
    /// Returns the balance of a token account of the payment's token that is initialised and not frozen.
    pub(super) fn token(&self, payment: &SvmPayment) -> Option<u64> {
        let mut bytes = vec![0; base64::decoded_len(self.data.0.len())];
        let bytes = base64::decode(self.data.0.as_bytes(), &mut bytes).ok()?;
        let (mint, rest) = bytes.split_first_chunk::<32>()?;
        let (_owner, rest) = rest.split_first_chunk::<32>()?;
        let (amount, _) = rest.split_first_chunk()?;
        let is_one = self.owner == payment.token_program.address().to_string()
            && self.data.1 == "base64"
            && bytes.len() >= TOKEN_ACCOUNT_BYTES
            && *mint == payment.asset.0
            && bytes.get(TOKEN_ACCOUNT_STATE) == Some(&1);
        is_one.then_some(u64::from_le_bytes(*amount))
    }
}

#[derive(Deserialize)]
pub(super) struct Simulation {
    #[serde(deserialize_with = "given")]
    pub(super) err: Option<Value>,
    pub(super) accounts: Option<Accounts>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SignatureStatus {
    #[serde(deserialize_with = "given")]
    pub(super) err: Option<Value>,
    pub(super) confirmation_status: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Landed {
    pub(super) transaction: (String, String),
    pub(super) meta: Option<Meta>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Meta {
    #[serde(deserialize_with = "given")]
    pub(super) err: Option<Value>,
    #[serde(default, deserialize_with = "or_none")]
    pub(super) pre_token_balances: Vec<TokenBalance>,
    #[serde(default, deserialize_with = "or_none")]
    pub(super) post_token_balances: Vec<TokenBalance>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TokenBalance {
    pub(super) account_index: usize,
    pub(super) mint: String,
    pub(super) ui_token_amount: UiTokenAmount,
}

#[derive(Deserialize)]
pub(super) struct UiTokenAmount {
    #[serde(deserialize_with = "decimal")]
    pub(super) amount: u64,
}

pub(super) fn decimal<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    String::deserialize(from)?.parse().map_err(D::Error::custom)
}

/// Reads a member that may be `null`, but must be there: an answer that omits the error proves nothing.
pub(super) fn given<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Option::deserialize(from)
}

/// Reads a list, or `null` as an empty one.
pub(super) fn or_none<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<TokenBalance>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

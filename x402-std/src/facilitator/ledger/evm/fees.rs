//! The price of gas.

use std::time::Duration;

use alloy_primitives::U256;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use x402_core::Reason;
use x402_core::budget::MONEY_DECIMALS;
use x402_evm::assets;

use super::EvmChain;
use super::chain::{Chain, read, wei};
use super::contract::word;
use super::sender::Fees;
use super::settlement::Authorized;

/// Wei in one of the chain's own coin.
const COIN: u128 = 1_000_000_000_000_000_000;

/// Time to wait for the prices of the other nodes, once one has answered.
const QUOTED: Duration = Duration::from_secs(2);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FeeHistory {
    base_fee_per_gas: Vec<U256>,
}

impl<K> Chain<K> {
    /// Returns the price of gas. Above the caps there is no transaction: one that offers too little waits,
    /// and so do all after it.
    ///
    /// # Errors
    /// [`Reason::Busy`] above the caps, [`Reason::UnexpectedSettleError`] without an answer.
    pub(super) async fn fees(&self) -> Result<Fees, Reason> {
        self.fees_by(|quotes, _| quotes.get(quotes.len().saturating_sub(1) / 2).copied()).await
    }

    /// Returns the price of gas for a transaction that must not wait longer: the highest price of any node
    /// within the cap. A node that named too low a price must not set the price of the replacement.
    ///
    /// # Errors
    /// As [`fees`](Self::fees).
    pub(super) async fn fees_to_replace(&self) -> Result<Fees, Reason> {
        self.fees_by(|quotes, cap| {
            let within = quotes.iter().rev().find(|quote| **quote <= cap);
            within.or(quotes.first()).copied()
        })
        .await
    }

    async fn fees_by(&self, pick: impl Fn(&[u128], u128) -> Option<u128>) -> Result<Fees, Reason> {
        const FAULT: Reason = Reason::UnexpectedSettleError;
        let EvmChain { chain_id, max_fee_per_gas: cap, max_priority_fee_per_gas, .. } =
            self.settings;
        if self.settings.legacy {
            let price = self.quote("eth_gasPrice", cap, pick).await.ok_or(FAULT)?;
            if price > cap {
                tracing::warn!(chain_id, price, cap, "gas costs more than allowed");
                return Err(Reason::Busy);
            }
            return Ok(Fees { per_gas: price, priority: 0 });
        }
        let base = |answer: &RawValue| {
            let history: FeeHistory = read(answer)?;
            u128::try_from(*history.base_fee_per_gas.last()?).ok()
        };
        let history = json!(["0x1", "latest", []]);
        let (base, priority) = tokio::join!(
            self.ask("eth_feeHistory", &history, base),
            self.quote("eth_maxPriorityFeePerGas", max_priority_fee_per_gas, pick),
        );
        let (base, priority) = base.zip(priority).ok_or(FAULT)?;
        // A block's base fee is at most an eighth above that of its parent.
        let next = base.saturating_add(base / 8).saturating_add(priority);
        if priority > max_priority_fee_per_gas || next > cap {
            tracing::warn!(chain_id, base, priority, cap, "gas costs more than allowed");
            return Err(Reason::Busy);
        }
        let per_gas = base.saturating_mul(2).saturating_add(priority).min(cap);
        Ok(Fees { per_gas, priority })
    }

    /// Picks one of the nodes' prices, in wei, lowest first. So no single node sets the price or delays the
    /// others.
    async fn quote(
        &self,
        method: &str,
        cap: u128,
        pick: impl Fn(&[u128], u128) -> Option<u128>,
    ) -> Option<u128> {
        let no_params: [(); 0] = [];
        let answers = self.own.get().await.ask_all(QUOTED, method, &no_params).await;
        let mut quotes: Vec<_> = answers.iter().filter_map(|answer| wei(answer)).collect();
        if quotes.is_empty() {
            // The failure may be temporary.
            return self.ask(method, &no_params, wei).await;
        }
        quotes.sort_unstable();
        pick(&quotes, cap)
    }

    /// Returns whether gas costs no more than the payment is worth. It is true if the coin's price is
    /// unknown.
    pub(super) fn is_worth(&self, payment: &Authorized, gas: u64, fees: Fees) -> bool {
        let Some(price) = self.settings.coin_price else { return true };
        let token = assets::find(self.settings.chain_id, payment.token);
        let Some(token) = token else { return true };
        // In millionths of a cent. The coin has 18 decimals.
        let coin = price
            .to_units(MONEY_DECIMALS)
            .ok()
            .map(|units| U256::from_be_bytes(units.to_be_bytes()));
        let cost = U256::from(gas).saturating_mul(U256::from(fees.likely()));
        let cost = coin.map(|coin| cost.saturating_mul(coin) / U256::from(COIN));
        let worth = word(payment.value);
        let scale = |decimals: u8| U256::from(10u64).pow(U256::from(decimals));
        let worth = worth.saturating_mul(scale(MONEY_DECIMALS)) / scale(token.decimals);
        cost.is_some_and(|cost| cost <= worth)
    }
}

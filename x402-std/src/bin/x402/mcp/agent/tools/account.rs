//! The wallet: its addresses, its balances, and what it may still spend.

use rmcp::RoleServer;
use rmcp::service::RequestContext;
use serde_json::{Value, json};
use x402_std::buyer::Asset;
use x402_std::message::PaymentRequirements;

use super::Inner;
use crate::decimal;
use crate::mcp::agent::approval::How;
use crate::mcp::agent::response::*;
use crate::mcp::agent::text::left;

impl Inner {
    /// Returns the rest of each limit. A limit for each host or payee is included only for these two.
    pub(super) async fn left(&self, host: &str, payee: Option<&str>) -> Value {
        let Ok(usage) = self.buyer.usage().await else { return Value::Null };
        let concerns = |of: &str| of == host || payee.is_some_and(|it| it.eq_ignore_ascii_case(of));
        let usage = usage.iter().filter(|it| it.of.as_deref().is_none_or(concerns));
        usage.map(left).collect()
    }

    /// Returns the decimals of a token that the policy allows besides the known ones.
    pub(super) fn decimals(&self, offer: &PaymentRequirements) -> Option<u8> {
        let is = |asset: &&Asset| {
            asset.network == offer.network && asset.address.eq_ignore_ascii_case(&offer.asset)
        };
        self.buyer.policy().assets.iter().find(is).map(|asset| asset.decimals)
    }

    pub(super) fn has_key(&self) -> Result<(), Value> {
        let (svm, evm) = self.buyer.wallet();
        if svm.is_some() || evm.is_some() {
            return Ok(());
        }
        let message = "no key is set: the person running this server makes one with \
                       `x402 key new evm FILE`, gives it with --key-file FILE (or --svm-key-file, \
                       X402_EVM_KEY, X402_SVM_KEY), sends it money, and starts this server again";
        Err(no("no_key", "never", message))
    }

    pub(super) fn addresses(&self) -> (Option<String>, Option<String>) {
        let (svm, evm) = self.buyer.wallet();
        let evm = evm.as_ref().map(|wallet| wallet.address().to_string());
        (evm, svm.as_ref().map(|wallet| wallet.address().to_string()))
    }

    /// Returns the wallet's address that pays an offer.
    pub(super) fn payer(&self, offer: &PaymentRequirements) -> Option<String> {
        let (evm, svm) = self.addresses();
        if offer.network.as_view().solana().is_some() { svm } else { evm }
    }

    pub(super) async fn budget(&self, context: &RequestContext<RoleServer>) -> Told {
        let buyer = &self.buyer;
        let policy = buyer.policy();
        let usage = buyer.usage().await.map_err(|_| no_budget())?;
        let (evm, svm) = self.addresses();
        let any = |list: Option<Vec<String>>| list.map_or_else(|| json!("any"), |list| json!(list));
        let networks = policy.networks.as_ref();
        Ok(json!({
            "limits": usage.iter().map(left).collect::<Vec<_>>(),
            "maxPerPayment": policy.max.to_string(),
            "askAbove": policy.ask_above.map(|above| above.to_string()),
            "canAsk": How::of(context) != How::Nobody,
            "wallet": { "evm": evm, "solana": svm },
            "balances": self.balances().await,
            "networks": any(networks.map(|all| all.iter().map(ToString::to_string).collect())),
            "hosts": any(policy.hosts.clone()),
            "payees": any(policy.payees.clone()),
        }))
    }

    /// Returns the balances of the wallet, as far as nodes are set.
    async fn balances(&self) -> Value {
        let (svm, evm) = self.buyer.wallet();
        let mut all = Vec::new();
        if let Some((nodes, owner)) =
            evm.as_ref().and_then(|it| it.balances().as_ref().zip(Some(it.address())))
        {
            all.extend(nodes.balances(owner).await);
        }
        if let Some((node, owner)) =
            svm.as_ref().and_then(|it| it.blockhashes().as_ref().zip(Some(it.address())))
        {
            all.extend(node.default_balance(owner).await);
        }
        all.iter()
            .map(|it| {
                json!({
                    "network": &*it.network,
                    "address": it.owner,
                    "symbol": it.symbol,
                    "amount": decimal(&it.units.to_string(), it.decimals.into()),
                })
            })
            .collect()
    }
}

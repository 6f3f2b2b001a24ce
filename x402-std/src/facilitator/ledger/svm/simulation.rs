//! The effect of a payment before it is sent, by simulation.

use serde_json::{Value, json};
use x402_core::Reason;
use x402_core::crypto::{AsyncSigner, Ed25519};
use x402_svm::SvmPayment;

use super::answers::{Account, Accounts, InContext, Simulation};
use super::network::{SvmNetwork, ask, to_base64};
use super::{SvmLedger, TOKEN_ACCOUNT_BYTES};
use crate::rpc::{Nodes, RpcError};
use crate::scheme::SvmTransfer;

impl<K: AsyncSigner<Ed25519>> SvmLedger<K> {
    /// Simulates a payment and looks at what it would do.
    pub(super) async fn simulate(
        &self,
        network: &SvmNetwork,
        nodes: &Nodes,
        transfer: &SvmTransfer,
    ) -> Result<Effect, Reason> {
        let fault = Reason::UnexpectedVerifyError;
        let payment = transfer.payment();
        let addresses = [payment.source, payment.destination, payment.fee_payer];
        let addresses = addresses.map(|address| address.to_string());
        // The payer names the accounts, and one of them may be a very long one of another program.
        let params = json!([addresses, {
            "commitment": "confirmed",
            "encoding": "base64",
            "dataSlice": { "offset": 0, "length": TOKEN_ACCOUNT_BYTES },
        }]);
        let before: InContext<Accounts> =
            ask(nodes, "getMultipleAccounts", &params).await.map_err(|_| fault)?;
        let [.., fee_payer] = &before.value;
        if fee_payer.as_ref().map_or(0, |account| account.lamports) < self.settings.least_lamports {
            tracing::warn!(fee_payer = %payment.fee_payer, "fee payer is short of lamports");
            return Err(Reason::Busy);
        }
        let params = json!([to_base64(transfer.transaction()).ok_or(fault)?, {
            "sigVerify": false,
            "replaceRecentBlockhash": false,
            "commitment": "confirmed",
            "encoding": "base64",
            "minContextSlot": before.context.slot,
            "accounts": { "encoding": "base64", "addresses": addresses },
        }]);
        let after = match ask::<InContext<Simulation>>(nodes, "simulateTransaction", &params).await
        {
            // The node cannot read it, or does not know its version.
            Err(RpcError::Refused { code: -32602, .. }) => {
                return Err(Reason::InvalidExactSvmTransactionSimulationFailed);
            }
            answer => answer.map_err(|_| fault)?,
        };
        match after.value.err {
            None => {}
            // Made already, and perhaps forgotten here: not to be paid for once more.
            Some(Value::String(error)) if error == "AlreadyProcessed" => {
                return Err(Reason::DuplicateSettlement);
            }
            Some(_) => return Err(Reason::InvalidExactSvmTransactionSimulationFailed),
        }
        let accounts = after.value.accounts.ok_or(fault)?;
        let [source, ..] = &before.value;
        if let Some(balance) = source.as_ref().and_then(|source| source.token(payment))
            && let Some(hold) = network.guard.holds(payment, balance)
        {
            return Err(network.held(payment, hold));
        }
        Ok(match is_effect(payment, &before.value, &accounts, self.settings.most_fee) {
            true => Effect::Right,
            // Two looks at one state of the chain: nobody else was in between.
            false if before.context.slot == after.context.slot => Effect::Wrong,
            false => Effect::Blurred,
        })
    }
}

/// The effect that a simulation shows.
pub(super) enum Effect {
    Right,
    Wrong,
    /// Something else may have happened between the looks before and after.
    Blurred,
}

/// Whether the one account gives and the other one gets the amount, and the payer of the fee no
/// more than `most_fee`. In the order of source, destination and fee payer.
fn is_effect(payment: &SvmPayment, before: &Accounts, after: &Accounts, most_fee: u64) -> bool {
    let [source, destination, fee_payer] = [0, 1, 2].map(|place| (&before[place], &after[place]));
    let change = |(before, after): (&Option<Account>, &Option<Account>)| {
        let token = |account: &Option<Account>| account.as_ref()?.token(payment);
        Some((token(before)?, token(after)?))
    };
    let gives = change(source).and_then(|(before, after)| before.checked_sub(after));
    let gets = change(destination).and_then(|(before, after)| after.checked_sub(before));
    let fee = match fee_payer {
        (Some(before), Some(after)) => Some(before.lamports.saturating_sub(after.lamports)),
        _ => None,
    };
    gives == Some(payment.amount)
        && gets == Some(payment.amount)
        && fee.is_some_and(|fee| fee <= most_fee)
}

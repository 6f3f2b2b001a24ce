//! Checks whether a payment would settle now, by the newest block.

use alloy_primitives::{B256, Bytes};
use serde_json::json;
use x402_core::crypto::{AsyncSigner, Secp256k1};
use x402_core::{Amount, Reason};
use x402_evm::Address;

use super::chain::{CallError, Chain, Pace};
use super::contract::{Calling, DOMAIN_SEPARATORCall, balanceOfCall, evm, word};
use super::guard::Hold;
use super::sender::Fees;
use super::settlement::{Authorized, Domain, Judge};
use super::signature::{self, Proof};

/// Blocks for which a payment must be valid when it is sent.
const BLOCKS_LEFT: u64 = 2;

impl<K: AsyncSigner<Secp256k1>> Chain<K> {
    /// Returns whether a payment is valid for long enough to be mined.
    pub(super) fn is_in_time(payment: &Authorized, pace: &Pace) -> bool {
        let least = pace.seconds.saturating_mul(BLOCKS_LEFT);
        payment.valid_before > Amount::from(pace.time.saturating_add(least))
    }

    /// Refuses payers that must not cost gas: those with code, unless they are accepted, and those whose
    /// transactions failed.
    pub(super) fn admit(&self, payment: &Authorized, code: Option<B256>) -> Result<(), Reason> {
        if code.is_some() && !self.settings.smart_wallets {
            return Err(payment.reasons.signature);
        }
        let payer = payment.payer;
        match self.guard.holds(payer, code, self.settings.max_gas_lost) {
            None => Ok(()),
            Some(hold) => Err(self.held(payer, hold)),
        }
    }

    pub(super) fn held(&self, payer: x402_evm::Address, hold: Hold) -> Reason {
        let chain_id = self.settings.chain_id;
        tracing::warn!(chain_id, %payer, ?hold, "no transaction is sent for this payer now");
        Reason::Busy
    }

    /// Checks a payment against the newest block, in the official facilitator's order and with its codes.
    /// Balance and nonce are checked even if the simulation succeeds, because a contract that accepts any
    /// call is no token.
    pub(super) async fn check(&self, payment: &Authorized) -> Result<(), Reason> {
        const FAULT: Reason = Reason::UnexpectedVerifyError;
        let Authorized { payer, token, reasons, .. } = payment;
        self.sends(payment)?;
        self.genuine().await.map_err(|_| FAULT)?;
        let (deployed, code, used, balance, pace) = tokio::join!(
            self.deployed(payment),
            self.code(*payer),
            self.meaning(&payment.used),
            self.view(*token, balanceOfCall { account: evm(*payer) }),
            self.pace(),
        );
        let (code, pace) = code.zip(pace).ok_or(FAULT)?;
        deployed?;
        self.admit(payment, code)?;
        let has_code = code.is_some();
        let proof = Proof::new(payment, has_code, &self.settings.factories)?;
        let good = self.is_good(payment, &proof).await?;
        if !good && has_code {
            return Err(reasons.signature);
        }
        // If the factory deploys nothing at the payer's address, its call would be useless, whatever the
        // token answers.
        let call = proof.call(payment);
        let fees = if has_code { Some(self.fees().await?) } else { None };
        let went_through = good && self.simulate(call, payment.sender, fees).await?.is_some();
        match used.map_err(|_| FAULT)? {
            None => return Err(reasons.not_supported),
            Some(true) => return Err(reasons.used),
            Some(false) => {}
        }
        if !went_through {
            for cause in &payment.causes {
                self.meaning(cause).await.map_err(|_| FAULT)??;
            }
        }
        let value = word(payment.value);
        let balance = balance.map_err(|_| FAULT)?;
        if balance.is_some_and(|balance| balance < value) {
            return Err(reasons.balance);
        }
        if !went_through {
            return Err(reasons.simulation);
        }
        // The token uses the block's time, so the clock here does not count.
        if !Self::is_in_time(payment, &pace) {
            return Err(reasons.expired);
        }
        let others = self.guard.in_flight(payment, pace.time);
        if balance.is_some_and(|balance| balance < others.saturating_add(value)) {
            return Err(self.held(*payer, Hold::Balance));
        }
        Ok(())
    }

    /// Checks that one of this chain's accounts may send a payment.
    pub(super) fn sends(&self, payment: &Authorized) -> Result<(), Reason> {
        let own = payment.sender.is_none_or(|only| self.addresses().any(|sender| sender == only));
        own.then_some(()).ok_or(payment.reasons.not_supported)
    }

    /// Checks that all contracts of a payment exist.
    async fn deployed(&self, payment: &Authorized) -> Result<(), Reason> {
        for (contract, reason) in &payment.deployed {
            let code = self.code(*contract).await.ok_or(Reason::UnexpectedVerifyError)?;
            code.ok_or(*reason)?;
        }
        Ok(())
    }

    /// Proves a signature that the payer's key did not make.
    ///
    /// # Errors
    /// As [`Proof::new`]; [`Reason::UnexpectedVerifyError`] without an answer.
    pub(super) async fn prove(&self, payment: &Authorized) -> Result<(), Reason> {
        const FAULT: Reason = Reason::UnexpectedVerifyError;
        self.genuine().await.map_err(|_| FAULT)?;
        let code = self.code(payment.payer).await.ok_or(FAULT)?;
        self.admit(payment, code)?;
        let proof = Proof::new(payment, code.is_some(), &self.settings.factories)?;
        if self.is_good(payment, &proof).await? { Ok(()) } else { Err(payment.reasons.signature) }
    }

    /// Returns the answer of a call; `None` if it is reverted.
    async fn simulate(
        &self,
        call: Calling,
        sender: Option<Address>,
        fees: Option<Fees>,
    ) -> Result<Option<Bytes>, Reason> {
        match self.call(&json!([self.as_sender(&call, sender, fees), "latest"])).await {
            Ok(answer) => Ok(call.answer(answer)),
            Err(CallError::Reverted(_)) => Ok(None),
            Err(CallError::Fault) => Err(Reason::UnexpectedVerifyError),
        }
    }

    /// Returns whether a signature is valid. A contract's signature is judged only by the contract at the
    /// payer's address, existing or deployed first.
    async fn is_good(&self, payment: &Authorized, proof: &Proof) -> Result<bool, Reason> {
        const FAULT: Reason = Reason::UnexpectedVerifyError;
        if matches!(proof.judge, Judge::Key(_)) {
            return Ok(true); // The gate has seen to it.
        }
        let separator = match payment.signed.domain {
            Domain::Separator(separator) => Some(separator),
            Domain::Of(contract) => {
                let own = self.view(contract, DOMAIN_SEPARATORCall {}).await;
                own.map_err(|_| FAULT)?.map(|separator| separator.0)
            }
        };
        let Some(separator) = separator else { return Ok(false) };
        let digest = (payment.signed.digest)(&separator);
        let Some(call) = proof.question(payment.payer, digest) else { return Ok(true) };
        let fees = Some(self.fees().await?);
        let answer = self.simulate(call, payment.sender, fees).await?;
        Ok(answer.is_some_and(|answer| signature::is_valid(&answer)))
    }
}

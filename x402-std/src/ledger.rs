//! What moves the money: a chain, or a simulation of one.

use std::collections::{HashMap, HashSet};
use std::future::{Future, ready};
use std::sync::{Mutex, MutexGuard, PoisonError};

use x402_core::claim::Transaction;
use x402_core::crypto::keccak256;
use x402_core::gate::Verified;
use x402_core::{Amount, Payment, Reason};
use x402_evm::{Address, Eip3009Payment, assets};

use crate::message::{Json, NetworkId, SupportedKind};

/// A chain, as a facilitator uses it. It takes only payments that passed the gate.
pub trait Ledger: Send + Sync {
    /// The payments it settles.
    type Payment: Payment + Send + Sync;

    /// What it can settle, for `/supported`.
    fn kinds(&self) -> Vec<SupportedKind>;

    /// Checks what only the chain knows: balance, nonce, that the transfer would go through.
    fn check(
        &self,
        payment: &Verified<Self::Payment>,
        now: u64,
    ) -> impl Future<Output = Result<(), Reason>> + Send;

    /// Sends the payment, and gives the transaction's id as soon as it is known.
    fn broadcast(
        &self,
        payment: &Verified<Self::Payment>,
        now: u64,
    ) -> impl Future<Output = Result<Transaction, BroadcastError>> + Send;

    /// Waits until the outcome of a transaction is certain, within the ledger's own time limit.
    fn confirm(
        &self,
        payment: &Verified<Self::Payment>,
        transaction: &Transaction,
    ) -> impl Future<Output = Outcome> + Send;
}

/// Why a payment was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BroadcastError {
    /// It certainly was not sent.
    Refused(Reason),
    /// It may have been sent.
    Unclear,
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The money moved as the payment says.
    Settled,
    /// The transaction is final and did not move it.
    Failed(Reason),
    /// Not certain yet.
    Pending,
}

/// A ledger in memory that keeps EIP-3009's rules: balances, nonces that happen once, validity
/// in time. For examples, tests and trying things out; no money is involved.
#[derive(Debug, Default)]
pub struct SimulatedLedger {
    networks: Vec<NetworkId>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    balances: HashMap<(u64, Address, Address), Amount>,
    nonces: HashSet<(u64, Address, Address, [u8; 32])>,
    transactions: u64,
    pending: bool,
}

impl SimulatedLedger {
    /// A ledger for every network that has a known EIP-3009 token.
    pub fn new() -> Self {
        Self { networks: eip3009_networks(), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives `account` more of a token.
    ///
    /// # Errors
    /// [`Reason::InvalidPaymentRequirements`] if the balance would exceed 2^256-1.
    pub fn fund(
        &self,
        chain_id: u64,
        token: Address,
        account: Address,
        amount: Amount,
    ) -> Result<(), Reason> {
        let mut state = self.state();
        let balance = state.balances.entry((chain_id, token, account)).or_default();
        *balance = balance.checked_add(amount).ok_or(Reason::InvalidPaymentRequirements)?;
        Ok(())
    }

    /// The balance of an account.
    pub fn balance(&self, chain_id: u64, token: Address, account: Address) -> Amount {
        self.state().balances.get(&(chain_id, token, account)).copied().unwrap_or_default()
    }

    /// While `true`, transactions move the money but are not confirmed.
    pub fn set_pending(&self, pending: bool) {
        self.state().pending = pending;
    }

    fn check_now(state: &State, payment: &Eip3009Payment, now: u64) -> Result<(), Reason> {
        let transfer = &payment.authorization;
        let from = (payment.chain_id, payment.asset, transfer.from);
        if state.nonces.contains(&(from.0, from.1, from.2, transfer.nonce)) {
            return Err(Reason::InvalidExactEvmNonceAlreadyUsed);
        }
        if transfer.valid_before <= Amount::from(now) {
            return Err(Reason::InvalidExactEvmPayloadAuthorizationValidBefore);
        }
        if transfer.valid_after >= Amount::from(now) {
            return Err(Reason::InvalidExactEvmPayloadAuthorizationValidAfter);
        }
        if state.balances.get(&from).copied().unwrap_or_default() < transfer.value {
            return Err(Reason::InvalidExactEvmInsufficientBalance);
        }
        Ok(())
    }

    fn transfer(&self, payment: &Eip3009Payment, now: u64) -> Result<Transaction, Reason> {
        let mut state = self.state();
        Self::check_now(&state, payment, now)?;
        let transfer = &payment.authorization;
        let (chain_id, token) = (payment.chain_id, payment.asset);
        let (from, to) = ((chain_id, token, transfer.from), (chain_id, token, transfer.to));
        let balance_of = |state: &State, key| state.balances.get(key).copied().unwrap_or_default();
        let taken = balance_of(&state, &from)
            .checked_sub(transfer.value)
            .ok_or(Reason::InvalidExactEvmInsufficientBalance)?;
        state.balances.insert(from, taken);
        let given = balance_of(&state, &to)
            .checked_add(transfer.value)
            .ok_or(Reason::InvalidExactEvmTransactionFailed)?;
        state.balances.insert(to, given);
        state.nonces.insert((chain_id, token, transfer.from, transfer.nonce));
        state.transactions += 1;
        let id = keccak256(&[b"simulated", &state.transactions.to_be_bytes()]);
        let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Transaction::try_from(&*format!("0x{hex}")).expect("66 of 88 characters"))
    }
}

/// The networks whose default token is paid with by EIP-3009.
fn eip3009_networks() -> Vec<NetworkId> {
    let by_eip3009 = |asset: &&assets::Asset| {
        asset.transfer_method == assets::AssetTransferMethod::Eip3009
            && assets::default_of(asset.chain_id)
                .is_some_and(|first| first.address == asset.address)
    };
    let ids = assets::ASSETS.iter().filter(by_eip3009).map(|asset| asset.chain_id);
    ids.filter_map(|chain_id| format!("eip155:{chain_id}").parse().ok()).collect()
}

impl Ledger for SimulatedLedger {
    type Payment = Eip3009Payment;

    fn kinds(&self) -> Vec<SupportedKind> {
        let kind = |x402_version, network: NetworkId| SupportedKind {
            x402_version,
            scheme: "exact".into(),
            network,
            extra: None::<Json>,
            other: None,
        };
        let v2 = self.networks.iter().map(|network| kind(2, network.clone()));
        let names = self.networks.iter().filter_map(|network| network.view().v1_name());
        let v1 = names.filter_map(|name| Some(kind(1, name.parse().ok()?)));
        v2.chain(v1).collect()
    }

    fn check(
        &self,
        payment: &Verified<Eip3009Payment>,
        now: u64,
    ) -> impl Future<Output = Result<(), Reason>> + Send {
        ready(Self::check_now(&self.state(), payment.payment(), now))
    }

    fn broadcast(
        &self,
        payment: &Verified<Eip3009Payment>,
        now: u64,
    ) -> impl Future<Output = Result<Transaction, BroadcastError>> + Send {
        ready(self.transfer(payment.payment(), now).map_err(BroadcastError::Refused))
    }

    fn confirm(
        &self,
        _payment: &Verified<Eip3009Payment>,
        _transaction: &Transaction,
    ) -> impl Future<Output = Outcome> + Send {
        ready(if self.state().pending { Outcome::Pending } else { Outcome::Settled })
    }
}

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::{Future, ready};
use std::sync::{Mutex, MutexGuard};

use serde_json::json;
use x402_core::claim::{ClaimKey, Transaction};
use x402_core::crypto::ed25519::{Dalek, LocalKey};
use x402_core::crypto::{Signer, keccak256};
use x402_core::{Amount, Either, Payment as _, Reason, Verified};
use x402_evm::{Eip3009Payment, assets};
use x402_svm::{SvmPayment, associated_token_address, base58};

use super::{Ledger, Networks, Outcome};
use crate::lock;
use crate::message::{Json, NetworkId, SupportedKind};
use crate::scheme::{Exact, ExactOnEvm, ExactOnSvm, ExactPayment, SvmTransfer};

/// A ledger in memory, for examples, tests and trials. No money is involved. It applies EIP-3009's rules
/// (balances, single use of nonces, validity in time) and Solana's (balances, single use of messages, one
/// blockhash).
///
/// On Solana everybody has the associated accounts of known tokens. The fee payer is one of this library's,
/// and its key is public.
#[derive(Debug)]
pub struct SimulatedLedger {
    networks: Vec<NetworkId>,
    fee_payer: LocalKey,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    balances: HashMap<EvmAccount, Amount>,
    nonces: HashSet<(EvmAccount, [u8; 32])>,
    svm_balances: HashMap<SvmAccount, u64>,
    svm_messages: HashSet<ClaimKey>,
    /// The transactions that were sent, and whether they succeeded.
    transactions: HashMap<Transaction, bool>,
    pending: bool,
}

/// Chain, token and owner.
type EvmAccount = (u64, x402_evm::Address, x402_evm::Address);

/// Network and token account.
type SvmAccount = (String, x402_svm::Address);

impl Default for SimulatedLedger {
    fn default() -> Self {
        Self::new()
    }
}

impl SimulatedLedger {
    /// The one blockhash on its Solana networks; it never expires.
    pub const BLOCKHASH: [u8; 32] = *b"the simulated ledger's blockhash";

    /// Makes a ledger for every network that has a known token.
    pub fn new() -> Self {
        let mut networks = eip3009_networks();
        let solana = x402_svm::assets::ASSETS.iter().map(|asset| asset.network);
        for network in solana {
            let id: NetworkId = format!("solana:{network}").parse().expect("a network");
            if !networks.contains(&id) {
                networks.push(id);
            }
        }
        let fee_payer = LocalKey::from_seed(b"the simulated ledger's fee payer");
        Self { networks, fee_payer, state: Mutex::default() }
    }

    fn fee_payer(&self) -> x402_svm::Address {
        x402_svm::Address(Signer::public_key(&self.fee_payer))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Gives `account` more of a token on an EVM chain, in the token's smallest unit.
    ///
    /// # Errors
    /// [`Reason::InvalidPaymentRequirements`] if the balance would exceed 2^256-1.
    pub fn fund(
        &self,
        chain_id: u64,
        token: x402_evm::Address,
        account: x402_evm::Address,
        amount: Amount,
    ) -> Result<(), Reason> {
        let mut state = self.state();
        let balance = state.balances.entry((chain_id, token, account)).or_default();
        *balance = balance.checked_add(amount).ok_or(Reason::InvalidPaymentRequirements)?;
        Ok(())
    }

    /// Returns the balance of an account on an EVM chain.
    pub fn balance(
        &self,
        chain_id: u64,
        token: x402_evm::Address,
        account: x402_evm::Address,
    ) -> Amount {
        self.state().balances.get(&(chain_id, token, account)).copied().unwrap_or_default()
    }

    /// Gives `owner` more of a known token on Solana, in the token's smallest unit.
    ///
    /// # Errors
    /// [`Reason::InvalidPaymentRequirements`] if the balance would exceed 2^64-1.
    pub fn fund_svm(
        &self,
        asset: &x402_svm::Asset<'_>,
        owner: x402_svm::Address,
        amount: u64,
    ) -> Result<(), Reason> {
        let unpayable = Reason::InvalidPaymentRequirements;
        let account = svm_account(asset, owner).ok_or(unpayable)?;
        let mut state = self.state();
        let balance = state.svm_balances.entry(account).or_default();
        *balance = balance.checked_add(amount).ok_or(unpayable)?;
        Ok(())
    }

    /// Returns the balance of `owner` in a known token on Solana.
    pub fn balance_svm(&self, asset: &x402_svm::Asset<'_>, owner: x402_svm::Address) -> u64 {
        let account = svm_account(asset, owner);
        account.and_then(|account| self.state().svm_balances.get(&account).copied()).unwrap_or(0)
    }

    /// Sets whether transactions move the money without being confirmed.
    pub fn set_pending(&self, pending: bool) {
        self.state().pending = pending;
    }

    /// Returns a payment of a kind that this ledger knows.
    ///
    /// # Errors
    /// Refuses payments by contracts' signatures and by the payer's own transactions.
    fn known(payment: &ExactPayment) -> Result<Either<&Eip3009Payment, &SvmTransfer>, Reason> {
        match payment {
            Either::First(Either::First(Either::First(payment))) => Ok(Either::First(payment)),
            Either::First(Either::First(Either::Second(_))) => {
                Err(Reason::InvalidExactEvmSignature)
            }
            Either::First(Either::Second(_)) => Err(Reason::UnsupportedPayloadType),
            Either::Second(transfer) => Ok(Either::Second(transfer)),
        }
    }

    fn check_evm(state: &State, payment: &Eip3009Payment, now: u64) -> Result<(), Reason> {
        let transfer = &payment.authorization;
        let from = (payment.chain_id, payment.asset, transfer.from);
        if state.nonces.contains(&(from, transfer.nonce)) {
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

    /// Checks a payment as a validator's simulation would.
    fn check_svm(state: &State, transfer: &SvmTransfer) -> Result<(), Reason> {
        let payment = transfer.payment();
        let source = (payment.network.to_string(), payment.source);
        let balance = state.svm_balances.get(&source).copied().unwrap_or(0);
        let processed = state.svm_messages.contains(&payment.claim_key());
        let own =
            associated_token_address(&Dalek, payment.payer, payment.token_program, payment.asset);
        if own != Some(payment.source)
            || processed
            || payment.blockhash != Self::BLOCKHASH
            || balance < payment.amount
        {
            return Err(Reason::InvalidExactSvmTransactionSimulationFailed);
        }
        Ok(())
    }

    /// Returns the id of a payment's transaction.
    fn id(&self, payment: &ExactPayment) -> Result<Transaction, Reason> {
        let transfer = match Self::known(payment)? {
            Either::First(payment) => {
                let id = keccak256(&[b"simulated", payment.claim_key().as_bytes()]);
                let id = format!("0x{}", hex::encode(id));
                return Ok(Transaction::try_from(&*id).expect("66 of 88 characters"));
            }
            Either::Second(transfer) => transfer,
        };
        // The id of a transaction is its first signature, the fee payer's.
        let failed = Reason::InvalidExactSvmTransactionFailed;
        let message = x402_svm::message::Transaction::parse(transfer.transaction());
        let message = message.map_err(|_| failed)?;
        let signature = Signer::sign(&self.fee_payer, message.message().as_bytes());
        let mut text = [0; 88];
        let id = base58::encode(&signature.map_err(|_| failed)?, &mut text).ok_or(failed)?;
        Transaction::try_from(id).map_err(|_| failed)
    }

    /// Moves the money of a payment. Returns `None` if that is no longer possible.
    fn transfer(state: &mut State, payment: &ExactPayment) -> Option<()> {
        match Self::known(payment).ok()? {
            Either::First(payment) => Self::transfer_evm(state, payment),
            Either::Second(transfer) => Self::transfer_svm(state, transfer.payment()),
        }
    }

    fn transfer_evm(state: &mut State, payment: &Eip3009Payment) -> Option<()> {
        let transfer = &payment.authorization;
        let (chain_id, token) = (payment.chain_id, payment.asset);
        let (from, to) = ((chain_id, token, transfer.from), (chain_id, token, transfer.to));
        let balance_of = |state: &State, key| state.balances.get(key).copied().unwrap_or_default();
        if state.nonces.contains(&(from, transfer.nonce)) {
            return None;
        }
        let taken = balance_of(state, &from).checked_sub(transfer.value)?;
        let before = state.balances.insert(from, taken);
        let Some(given) = balance_of(state, &to).checked_add(transfer.value) else {
            state.balances.insert(from, before.unwrap_or_default());
            return None;
        };
        state.balances.insert(to, given);
        state.nonces.insert((from, transfer.nonce));
        Some(())
    }

    fn transfer_svm(state: &mut State, payment: &SvmPayment) -> Option<()> {
        let account = |address| (payment.network.to_string(), address);
        let (from, to) = (account(payment.source), account(payment.destination));
        let balance_of =
            |state: &State, key: &SvmAccount| state.svm_balances.get(key).copied().unwrap_or(0);
        if state.svm_messages.contains(&payment.claim_key()) {
            return None;
        }
        let taken = balance_of(state, &from).checked_sub(payment.amount)?;
        // Payer and payee differ: the gate refuses payments to oneself.
        let given = balance_of(state, &to).checked_add(payment.amount)?;
        state.svm_balances.insert(from, taken);
        state.svm_balances.insert(to, given);
        state.svm_messages.insert(payment.claim_key());
        Some(())
    }
}

fn svm_account(asset: &x402_svm::Asset<'_>, owner: x402_svm::Address) -> Option<SvmAccount> {
    let account = associated_token_address(&Dalek, owner, asset.mint.program, asset.address)?;
    Some((asset.network.into(), account))
}

/// Returns the networks whose default token uses EIP-3009.
fn eip3009_networks() -> Vec<NetworkId> {
    let by_eip3009 = |asset: &&assets::Asset| {
        asset.transfer_method == assets::AssetTransferMethod::Eip3009
            && assets::default_of(asset.chain_id)
                .is_some_and(|first| first.address == asset.address)
    };
    let ids = assets::ASSETS.iter().filter(by_eip3009).map(|asset| asset.chain_id);
    ids.filter_map(|chain_id| format!("eip155:{chain_id}").parse().ok()).collect()
}

impl Networks for SimulatedLedger {
    type Scheme = Exact;
    type Unsent = (Transaction, ExactPayment);

    fn scheme(&self) -> Exact {
        let fee_payers = Some(vec![self.fee_payer()]);
        (ExactOnEvm::default(), ExactOnSvm { fee_payers, ..ExactOnSvm::default() })
    }

    fn kinds(&self) -> Vec<SupportedKind> {
        let fee_payer = self.fee_payer();
        let mut blockhash = [0; 44];
        let blockhash = base58::encode(&Self::BLOCKHASH, &mut blockhash);
        let extra = json!({ "feePayer": fee_payer.to_string(), "lastingBlockhash": blockhash });
        let kind = |x402_version, network: NetworkId| SupportedKind {
            x402_version,
            scheme: "exact".into(),
            extra: network.as_view().solana().and_then(|_| Json::from_value(&extra).ok()),
            network,
            other: None,
        };
        let v2 = self.networks.iter().map(|network| kind(2, network.clone()));
        let names = self.networks.iter().filter_map(|network| network.as_view().v1_name());
        let v1 = names.filter_map(|name| Some(kind(1, name.parse().ok()?)));
        v2.chain(v1).collect()
    }

    fn signers(&self) -> BTreeMap<&'static str, Vec<String>> {
        BTreeMap::from([("solana:*", vec![self.fee_payer().to_string()])])
    }

    fn send(&self, (id, payment): Self::Unsent) -> impl Future<Output = ()> + Send {
        let mut state = self.state();
        let moved = Self::transfer(&mut state, &payment).is_some();
        state.transactions.insert(id, moved);
        ready(())
    }
}

impl Ledger<ExactPayment> for SimulatedLedger {
    fn prove(
        &self,
        payment: Verified<&ExactPayment>,
    ) -> impl Future<Output = Result<(), Reason>> + Send {
        ready(Self::known(payment.payment()).map(|_| ()))
    }

    fn check(
        &self,
        payment: Verified<&ExactPayment>,
        now: u64,
    ) -> impl Future<Output = Result<(), Reason>> + Send {
        let state = self.state();
        ready(Self::known(payment.payment()).and_then(|payment| match payment {
            Either::First(payment) => Self::check_evm(&state, payment, now),
            Either::Second(transfer) => Self::check_svm(&state, transfer),
        }))
    }

    fn prepare(
        &self,
        payment: Verified<&ExactPayment>,
    ) -> impl Future<Output = Result<(Transaction, Self::Unsent), Reason>> + Send {
        let payment = payment.into_payment();
        ready(self.id(payment).map(|id| (id.clone(), (id, payment.clone()))))
    }

    fn confirm(
        &self,
        payment: Verified<&ExactPayment>,
        transaction: &Transaction,
    ) -> impl Future<Output = Outcome> + Send {
        let state = self.state();
        let moved = state.transactions.get(transaction).filter(|_| !state.pending);
        let reason = match Self::known(payment.payment()) {
            Ok(Either::First(_)) => Reason::InvalidExactEvmTransactionFailed,
            Ok(Either::Second(_)) => Reason::InvalidExactSvmTransactionFailed,
            // Another payment was sent under this id: this one is of a kind that is never sent here.
            Err(_) => return ready(Outcome::Pending),
        };
        ready(match moved {
            None => Outcome::Pending,
            Some(true) => Outcome::Settled(transaction.clone()),
            Some(false) => Outcome::Failed(reason),
        })
    }
}

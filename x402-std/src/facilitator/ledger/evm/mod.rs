//! EVM chains, over the RPC of their nodes.

mod chain;
mod check;
mod contract;
mod eip3009;
mod fees;
mod guard;
mod heads;
mod made;
mod send;
mod sender;
pub mod settlement;
#[cfg(test)]
mod shapes;
mod signature;
mod transfer_proof;
mod verdict;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use x402_core::claim::Transaction;
use x402_core::crypto::secp256k1::LocalKey;
use x402_core::crypto::{AsyncSigner, Secp256k1};
use x402_core::{Money, Reason, Verified};
use x402_evm::Address;

use super::{Ledger, Networks, Outcome};
use crate::clock::{Clock as _, SystemClock};
use crate::message::{NetworkId, SupportedKind};
use crate::rpc::Nodes;
use crate::scheme::{ExactOnEvm, SharedScheme};
pub(crate) use chain::Chain;
pub(crate) use contract::Transfer;
pub use guard::GasLost;
use send::Prepared;
pub(crate) use sender::Sealed;
pub use settlement::OnEvm;
use settlement::Settlement;

/// An EVM chain, with the settings for its use. [`EvmChain::new`] has the defaults.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EvmChain {
    /// The chain's id. Nothing is checked, signed or confirmed through a node of another chain.
    pub chain_id: u64,
    /// The chain's nodes. Each is asked for its chain id before anything else.
    pub nodes: Nodes,
    /// Number of blocks that make a verdict final, with the transaction's own block as the first. Default: 1.
    /// More blocks guard against reorganisations. The number must not exceed the blocks whose state nodes
    /// keep (commonly 128).
    pub confirmations: u64,
    /// Number of nodes that must agree on the outcome of a payment. Default: 1. If it exceeds the number of
    /// nodes, every payment stays pending, and [`EvmLedger::ready`] returns an error.
    pub witnesses: usize,
    /// Highest price to offer for a unit of gas, in wei. Default: 100 gwei. When gas costs more, payments are
    /// [`Busy`](Reason::Busy).
    pub max_fee_per_gas: u128,
    /// Highest part of it to offer to the block's maker, in wei. Default: 3 gwei. When nodes suggest more
    /// (those of Polygon suggest 30 and up), payments are [`Busy`](Reason::Busy).
    pub max_priority_fee_per_gas: u128,
    /// Most gas that a transaction may use. Default: 300 000. A token's own transfer uses about 90 000. A
    /// smart account can use all of it and still fail, at the sender's expense, whatever the simulation
    /// showed.
    pub gas_limit: u64,
    /// The price of one of the chain's own coin. Default: `None`. With a price, a payment in a known
    /// stablecoin is [`Busy`](Reason::Busy) if its gas costs more than its worth.
    pub coin_price: Option<Money>,
    /// Whether to accept payments of accounts with code: smart wallets, and keys that delegate to a contract
    /// (EIP-7702). Default: `false`. Such code can agree in a simulation and fail in the transaction: see
    /// [`code_at_once`](Self::code_at_once) and [`max_gas_lost`](Self::max_gas_lost).
    pub smart_wallets: bool,
    /// Number of payments of accounts with code that are sent at the same time. Default: 2.
    pub code_at_once: usize,
    /// Most gas that failed transactions for accounts with code may cost within an hour. Default: 1 500 000.
    /// Above it, all such accounts are [`Busy`](Reason::Busy) for a while. Payments by keys continue.
    pub max_gas_lost: u64,
    /// Number of unmined transactions that one account may have at the same time. Default: 16. Nodes keep 16
    /// to 64 of them. Further payments wait for half of [`confirm_time`](Self::confirm_time), and are then
    /// [`Busy`](Reason::Busy).
    pub at_once: usize,
    /// Number of blocks that must follow those of [`confirmations`](Self::confirmations) before a payment is
    /// *failed*. Default: 5. The payer of a failed payment pays again, so no reorganisation may bring the
    /// first payment back.
    pub failed_after: u64,
    /// Whether the chain lacks EIP-1559, and accepts only transactions with one gas price. Default: `false`.
    pub legacy: bool,
    /// Longest wait for a verdict. Default: 60 seconds.
    pub confirm_time: Duration,
    /// Longest time between two looks for it. A new block is looked at when it is there. Default: 1 second.
    pub poll_interval: Duration,
    /// Time after which an unmined transaction goes to the nodes again. Default: 5 seconds.
    pub resend_after: Duration,
    /// Time after which an unmined transaction is replaced by one that pays more, within the caps. Default:
    /// 30 seconds.
    pub replace_after: Duration,
    /// Whether a payment by a stranger's transaction counts as settled. Anybody can send an authorization
    /// once it is public. Default: `false`, and such a payment stays pending: the stranger may be another
    /// facilitator, for which somebody else serves it. Set it to `true` if all sellers of this ledger settle
    /// through it alone.
    pub settled_by_others: bool,
    /// Number of blocks in which another transaction of a payment is searched. Default: 2 000.
    pub look_back: u64,
    /// Factories that may be called to deploy a payer's account (ERC-6492). Default: none.
    ///
    /// The payer writes the call: list only factories whose functions are all harmless. The call goes through
    /// Multicall3, always in one transaction with the payment. Deployments use more gas than payments: see
    /// [`gas_limit`](Self::gas_limit).
    pub factories: Vec<Address>,
    /// Time after a transfer's block in which its payer can present it as a payment
    /// ([`TransferProof`](x402_evm::TransferProof)). It counts in full seconds, up to
    /// [`MAX_PROOF_AGE_SECONDS`](x402_evm::MAX_PROOF_AGE_SECONDS). Default: zero, which accepts none, even if
    /// they pass the gate.
    pub max_proof_age: Duration,
}

impl EvmChain {
    /// Makes a chain with the default settings.
    pub const fn new(chain_id: u64, nodes: Nodes) -> Self {
        Self {
            chain_id,
            nodes,
            confirmations: 1,
            witnesses: 1,
            max_fee_per_gas: 100_000_000_000,
            max_priority_fee_per_gas: 3_000_000_000,
            gas_limit: 300_000,
            coin_price: None,
            smart_wallets: false,
            code_at_once: 2,
            max_gas_lost: 1_500_000,
            at_once: 16,
            failed_after: 5,
            legacy: false,
            confirm_time: Duration::from_secs(60),
            poll_interval: Duration::from_secs(1),
            resend_after: Duration::from_secs(5),
            replace_after: Duration::from_secs(30),
            settled_by_others: false,
            look_back: 2_000,
            factories: Vec::new(),
            max_proof_age: Duration::ZERO,
        }
    }
}

/// A ledger on EVM chains, over the RPC of their nodes. It settles payments by EIP-3009.
///
/// A verdict rests on the chain alone, so that it is the same after a restart. `Settled` is a successful
/// transaction, in a block that is deep enough, with the token's own log of the very transfer. `Failed` is
/// final: the authorization was used otherwise, was cancelled, or expired unused. Until one of these is
/// certain, a payment is pending, even if its transaction was reverted. The payer's authorization is public
/// by then, and anybody may submit it while it is valid.
///
/// Each account sends in the order of its nonces, and has at most [`at_once`](EvmChain::at_once) waiting
/// transactions. A sent transaction is kept in memory until it is mined, sent to the nodes again, and
/// replaced if it pays too little. After a restart, an account continues from the nodes' count of waiting
/// transactions. Transactions that were recorded beside their claims are taken up again. An unknown
/// transaction is replaced by an empty transfer. Only one process may use an account: if two choose the same
/// nonce, one payment may stay pending until it expires.
///
/// A payment is sent only if the payer's balance covers it with all the payer's other payments on their way
/// from here. It must be valid for two more blocks. After a failed transaction, its payer waits for a while.
/// Processes do not share their knowledge of payments on their way.
///
/// A payer with a contract at its address (a smart account, EIP-7702) is refused by default. With
/// [`smart_wallets`](EvmChain::smart_wallets), this contract alone judges the signature (ERC-1271). The
/// payment is then settled by the token's `transferWithAuthorization` with the signature as bytes.
///
/// A payment by another's transaction stays pending if it is older than [`look_back`](EvmChain::look_back).
/// So does one in a token that does not log the use of an authorization right before its transfer.
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use x402_std::core::crypto::secp256k1::LocalKey;
/// use x402_std::facilitator::ledger::{EvmChain, EvmLedger};
/// use x402_std::rpc::Nodes;
///
/// let key = LocalKey::from_bytes(&[7; 32]).ok_or("not a key")?;
/// let mut base = EvmChain::new(8453, Nodes::new(["https://mainnet.base.org"])?);
/// base.confirmations = 3;
/// let ledger = EvmLedger::new().with_chain(base, vec![key]);
/// ledger.ready().await?;
/// # Ok(())
/// # }
/// ```
pub struct EvmLedger<K = LocalKey, X = ExactOnEvm> {
    chains: Vec<Chain<K>>,
    scheme: X,
    /// The schemes' names, for `/supported`.
    names: &'static [&'static str],
}

/// The reason why a ledger cannot settle payments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotReady {
    /// Too few nodes of a chain answer for a verdict.
    Unreachable {
        /// The chain's id.
        chain_id: u64,
    },
    /// A node belongs to another chain than the configured one.
    WrongChain {
        /// The id of the configured chain.
        chain_id: u64,
    },
    /// A chain has no account to send from.
    NoSender {
        /// The chain's id.
        chain_id: u64,
    },
    /// The nodes give no price of gas. Those of a chain without EIP-1559 give it only if the chain is marked
    /// as [`legacy`](EvmChain::legacy).
    NoFees {
        /// The chain's id.
        chain_id: u64,
    },
    /// An account cannot pay for the gas of one transaction.
    NoGas {
        /// The chain's id.
        chain_id: u64,
        /// The account.
        sender: Address,
    },
    /// Gas costs more than is allowed.
    FeesTooHigh {
        /// The chain's id.
        chain_id: u64,
    },
    /// The chain makes no blocks, or its nodes do not see them.
    StandsStill {
        /// The chain's id.
        chain_id: u64,
        /// The age of the newest block, in seconds.
        seconds: u64,
    },
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { chain_id } => {
                write!(f, "too few nodes of chain {chain_id} can be reached")
            }
            Self::WrongChain { chain_id } => {
                write!(f, "a node given for chain {chain_id} is of another one")
            }
            Self::NoSender { chain_id } => write!(f, "no account sends on chain {chain_id}"),
            Self::NoFees { chain_id } => {
                write!(f, "the price of gas on chain {chain_id} is unknown")
            }
            Self::NoGas { chain_id, sender } => {
                write!(f, "{sender} cannot pay for gas on chain {chain_id}: send it coins")
            }
            Self::FeesTooHigh { chain_id } => {
                write!(f, "gas on chain {chain_id} costs more than is allowed")
            }
            Self::StandsStill { chain_id, seconds } => {
                write!(f, "the newest block of chain {chain_id} is {seconds} seconds old")
            }
        }
    }
}

impl std::error::Error for NotReady {}

impl<K> Default for EvmLedger<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K> EvmLedger<K> {
    /// Makes a ledger without chains.
    pub fn new() -> Self {
        Self { chains: Vec::new(), scheme: ExactOnEvm::default(), names: &["exact"] }
    }
}

impl<K, X> EvmLedger<K, X> {
    /// Returns the same chains for another scheme, which `/supported` lists by these names. Its payments must
    /// have [`OnEvm`].
    pub fn with_scheme<Y>(self, names: &'static [&'static str], scheme: Y) -> EvmLedger<K, Y> {
        EvmLedger { chains: self.chains, scheme, names }
    }

    /// Adds a chain, with the accounts that send transactions on it and pay for gas. With several accounts,
    /// payments wait less for each other. A chain with the same id is replaced.
    pub fn with_chain(mut self, chain: EvmChain, senders: Vec<K>) -> Self {
        self.chains.retain(|known| known.settings.chain_id != chain.chain_id);
        self.chains.push(Chain::new(chain, senders));
        self
    }

    fn chain(&self, id: u64) -> Option<&Chain<K>> {
        self.chains.iter().find(|chain| chain.settings.chain_id == id)
    }

    /// Returns the chain of a payment, and its settlement there.
    fn find<P: OnEvm>(&self, payment: Verified<&P>) -> Result<(&Chain<K>, Settlement), Reason> {
        let settlement = payment.into_payment().settlement();
        let chain = self.chain(settlement.chain_id()).ok_or(Reason::InvalidNetwork)?;
        Ok((chain, settlement))
    }
}

impl<K: AsyncSigner<Secp256k1>, X> EvmLedger<K, X> {
    /// Checks that every chain is ready for settlements.
    ///
    /// # Errors
    /// [`NotReady`], for the first chain that is not ready. It may be temporary, except for
    /// [`NotReady::WrongChain`] and [`NotReady::NoSender`].
    pub async fn ready(&self) -> Result<(), NotReady> {
        for chain in &self.chains {
            chain.ready().await?;
        }
        Ok(())
    }

    /// Checks that one chain is ready for settlements. Its nodes are reachable and of that chain, and it
    /// makes blocks. Gas is within the caps, and its accounts can pay for the gas of a transaction.
    ///
    /// # Errors
    /// [`NotReady`]. For an unknown chain it is [`NotReady::NoSender`].
    pub async fn ready_on(&self, chain_id: u64) -> Result<(), NotReady> {
        self.chain(chain_id).ok_or(NotReady::NoSender { chain_id })?.ready().await
    }

    /// Returns the gas lost to failed transactions since the process began, by chain id.
    pub fn gas_lost(&self) -> Vec<(u64, GasLost)> {
        self.chains.iter().map(|chain| (chain.settings.chain_id, chain.guard.lost())).collect()
    }
}

/// A chain stands still if its newest block is older than both this many seconds and the time of this many
/// blocks.
const STILL_SECONDS: u64 = 60;
const STILL_BLOCKS: u64 = 10;

impl<K: AsyncSigner<Secp256k1>> Chain<K> {
    async fn ready(&self) -> Result<(), NotReady> {
        let chain_id = self.settings.chain_id;
        self.all_genuine().await?;
        if self.senders.is_empty() {
            return Err(NotReady::NoSender { chain_id });
        }
        let pace = self.pace().await.ok_or(NotReady::Unreachable { chain_id })?;
        let seconds = SystemClock.now().saturating_sub(pace.time);
        if seconds > STILL_SECONDS.max(pace.seconds.saturating_mul(STILL_BLOCKS)) {
            return Err(NotReady::StandsStill { chain_id, seconds });
        }
        let fees = match self.fees().await {
            Ok(fees) => fees,
            Err(Reason::Busy) => return Err(NotReady::FeesTooHigh { chain_id }),
            Err(_) => return Err(NotReady::NoFees { chain_id }),
        };
        let least = fees.per_gas.saturating_mul(self.settings.gas_limit.into());
        for sender in self.addresses() {
            match self.balance(sender).await {
                None => return Err(NotReady::Unreachable { chain_id }),
                Some(balance) if balance < least => {
                    return Err(NotReady::NoGas { chain_id, sender });
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

/// Hides the keys.
impl<K, X> fmt::Debug for EvmLedger<K, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.chains.iter().map(|chain| &chain.settings)).finish()
    }
}

/// A signed transaction that was not sent. Its nonce is reserved until it is sent or given up.
pub struct EvmUnsent {
    chain_id: u64,
    /// `None` for a transaction that somebody else sent.
    prepared: Option<Prepared>,
}

/// Hides the signature.
impl fmt::Debug for EvmUnsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EvmUnsent").field("chain_id", &self.chain_id).finish_non_exhaustive()
    }
}

impl<K: AsyncSigner<Secp256k1> + Send, X: SharedScheme + Clone> Networks for EvmLedger<K, X> {
    type Scheme = X;
    type Unsent = EvmUnsent;

    fn scheme(&self) -> X {
        self.scheme.clone()
    }

    fn kinds(&self) -> Vec<SupportedKind> {
        let ids = self.chains.iter().map(|chain| chain.settings.chain_id);
        let networks = ids.filter_map(|id| format!("eip155:{id}").parse::<NetworkId>().ok());
        let kind = |scheme: &str, x402_version, network| SupportedKind {
            x402_version,
            scheme: scheme.into(),
            network,
            extra: None,
            other: None,
        };
        let each = networks.flat_map(|network| {
            self.names.iter().flat_map(move |scheme| {
                let name = network.as_view().v1_name().and_then(|name| name.parse().ok());
                [Some(kind(scheme, 2, network.clone())), name.map(|name| kind(scheme, 1, name))]
            })
        });
        each.flatten().collect()
    }

    fn signers(&self) -> BTreeMap<&'static str, Vec<String>> {
        let mut senders: Vec<_> = self.chains.iter().flat_map(Chain::addresses).collect();
        senders.sort_by_key(|sender| sender.0);
        senders.dedup();
        let senders: Vec<_> = senders.iter().map(ToString::to_string).collect();
        let all = (!senders.is_empty()).then_some(("eip155:*", senders));
        all.into_iter().collect()
    }

    async fn tend(&self) {
        for chain in &self.chains {
            chain.push().await;
            chain.unwedge().await;
        }
    }

    async fn send(&self, unsent: EvmUnsent) {
        if let Some((chain, prepared)) = self.chain(unsent.chain_id).zip(unsent.prepared) {
            chain.send(prepared).await;
        }
    }

    fn raw(&self, unsent: &EvmUnsent) -> Vec<u8> {
        unsent.prepared.as_ref().map(|prepared| prepared.sealed.raw.to_vec()).unwrap_or_default()
    }
}

impl<P, K, X> Ledger<P> for EvmLedger<K, X>
where
    P: OnEvm,
    K: AsyncSigner<Secp256k1> + Send,
    X: SharedScheme + Clone,
{
    async fn prove(&self, payment: Verified<&P>) -> Result<(), Reason> {
        // A proven payment is not refused here, even on an unknown chain.
        if payment.payment().is_proven() {
            return Ok(());
        }
        match self.find(payment)? {
            (chain, Settlement::Authorized(payment)) => chain.prove(&payment).await,
            (chain, Settlement::Made(made)) => chain.made_at(&made).await.map(|_| ()),
        }
    }

    async fn check(&self, payment: Verified<&P>, now: u64) -> Result<(), Reason> {
        match self.find(payment)? {
            (chain, Settlement::Authorized(payment)) => chain.check(&payment).await,
            (chain, Settlement::Made(made)) => chain.check_made(&made, now).await,
        }
    }

    async fn prepare(&self, payment: Verified<&P>) -> Result<(Transaction, EvmUnsent), Reason> {
        let (chain, settlement) = self.find(payment)?;
        let chain_id = chain.settings.chain_id;
        match settlement {
            Settlement::Authorized(payment) => {
                let prepared = chain.prepare(&payment).await?;
                let id = chain::id(prepared.sealed.hash);
                Ok((id, EvmUnsent { chain_id, prepared: Some(prepared) }))
            }
            Settlement::Made(made) => {
                Ok((made::id_of(&made), EvmUnsent { chain_id, prepared: None }))
            }
        }
    }

    async fn recover(&self, payment: Verified<&P>, transaction: &Transaction, raw: &[u8]) {
        if let Ok((chain, Settlement::Authorized(payment))) = self.find(payment) {
            chain.recover(&payment, transaction.parse().ok(), raw).await;
        }
    }

    async fn confirm(&self, payment: Verified<&P>, transaction: &Transaction) -> Outcome {
        match self.find(payment) {
            Ok((chain, Settlement::Authorized(payment))) => {
                chain.confirm(&payment, transaction).await
            }
            Ok((chain, Settlement::Made(made))) => chain.confirm_made(&made).await,
            Err(_) => Outcome::Pending,
        }
    }
}

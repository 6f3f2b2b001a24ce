//! EVM chains, over the RPC of their nodes.

mod chain;
mod check;
mod contract;
mod eip3009;
mod fees;
mod guard;
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

/// An EVM chain, and how it is used. [`EvmChain::new`] has the defaults.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EvmChain {
    /// The chain's id. Nothing is checked, signed or confirmed through a node of another chain.
    pub chain_id: u64,
    /// The chain's nodes. Each is asked which chain it is of when it first answers, and for nothing
    /// else before.
    pub nodes: Nodes,
    /// Blocks that make a verdict final, the one it is in included. 1: it is in a block. More guard
    /// against blocks that are given up for others. At most as many as nodes keep the state of
    /// (128, commonly).
    pub confirmations: u64,
    /// Nodes that must say alike what became of a payment. 1; more than there are make every
    /// payment pending for ever, and [`EvmLedger::ready`] say so.
    pub witnesses: usize,
    /// Most that is offered for a unit of gas, in wei: 100 gwei. When gas costs more, payments are
    /// [`Busy`](Reason::Busy).
    pub max_fee_per_gas: u128,
    /// Most of it that is offered to who makes the block, in wei: 3 gwei. When nodes suggest more
    /// (those of Polygon suggest 30 and up), payments are [`Busy`](Reason::Busy).
    pub max_priority_fee_per_gas: u128,
    /// Most gas a transaction may take: 300 000. A token's own transfer takes about 90 000; a smart
    /// account can take all of it and still fail, at the sender's expense, however it was simulated.
    pub gas_limit: u64,
    /// The price of one of the chain's own coin. If it is known, a payment in a known stablecoin for
    /// which gas would cost more than it is worth is [`Busy`](Reason::Busy). Not known.
    pub coin_price: Option<Money>,
    /// Whether payments are taken of accounts that have code: smart wallets, and keys that delegate
    /// to a contract (EIP-7702). No. Such code can say yes when it is asked and fail when it is paid
    /// for: see [`code_at_once`](Self::code_at_once) and [`max_gas_lost`](Self::max_gas_lost).
    pub smart_wallets: bool,
    /// Payments of accounts with code that are sent at the same time: 2.
    pub code_at_once: usize,
    /// Most gas that transactions for accounts with code may lose within an hour: 1 500 000. Above
    /// it, all such accounts are [`Busy`](Reason::Busy) for a while; keys go on.
    pub max_gas_lost: u64,
    /// Transactions of one account that may wait to be mined at the same time: 16. Nodes keep 16 to
    /// 64. Payments above it wait for half of [`confirm_time`](Self::confirm_time), and are
    /// [`Busy`](Reason::Busy) then.
    pub at_once: usize,
    /// Blocks that must follow those of [`confirmations`](Self::confirmations) before a payment is
    /// *failed*: 5. A payer who is told so pays again, so no reorganisation must bring the first
    /// payment back.
    pub failed_after: u64,
    /// Whether the chain has no EIP-1559, and takes transactions with one gas price only.
    pub legacy: bool,
    /// Longest wait for a verdict: 60 seconds.
    pub confirm_time: Duration,
    /// How often nodes are asked for it: every second.
    pub poll_interval: Duration,
    /// After how long nodes are told again of a transaction that is not mined: 5 seconds.
    pub resend_after: Duration,
    /// After how long a transaction that is not mined is replaced by one that pays more, within the
    /// caps: 30 seconds.
    pub replace_after: Duration,
    /// Whether a payment counts as settled that a stranger's transaction made: the authorization is
    /// public once it was sent, and anybody can send it too. No: the stranger may be another
    /// facilitator, on whose word somebody else serves for it. Such a payment stays pending. Yes, if
    /// all sellers who are paid through this ledger settle through it alone.
    pub settled_by_others: bool,
    /// How many blocks back another transaction of a payment is looked for: 2 000.
    pub look_back: u64,
    /// Factories whose calls may be made to deploy a payer's account (ERC-6492). None.
    ///
    /// The payer writes the call: list only those of which every function is harmless. It is made
    /// through Multicall3, in one transaction with the payment and not without it. Deployments take
    /// more gas than payments: see [`gas_limit`](Self::gas_limit).
    pub factories: Vec<Address>,
    /// How long after a transfer's block its payer can present it as a payment
    /// ([`TransferProof`](x402_evm::TransferProof)), in full seconds: at most
    /// [`MAX_PROOF_AGE_SECONDS`](x402_evm::MAX_PROOF_AGE_SECONDS). Zero: none is taken here, whatever
    /// passes the gate.
    pub max_proof_age: Duration,
}

impl EvmChain {
    /// With the defaults.
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

/// EVM chains, over the RPC of their nodes: settles payments by EIP-3009.
///
/// A verdict rests on the chain alone, so that it is the same after a restart. `Settled` is a
/// successful transaction, in a block that is deep enough, with the token's own log of the very
/// transfer. `Failed` is final: the authorization was used otherwise, was cancelled, or expired
/// unused. Until one of these is certain a payment is pending, even if its transaction was
/// reverted: the payer's authorization is public by then, and anybody may submit it while it is
/// valid.
///
/// Each account sends in the order of its nonces, and has at most
/// [`at_once`](EvmChain::at_once) transactions waiting. What it sent is kept in memory until it is
/// mined, told to the nodes again, and replaced if it pays too little. After a restart the nodes' own
/// count of waiting transactions is where it goes on; transactions that were written down beside
/// their claims are taken up again, and one that nobody knows of is replaced by nothing. An
/// account must be one process's alone: of two that choose the same nonce, one's payment may stay
/// pending until it expires.
///
/// Nothing is sent for a payment that the payer's balance does not cover together with all others
/// on their way from here, nor for one that is not valid for two more blocks, nor for a payer whose
/// last transaction failed a short while ago. Processes do not know of each other's payments on
/// their way.
///
/// A payer that has a contract at its address (a smart account, EIP-7702) is refused unless
/// [`smart_wallets`](EvmChain::smart_wallets) are taken. Then it has it judge the
/// signature (ERC-1271), alone, and is settled by the token's `transferWithAuthorization` that
/// takes the signature as bytes.
///
/// Not supported: to find who else submitted a payment longer ago than
/// [`look_back`](EvmChain::look_back), or one in a token that does not log the use of an
/// authorization right before its transfer. Those stay pending.
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

/// Why a ledger cannot settle payments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotReady {
    /// Fewer nodes of a chain answer than it takes for a verdict.
    Unreachable {
        /// The chain's id.
        chain_id: u64,
    },
    /// A node is of another chain than the one it is given for.
    WrongChain {
        /// The id of the chain it is given for.
        chain_id: u64,
    },
    /// A chain has no account to send from.
    NoSender {
        /// The chain's id.
        chain_id: u64,
    },
    /// The nodes do not say what gas costs. Those of a chain without EIP-1559 say it only if the
    /// chain is marked as [`legacy`](EvmChain::legacy).
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
                write!(f, "what gas costs on chain {chain_id} is not known")
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
    /// Without chains.
    pub fn new() -> Self {
        Self { chains: Vec::new(), scheme: ExactOnEvm::default(), names: &["exact"] }
    }
}

impl<K, X> EvmLedger<K, X> {
    /// The same chains for another scheme, which `/supported` lists by these names. Its payments must say by
    /// [`OnEvm`] how they are settled.
    pub fn with_scheme<Y>(self, names: &'static [&'static str], scheme: Y) -> EvmLedger<K, Y> {
        EvmLedger { chains: self.chains, scheme, names }
    }

    /// With another chain, and the accounts that send transactions on it and pay for gas: with
    /// several, payments wait less for each other. A chain that is there already is replaced.
    pub fn with_chain(mut self, chain: EvmChain, senders: Vec<K>) -> Self {
        self.chains.retain(|known| known.settings.chain_id != chain.chain_id);
        self.chains.push(Chain::new(chain, senders));
        self
    }

    fn chain(&self, id: u64) -> Option<&Chain<K>> {
        self.chains.iter().find(|chain| chain.settings.chain_id == id)
    }

    /// The chain of a payment, and how it is settled there.
    fn find<P: OnEvm>(&self, payment: Verified<&P>) -> Result<(&Chain<K>, Settlement), Reason> {
        let settlement = payment.into_payment().settlement();
        let chain = self.chain(settlement.chain_id()).ok_or(Reason::InvalidNetwork)?;
        Ok((chain, settlement))
    }
}

impl<K: AsyncSigner<Secp256k1>, X> EvmLedger<K, X> {
    /// Whether every chain can be settled on.
    ///
    /// # Errors
    /// [`NotReady`], for the first that cannot. It may pass; [`NotReady::WrongChain`] and
    /// [`NotReady::NoSender`] do not.
    pub async fn ready(&self) -> Result<(), NotReady> {
        for chain in &self.chains {
            chain.ready().await?;
        }
        Ok(())
    }

    /// Whether one chain can be settled on: its nodes are there and of that chain, it makes blocks,
    /// gas is not above the caps, and its accounts can pay for the gas of a transaction.
    ///
    /// # Errors
    /// [`NotReady`]; [`NotReady::NoSender`] for a chain that is not there.
    pub async fn ready_on(&self, chain_id: u64) -> Result<(), NotReady> {
        self.chain(chain_id).ok_or(NotReady::NoSender { chain_id })?.ready().await
    }

    /// Gas that was lost to transactions that failed, by chain id, since the process began.
    pub fn gas_lost(&self) -> Vec<(u64, GasLost)> {
        self.chains.iter().map(|chain| (chain.settings.chain_id, chain.guard.lost())).collect()
    }
}

/// A chain whose newest block is older than this, in seconds, or than this many blocks take, stands
/// still.
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

/// Shows no keys.
impl<K, X> fmt::Debug for EvmLedger<K, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.chains.iter().map(|chain| &chain.settings)).finish()
    }
}

/// A transaction that is signed and not sent. Its nonce is its own until it is sent or given up.
pub struct EvmUnsent {
    chain_id: u64,
    /// None for what was sent by somebody else.
    prepared: Option<Prepared>,
}

/// Shows no signature.
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
        // A chain that is not there is no reason yet to refuse what is proven.
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

mod answers;
mod guard;
mod network;
mod settings;
mod simulation;
mod watch;
mod witnesses;

pub use settings::{Commitment, NotSolana, SvmNotReady, SvmSettings};

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::json;
use x402_core::claim::{ClaimKey, Transaction};
use x402_core::crypto::ed25519::{Dalek, LocalKey};
use x402_core::crypto::{AsyncSigner, Ed25519, Verify, sha256};
use x402_core::{Payment as _, Reason, Verified};
use x402_svm::message::{self, Unsigned};
use x402_svm::{Address, SvmPayment, base58};

use self::answers::{Account, InContext};
use self::network::{SvmNetwork, ask, send, to_base64};
use self::simulation::Effect;
use self::watch::Watched;
use self::witnesses::Asked;
use super::{Ledger, Networks, Outcome};
use crate::clock::{Clock as _, SystemClock};
use crate::lock;
use crate::message::{Json, NetworkId, SupportedKind};
use crate::rpc::Nodes;
use crate::scheme::{ExactOnSvm, SvmTransfer};

/// Characters of the CAIP-2 reference of a Solana network: the start of its genesis hash.
const REFERENCE_CHARS: usize = 32;

/// A network whose newest block is older than this, in seconds, stands still.
const STILL_SECONDS: u64 = 60;

/// How often an effect is looked at again that another payment may have blurred.
const SIMULATIONS: usize = 3;

/// How far back, in slots, a node must know what happened before its word counts that something
/// this process does not remember did not happen: three days of 400 ms. A claim that was broadcast
/// is kept for a day.
const HISTORY_SLOTS: u64 = 3 * 24 * 60 * 60 * 5 / 2;

/// Bytes of a token account up to what extensions add, and what lies where in it.
const TOKEN_ACCOUNT_BYTES: usize = 165;
const TOKEN_ACCOUNT_STATE: usize = 108;

/// Solana networks over the RPC of their nodes.
///
/// It signs as the payer of the fee, and only in [`prepare`](Ledger::prepare): what it checks is
/// simulated unsigned. No node is used, for anything, before it has shown the genesis hash of its
/// network. Transactions that take addresses from tables are simulated and sent like others, but
/// the gate refuses them unless [`ExactOnSvm::resolve`](crate::scheme::ExactOnSvm) is there.
///
/// An outcome takes the word of [`SvmSettings::witnesses`] nodes that agree:
/// - *Settled*: the transaction is there at [`SvmSettings::commitment`] without an error; it is,
///   byte for byte, the message that passed the gate; and the account to be credited has the amount
///   more. Nodes that keep no token balances are believed without the last: the message moves the
///   amount and nothing else, all of it or nothing, which its success says.
/// - *Failed*: it is there, finalized, with an error; or its blockhash is dead in the
///   finalized chain and, asked after that, it is nowhere. A blockhash is dead, and not too new to
///   be known there, if it was seen alive at an earlier slot than the finalized one, or if the
///   finalized chain has moved on by a blockhash's life since it was first asked about.
/// - Everything else is *Pending*. Nodes must keep a history of transactions, and one that reaches
///   back three days for payments sent before a restart.
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use x402_std::core::crypto::ed25519::LocalKey;
/// use x402_std::facilitator::LocalFacilitator;
/// use x402_std::facilitator::ledger::SvmLedger;
/// use x402_std::rpc::Nodes;
///
/// let nodes = Nodes::new(["https://solana.example.com/key", "https://other.example.com"])?;
/// let ledger = SvmLedger::new(LocalKey::from_seed(&[7; 32]))
///     .with_network("solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1".parse()?, nodes)?;
/// ledger.ready().await?;
/// let facilitator = LocalFacilitator::new(ledger); // with claims that survive restarts, better
/// # Ok(())
/// # }
/// ```
pub struct SvmLedger<K = LocalKey> {
    keys: Vec<K>,
    networks: Vec<Arc<SvmNetwork>>,
    settings: SvmSettings,
    watched: Mutex<HashMap<ClaimKey, Watched>>,
}

/// A transaction with every signature, and nothing sent. `Debug` shows nothing of it.
pub struct SvmUnsent {
    network: Arc<SvmNetwork>,
    key: ClaimKey,
    transaction: Arc<str>,
}

impl fmt::Debug for SvmUnsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SvmUnsent")
    }
}

impl SvmLedger<LocalKey> {
    /// With a key in memory that pays the fees; without networks.
    pub fn new(fee_payer: LocalKey) -> Self {
        Self::with_signer(fee_payer)
    }
}

impl<K: AsyncSigner<Ed25519>> SvmLedger<K> {
    /// With whatever signs for the payer of the fees; without networks.
    pub fn with_signer(fee_payer: K) -> Self {
        Self {
            keys: vec![fee_payer],
            networks: Vec::new(),
            settings: SvmSettings::default(),
            watched: Mutex::default(),
        }
    }

    /// With another payer of fees besides: the first is announced, payments that name another are
    /// still taken. So that a key can be replaced.
    pub fn with_fee_payer(mut self, key: K) -> Self {
        self.keys.push(key);
        self
    }

    /// With a network, in either version's spelling, and its nodes. Nobody is asked yet.
    ///
    /// # Errors
    /// [`NotSolana`].
    pub fn with_network(mut self, network: NetworkId, nodes: Nodes) -> Result<Self, NotSolana> {
        let view = network.as_view();
        let long = |reference: &&str| reference.len() == REFERENCE_CHARS;
        view.solana().filter(long).ok_or(NotSolana)?;
        let id = NetworkId::from(view.caip2().ok_or(NotSolana)?);
        let network = SvmNetwork::new(id, nodes);
        self.networks.retain(|other| other.id != network.id);
        self.networks.push(Arc::new(network));
        Ok(self)
    }

    /// With other settings.
    pub fn with_settings(self, settings: SvmSettings) -> Self {
        Self { settings, ..self }
    }

    /// The networks, by their CAIP-2 ids.
    pub fn networks(&self) -> impl Iterator<Item = &NetworkId> {
        self.networks.iter().map(|network| &network.id)
    }

    /// Whether every network has enough nodes that answer, and all that do are its own. Nodes that
    /// have shown their genesis hash once are not asked again.
    ///
    /// # Errors
    /// [`SvmNotReady`], about the first network that is not ready.
    pub async fn ready(&self) -> Result<(), SvmNotReady> {
        if self.networks.is_empty() {
            return Err(SvmNotReady::NoNetwork);
        }
        for network in &self.networks {
            if !network.nodes.ask().await {
                return Err(SvmNotReady::WrongNetwork(network.id.clone()));
            }
            if network.nodes.right() < self.witnesses(network) {
                return Err(SvmNotReady::Unreachable(network.id.clone()));
            }
        }
        Ok(())
    }

    /// Whether payments can be settled now: all that [`ready`](Self::ready) says, that blocks are
    /// made, and that the first fee payer has enough lamports.
    ///
    /// # Errors
    /// [`SvmNotReady`].
    pub async fn readiness(&self) -> Result<(), SvmNotReady> {
        self.ready().await?;
        for network in &self.networks {
            self.solvent(network).await?;
        }
        Ok(())
    }

    /// Whether blocks are made, and the first fee payer has enough lamports. Nodes that do not know
    /// a block's time are believed that it is new.
    async fn solvent(&self, network: &SvmNetwork) -> Result<(), SvmNotReady> {
        let id = || network.id.clone();
        let nodes = network.nodes().await.ok_or_else(|| SvmNotReady::Unreachable(id()))?;
        let newest = json!([{ "commitment": "confirmed" }]);
        if let Ok(slot) = ask::<u64>(&nodes, "getSlot", &newest).await
            && let Ok(time) = ask::<u64>(&nodes, "getBlockTime", &json!([slot])).await
        {
            let seconds = SystemClock.now().saturating_sub(time);
            if seconds > STILL_SECONDS {
                return Err(SvmNotReady::StandsStill { network: id(), seconds });
            }
        }
        let Some(fee_payer) = self.fee_payer() else { return Ok(()) };
        let params = json!([fee_payer.to_string(), { "commitment": "confirmed" }]);
        if let Ok(balance) = ask::<InContext<u64>>(&nodes, "getBalance", &params).await
            && balance.value < self.settings.least_lamports
        {
            return Err(SvmNotReady::NoLamports { network: id(), fee_payer });
        }
        Ok(())
    }

    fn witnesses(&self, network: &SvmNetwork) -> usize {
        self.settings.witnesses.clamp(1, network.nodes.count())
    }

    fn watched(&self) -> MutexGuard<'_, HashMap<ClaimKey, Watched>> {
        lock(&self.watched)
    }

    fn fee_payer(&self) -> Option<Address> {
        self.keys.first().map(|key| Address(key.public_key()))
    }

    /// A payment on one of the networks.
    fn find<'p>(
        &self,
        payment: Verified<&'p SvmTransfer>,
    ) -> Result<(&'p SvmTransfer, &Arc<SvmNetwork>), Reason> {
        let transfer = payment.into_payment();
        let reference = &*transfer.payment().network;
        let network = self.networks.iter().find(|one| one.id.as_view().solana() == Some(reference));
        Ok((transfer, network.ok_or(Reason::InvalidNetwork)?))
    }

    /// Reserves a payment's money. The simulation has just shown the balance, unless other payments
    /// of the same account were on their way then.
    async fn reserve(&self, network: &SvmNetwork, payment: &SvmPayment) -> Result<(), Reason> {
        let mut balance = None;
        if network.guard.is_moving(payment)
            && let Some(nodes) = network.nodes().await
        {
            let params = json!([[payment.source.to_string()], {
                "commitment": "confirmed",
                "encoding": "base64",
                "dataSlice": { "offset": 0, "length": TOKEN_ACCOUNT_BYTES },
            }]);
            let source =
                ask::<InContext<[Option<Account>; 1]>>(&nodes, "getMultipleAccounts", &params);
            let [source] = source.await.map_err(|_| Reason::UnexpectedSettleError)?.value;
            balance = Some(source.and_then(|source| source.token(payment)).unwrap_or_default());
        }
        let reserved = network.guard.reserve(payment, balance);
        reserved.map_err(|hold| network.held(payment, hold))
    }

    /// Signs as the payer of the fee, and looks at what has come of it.
    async fn sign(&self, transfer: &SvmTransfer) -> Result<([u8; 64], Vec<u8>), Reason> {
        let fault = Reason::UnexpectedSettleError;
        let payment = transfer.payment();
        let fee_payer = payment.fee_payer;
        let key = self.keys.iter().find(|key| key.public_key() == fee_payer.0).ok_or(fault)?;
        let mut signed = transfer.transaction().to_vec();
        let mut unsigned = Unsigned::parse(&mut signed).map_err(|_| fault)?;
        if ClaimKey::new(sha256(&[unsigned.message()])) != payment.claim_key() {
            return Err(fault);
        }
        let signature = key.sign(unsigned.message()).await.map_err(|error| {
            tracing::warn!(%fee_payer, %error, "fee payer did not sign");
            fault
        })?;
        if !unsigned.sign(0, &signature) {
            return Err(fault);
        }
        // The sent bytes are those that were verified, but for the new signature.
        let verified = message::Transaction::parse(transfer.transaction()).map_err(|_| fault)?;
        let made = message::Transaction::parse(&signed).map_err(|_| fault)?;
        let (verified_message, message) = (verified.message(), made.message());
        let others = || made.signatures().iter().skip(1);
        let is_same = message.as_bytes() == verified_message.as_bytes()
            && others().eq(verified.signatures().iter().skip(1));
        let is_ours = message.key(0) == Some(fee_payer)
            && made.signatures().first() == Some(&signature)
            && Dalek.verify(&fee_payer.0, message.as_bytes(), &signature);
        if is_same && is_ours { Ok((signature, signed)) } else { Err(fault) }
    }
}

impl<K> fmt::Debug for SvmLedger<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let networks: Vec<_> = self.networks.iter().map(|network| &network.id).collect();
        f.debug_struct("SvmLedger")
            .field("networks", &networks)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl<K: AsyncSigner<Ed25519> + Send> Networks for SvmLedger<K> {
    type Scheme = ExactOnSvm;
    type Unsent = SvmUnsent;

    fn scheme(&self) -> ExactOnSvm {
        let fee_payers = self.keys.iter().map(|key| Address(key.public_key())).collect();
        ExactOnSvm { fee_payers: Some(fee_payers), ..ExactOnSvm::default() }
    }

    fn kinds(&self) -> Vec<SupportedKind> {
        let fee_payer = self.fee_payer().map(|fee_payer| fee_payer.to_string());
        let extra = json!({ "feePayer": fee_payer });
        let kind = |x402_version, network| SupportedKind {
            x402_version,
            scheme: "exact".into(),
            network,
            extra: Json::from_value(&extra).ok(),
            other: None,
        };
        let v2 = self.networks().map(|network| kind(2, network.clone()));
        let names = self.networks().filter_map(|network| network.as_view().v1_name());
        let v1 = names.filter_map(|name| Some(kind(1, name.parse().ok()?)));
        v2.chain(v1).collect()
    }

    fn signers(&self) -> BTreeMap<&'static str, Vec<String>> {
        let fee_payers =
            self.keys.iter().map(|key| Address(key.public_key()).to_string()).collect();
        BTreeMap::from([("solana:*", fee_payers)])
    }

    async fn send(&self, unsent: SvmUnsent) {
        let SvmUnsent { network, key, transaction } = unsent;
        self.remember(key, Some(Arc::clone(&transaction)), true, None);
        if let Some(nodes) = network.nodes().await {
            send(&nodes, &transaction).await;
        }
    }

    fn raw(&self, unsent: &SvmUnsent) -> Vec<u8> {
        unsent.transaction.as_bytes().to_vec()
    }
}

impl<K: AsyncSigner<Ed25519> + Send> Ledger<SvmTransfer> for SvmLedger<K> {
    async fn check(&self, payment: Verified<&SvmTransfer>, _now: u64) -> Result<(), Reason> {
        let (transfer, network) = self.find(payment)?;
        let fee_payer = transfer.payment().fee_payer;
        if !self.keys.iter().any(|key| Address(key.public_key()) == fee_payer) {
            return Err(Reason::InvalidExactSvmFeePayerNotManagedByFacilitator);
        }
        let nodes = network.nodes().await.ok_or(Reason::UnexpectedVerifyError)?;
        for _ in 0..SIMULATIONS {
            match self.simulate(network, &nodes, transfer).await? {
                Effect::Right => return Ok(()),
                Effect::Wrong => return Err(Reason::InvalidExactSvmTransactionSimulationFailed),
                Effect::Blurred => {}
            }
        }
        // Accounts that many pay at once are never at rest. What the message does the gate has shown,
        // and the simulation that it goes through.
        Ok(())
    }

    async fn prepare(
        &self,
        payment: Verified<&SvmTransfer>,
    ) -> Result<(Transaction, SvmUnsent), Reason> {
        let (transfer, network) = self.find(payment)?;
        let (signature, signed) = self.sign(transfer).await?;
        self.reserve(network, transfer.payment()).await?;
        let fault = Reason::UnexpectedSettleError;
        let mut text = [0; 88];
        let id = base58::encode(&signature, &mut text).ok_or(fault)?;
        let unsent = SvmUnsent {
            network: Arc::clone(network),
            key: transfer.payment().claim_key(),
            transaction: to_base64(&signed).ok_or(fault)?.into(),
        };
        Ok((Transaction::try_from(id).map_err(|_| fault)?, unsent))
    }

    /// Remembers what was signed, so that it is sent while it is waited for.
    async fn recover(&self, payment: Verified<&SvmTransfer>, _: &Transaction, raw: &[u8]) {
        let Ok((transfer, network)) = self.find(payment) else { return };
        let Ok(transaction) = std::str::from_utf8(raw) else { return };
        let key = transfer.payment().claim_key();
        let known_from = {
            let watched = self.watched();
            let known = watched.get(&key);
            if transaction.is_empty() || known.is_some_and(|known| known.transaction.is_some()) {
                return;
            }
            known.and_then(|known| known.known_from)
        };
        let transaction: Arc<str> = transaction.into();
        self.remember(key, Some(Arc::clone(&transaction)), false, known_from);
        if let Some(nodes) = network.nodes().await {
            send(&nodes, &transaction).await;
        }
    }

    async fn confirm(&self, payment: Verified<&SvmTransfer>, transaction: &Transaction) -> Outcome {
        let Ok((transfer, network)) = self.find(payment) else { return Outcome::Pending };
        let Some(asked) = Asked::new(transfer, transaction) else { return Outcome::Pending };
        let watching = self.watch(network, &asked);
        let Ok(outcome) = tokio::time::timeout(self.settings.confirm_within, watching).await else {
            return Outcome::Pending;
        };
        self.watched().remove(&asked.key);
        let network = &network.id;
        match &outcome {
            Outcome::Failed(reason) => tracing::info!(%network, %transaction, %reason, "failed"),
            _ => tracing::info!(%network, %transaction, "settled"),
        }
        outcome
    }
}

//! The settlement of a payment on an EVM chain, as data for the ledger.

use std::fmt;
use std::sync::Arc;

use alloy_primitives::{B256, Bytes};
use serde::Deserialize;
use x402_core::{Amount, Either, Payment, Reason};
use x402_evm::Address;

/// A payment that an [`EvmLedger`](super::EvmLedger) can settle.
///
/// Its [`Settlement`] has the questions to the chain, the call to send, and the logs that prove the payment.
/// The ledger does the rest in the same way for every scheme: it simulates, sends, replaces, waits and
/// decides.
pub trait OnEvm: Payment + Sync {
    /// Returns the settlement of this payment.
    fn settlement(&self) -> Settlement;
}

impl<A: OnEvm, B: OnEvm> OnEvm for Either<A, B> {
    fn settlement(&self) -> Settlement {
        match self {
            Self::First(payment) => payment.settlement(),
            Self::Second(payment) => payment.settlement(),
        }
    }
}

/// The way in which a payment is settled on a chain.
#[derive(Clone)]
#[non_exhaustive]
pub enum Settlement {
    /// The ledger sends a call that the payer authorised.
    Authorized(Box<Authorized>),
    /// The payer has sent a transaction. The ledger looks for it and sends nothing.
    Made(Made),
}

impl Settlement {
    pub(super) fn chain_id(&self) -> u64 {
        match self {
            Self::Authorized(payment) => payment.chain_id,
            Self::Made(payment) => payment.chain_id,
        }
    }
}

/// A call of a contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The contract.
    pub to: Address,
    /// The function's selector and its encoded arguments.
    pub data: Vec<u8>,
}

/// A log that a scheme looks for. The topics and the data must be equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The contract that logs it.
    pub contract: Address,
    /// The hash of the event's signature, and its indexed arguments.
    pub topics: Vec<[u8; 32]>,
    /// The encoded arguments that are not indexed.
    pub data: Vec<u8>,
}

impl Event {
    /// Returns whether a log is this event. A log of a block that was given up is none.
    pub fn is(&self, log: &Log) -> bool {
        log.contract() == Some(self.contract)
            && log.topics().eq(self.topics.iter())
            && log.data() == self.data
    }
}

/// A log of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Log {
    address: alloy_primitives::Address,
    topics: Vec<B256>,
    data: Bytes,
    #[serde(default)]
    removed: bool,
    #[serde(default)]
    pub(super) transaction_hash: Option<B256>,
}

impl Log {
    /// Makes a log as a node returns it.
    pub fn new(contract: Address, topics: &[[u8; 32]], data: Vec<u8>) -> Self {
        let (address, data) = (super::contract::evm(contract), data.into());
        let topics = topics.iter().copied().map(B256::new).collect();
        Self { address, topics, data, removed: false, transaction_hash: None }
    }

    /// The contract that logged it; `None` if its block was given up.
    pub fn contract(&self) -> Option<Address> {
        (!self.removed).then(|| Address(self.address.into_array()))
    }

    /// The hash of the event's signature, and the indexed arguments.
    pub fn topics(&self) -> impl ExactSizeIterator<Item = &[u8; 32]> {
        self.topics.iter().map(|topic| &topic.0)
    }

    /// The encoded arguments that are not indexed.
    pub fn data(&self) -> &[u8] {
        &self.data
    }
}

/// The end of an authorization, by the logs of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The payee received what was authorised.
    Paid,
    /// It was used up otherwise: for another transfer, or cancelled.
    Spent,
    /// The logs show neither, or could mean either.
    Unclear,
}

/// A function of a scheme.
pub type Function<A, T> = Arc<dyn Fn(&A) -> T + Send + Sync>;

/// The meaning of contracts' answers. `None` stands for a call that was reverted.
pub type Meaning<T> = Function<[Option<Vec<u8>>], T>;

/// Calls, and the meaning of their answers.
#[derive(Clone)]
pub struct Question<T> {
    /// The calls.
    pub calls: Vec<Call>,
    /// The meaning of their answers, in the order of the calls.
    pub meaning: Meaning<T>,
}

/// The signature of a payer.
#[derive(Clone)]
pub struct Signed {
    /// The signature as it was sent, with ERC-6492's wrapper if it has one.
    pub signature: Vec<u8>,
    /// Whether the scheme has verified it by the payer's key. Otherwise a contract at the payer's address
    /// must confirm it (ERC-1271).
    pub by_key: bool,
    /// The domain of the signature.
    pub domain: Domain,
    /// The EIP-712 digest, by the domain's separator.
    pub digest: Function<[u8; 32], [u8; 32]>,
}

/// An EIP-712 domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Domain {
    /// The separator.
    Separator([u8; 32]),
    /// The contract whose `DOMAIN_SEPARATOR()` returns it.
    Of(Address),
}

/// The form in which a contract receives a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judge {
    /// The payer's key made it: 64 bytes and `v`.
    Key([u8; 65]),
    /// The contract at the payer's address judges these bytes.
    Contract(Vec<u8>),
}

/// The reasons that a scheme gives, each by its own code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reasons {
    /// The signature is not the payer's.
    pub signature: Reason,
    /// The authorization has ended, or ends before it can be in a block.
    pub expired: Reason,
    /// The authorization was used or cancelled.
    pub used: Reason,
    /// The contract does not know such authorizations, or accepts them only from another sender.
    pub not_supported: Reason,
    /// The payer's balance is too small.
    pub balance: Reason,
    /// The call would fail, for no other known reason.
    pub simulation: Reason,
    /// The transaction was reverted.
    pub failed: Reason,
    /// The transaction succeeded without the event that pays.
    pub event: Reason,
}

/// A call that a payer authorised by a signature. Anybody, or one sender, can make it once.
#[derive(Clone)]
pub struct Authorized {
    /// The id of the chain.
    pub chain_id: u64,
    /// The payer, who signed.
    pub payer: Address,
    /// The token that moves.
    pub token: Address,
    /// The most that moves, in the token's smallest unit.
    pub value: Amount,
    /// The first second at which the authorization is not valid any more (Unix time).
    pub valid_before: Amount,
    /// The contract that records the payer's used authorizations.
    pub contract: Address,
    /// The authorization's identity among those of the payer in [`contract`](Self::contract).
    pub nonce: [u8; 32],
    /// The only account from which the contract accepts the call; `None` for any.
    pub sender: Option<Address>,
    /// Addresses that must have code, and the reason if one has none.
    pub deployed: Vec<(Address, Reason)>,
    /// The payer's signature.
    pub signed: Signed,
    /// The call to send.
    pub call: Function<Judge, Call>,
    /// Whether the authorization is used up; `None` if the answer cannot be read.
    pub used: Question<Option<bool>>,
    /// The questions for when the simulated call fails. The first with a reason gives the reason.
    pub causes: Vec<Question<Result<(), Reason>>>,
    /// The event that proves the payment in the ledger's own transaction.
    pub paid: Event,
    /// The contract whose logs name the transactions that used the authorization up.
    pub logged_by: Address,
    /// The topics of such logs; each is one of those listed.
    pub logged: Vec<Vec<[u8; 32]>>,
    /// The end of the authorization, by the logs of such a transaction.
    pub end: Function<[Log], End>,
    /// Reasons by the text of a revert. The first entry counts whose words are all in it, in order and in
    /// lower case.
    pub reverts: &'static [(&'static [&'static str], Reason)],
    /// The other reasons.
    pub reasons: Reasons,
}

impl Authorized {
    /// Returns the payment's identity on its chain.
    pub(super) const fn key(&self) -> super::sender::Of {
        (self.contract, self.payer, self.nonce)
    }

    /// Returns the reason for a revert, by its text.
    pub(super) fn reason_of(&self, text: &str) -> Reason {
        let text = text.to_ascii_lowercase();
        let has = |words: &[&str]| {
            let mut rest = text.as_str();
            words.iter().all(|word| {
                let after = rest.split_once(word).map(|(_, after)| after);
                after.inspect(|after| rest = after).is_some()
            })
        };
        let found = self.reverts.iter().find(|(words, _)| has(words));
        found.map_or(self.reasons.failed, |(_, reason)| *reason)
    }
}

/// A transaction that the payer sent.
#[derive(Clone)]
pub struct Made {
    /// The id of the chain.
    pub chain_id: u64,
    /// The transaction's hash.
    pub transaction: [u8; 32],
    /// The account that sent it.
    pub from: Address,
    /// The contract that it calls.
    pub to: Address,
    /// Whether its logs prove the payment.
    pub pays: Function<[Log], bool>,
    /// The reason if it was reverted.
    pub failed: Reason,
    /// The reason if another account sent it, or if it calls another contract or does not pay.
    pub event: Reason,
}

/// Hides the signature.
impl fmt::Debug for Settlement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authorized(it) => f
                .debug_struct("Authorized")
                .field("chain_id", &it.chain_id)
                .field("payer", &it.payer)
                .field("token", &it.token)
                .field("value", &it.value)
                .finish_non_exhaustive(),
            Self::Made(it) => f
                .debug_struct("Made")
                .field("chain_id", &it.chain_id)
                .field("from", &it.from)
                .finish_non_exhaustive(),
        }
    }
}

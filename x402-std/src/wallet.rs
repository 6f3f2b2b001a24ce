//! Keys that sign payments: of an EVM network, of Solana, or both.

mod key;
#[cfg(feature = "evm-ledger")]
mod transfer;

use std::fmt;
use std::future::{Future, ready};

use x402_core::buyer::Wallet;
use x402_core::crypto::ed25519::Dalek;
use x402_core::crypto::{AsyncSigner, Ed25519, Secp256k1, SignError};
use x402_core::{Amount, Network, Reason, wire};
use x402_svm::{Asset, ExactSvmWallet, Inputs, SvmUnsigned, UnsignedError};

use crate::message::{Json, PaymentRequirements};

pub use key::{KeyError, evm_key, svm_key};
#[cfg(feature = "evm-ledger")]
pub use transfer::{NotOwn, TransferWallet};

/// A wallet that can sign what it pays.
///
/// A pair of wallets is one: the second signs what the first does not pay, and it does, and on the
/// networks that are none of the first's. So is an `Option`, which has no network if there is none.
pub trait Signs: Wallet + Send + Sync {
    /// Signs a payment for an offer it [`pays`](Wallet::pays), at `now` (Unix seconds). `resource` is
    /// what is bought, if that is known: the URL of the challenge's resource, empty if it has none. Most
    /// payments do not depend on it. `random` must never have been used before. Fails with
    /// [`Reason::InvalidNetwork`], and signs nothing, on a network that is none of its own.
    fn sign(
        &self,
        resource: Option<&str>,
        offer: &PaymentRequirements,
        now: u64,
        random: [u8; 32],
    ) -> impl Future<Output = Result<Json, SignFailure>> + Send;

    /// Whether an offer can be signed and is covered now, as far as that can be found out. Nothing is
    /// signed. Buyers ask before they reserve anything.
    ///
    /// # Errors
    /// [`Unready`]. What nobody knows is no reason.
    fn ready(
        &self,
        offer: &PaymentRequirements,
    ) -> impl Future<Output = Result<(), Unready>> + Send {
        let _ = offer;
        ready(Ok(()))
    }
}

/// Why an offer would not be paid now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unready {
    /// The account has less than is asked.
    Short {
        /// The account.
        owner: String,
        /// The balance, in units of the token.
        has: Amount,
    },
    /// It would not be signed.
    NotSigned(SignFailure),
}

/// Knows what accounts have: a node of their network.
pub trait Balances: Send + Sync {
    /// Units that an account has of an offer's token; `None` if that cannot be found out.
    fn balance(
        &self,
        offer: &PaymentRequirements,
        owner: &str,
    ) -> impl Future<Output = Option<Amount>> + Send;
}

/// Knows nothing.
impl Balances for () {
    fn balance(
        &self,
        _offer: &PaymentRequirements,
        _owner: &str,
    ) -> impl Future<Output = Option<Amount>> + Send {
        ready(None)
    }
}

/// A blockhash says nothing of balances.
impl Balances for [u8; 32] {
    fn balance(
        &self,
        _offer: &PaymentRequirements,
        _owner: &str,
    ) -> impl Future<Output = Option<Amount>> + Send {
        ready(None)
    }
}

impl<B: Balances> Balances for Option<B> {
    async fn balance(&self, offer: &PaymentRequirements, owner: &str) -> Option<Amount> {
        self.as_ref()?.balance(offer, owner).await
    }
}

/// Whether an account has what an offer asks, as far as is known.
async fn covered(
    balances: &impl Balances,
    offer: &PaymentRequirements,
    owner: String,
) -> Result<(), Unready> {
    match balances.balance(offer, &owner).await {
        Some(has) if has < offer.amount => Err(Unready::Short { owner, has }),
        _ => Ok(()),
    }
}

/// Why there is no payment. Nothing is spent, but for [`SignFailure::Sent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignFailure {
    /// The offer cannot be paid.
    Offer(Reason),
    /// The offer gives no blockhash, nor does anybody else.
    Blockhash(BlockhashError),
    /// The key did not sign.
    Sign(SignError),
    /// The transfer that the payment would prove is not made: no tokens moved, nor will they.
    Transfer(TransferFailure),
    /// The transfer of this hash, which the payment would prove, was or may have been sent, and may
    /// be made yet: **the money counts as spent**. The wallet that sent it goes on with it when the
    /// same is bought again.
    Sent([u8; 32]),
}

/// Why a transfer of the buyer's own is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransferFailure {
    /// The nodes do not answer what has to be known before. It was not sent.
    Node,
    /// Gas costs more than is allowed, or than the account has; or too many of its transactions
    /// wait. It was not sent.
    Gas,
    /// It could not be written down, and was not sent.
    Record,
    /// It would fail, and was not sent; or it was sent and failed, and cost gas.
    Failed(Reason),
}

impl fmt::Display for TransferFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node => f.write_str("not sent: no answer from the chain"),
            Self::Gas => f.write_str("not sent: gas is too expensive, or there is none to pay it"),
            Self::Record => f.write_str("not sent: it could not be written down"),
            Self::Failed(reason) => write!(f, "failed: {reason}"),
        }
    }
}

impl std::error::Error for TransferFailure {}

impl fmt::Display for SignFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offer(reason) => write!(f, "offer: {reason}"),
            Self::Blockhash(error) => write!(f, "no recent blockhash: {error}"),
            Self::Sign(error) => error.fmt(f),
            Self::Transfer(failure) => write!(f, "transfer {failure}"),
            Self::Sent(hash) => write!(
                f,
                "transfer 0x{} was sent and is not certain: it may be paid",
                hex::encode(hash)
            ),
        }
    }
}

impl std::error::Error for SignFailure {}

/// Why there is no blockhash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlockhashError {
    /// There is nobody to ask.
    NobodyToAsk,
    /// The node could not be reached, or took too long.
    Unreachable,
    /// The node answered with this HTTP status.
    Status(u16),
    /// The node's answer has no blockhash.
    BadAnswer,
}

impl fmt::Display for BlockhashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NobodyToAsk => f.write_str("nobody to ask"),
            Self::Unreachable => f.write_str("node unreachable"),
            Self::Status(status) => write!(f, "node answered {status}"),
            Self::BadAnswer => f.write_str("not in the node's answer"),
        }
    }
}

impl std::error::Error for BlockhashError {}

/// A key on EVM networks. `Debug` shows nothing of it.
#[derive(Clone, Copy)]
pub struct EvmWallet<K, B = ()> {
    key: K,
    balances: B,
}

impl<K, B> fmt::Debug for EvmWallet<K, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EvmWallet")
    }
}

impl<K> EvmWallet<K> {
    /// Pays in known tokens.
    pub const fn new(key: K) -> Self {
        Self { key, balances: () }
    }
}

impl<K, B> EvmWallet<K, B> {
    /// Asks whether it has what an offer asks, before it signs.
    pub fn with_balances<C>(self, balances: C) -> EvmWallet<K, C> {
        EvmWallet { key: self.key, balances }
    }

    /// The node that knows its balances.
    pub const fn balances(&self) -> &B {
        &self.balances
    }
}

impl<K: AsyncSigner<Secp256k1>, B> EvmWallet<K, B> {
    /// The address that pays.
    pub fn address(&self) -> x402_evm::Address {
        x402_evm::Address(self.key.public())
    }
}

impl<K: AsyncSigner<Secp256k1>, B> Wallet for EvmWallet<K, B> {
    fn pays(&self, offer: &wire::PaymentRequirements<'_>) -> bool {
        x402_evm::ExactEvmWallet.pays(offer)
    }

    fn pays_to(&self, offer: &wire::PaymentRequirements<'_>) -> bool {
        let payee = offer.pay_to.as_str().and_then(x402_evm::Address::parse);
        payee != Some(self.address()) && x402_evm::ExactEvmWallet.pays_to(offer)
    }

    fn decimals(&self, offer: &wire::PaymentRequirements<'_>) -> Option<u8> {
        x402_evm::ExactEvmWallet.decimals(offer)
    }
}

impl<K: AsyncSigner<Secp256k1> + Send, B: Balances> Signs for EvmWallet<K, B> {
    async fn sign(
        &self,
        _resource: Option<&str>,
        offer: &PaymentRequirements,
        now: u64,
        random: [u8; 32],
    ) -> Result<Json, SignFailure> {
        let unsigned = x402_evm::Eip3009Unsigned::new(&offer.view(), self.address(), now, random)
            .map_err(SignFailure::Offer)?;
        let signature = self.key.sign(unsigned.digest()).await.map_err(SignFailure::Sign)?;
        let mut buffer = [0; x402_evm::PAYLOAD_BYTES];
        let payload = unsigned.payload(&signature, &mut buffer).expect("the buffer is long enough");
        Ok(payload.into())
    }

    async fn ready(&self, offer: &PaymentRequirements) -> Result<(), Unready> {
        covered(&self.balances, offer, self.address().to_string()).await
    }
}

/// A key on Solana. `Debug` shows nothing of it.
#[derive(Clone)]
pub struct SvmWallet<K, B = ()> {
    key: K,
    blockhashes: B,
    assets: Vec<Asset<'static>>,
}

impl<K, B> fmt::Debug for SvmWallet<K, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SvmWallet")
    }
}

impl<K> SvmWallet<K> {
    /// Pays the offers that give a blockhash, in known tokens.
    pub const fn new(key: K) -> Self {
        Self { key, blockhashes: (), assets: Vec::new() }
    }
}

impl<K, B> SvmWallet<K, B> {
    /// Asks for a blockhash where an offer gives none, and for balances, if it knows some.
    pub fn with_blockhashes<C>(self, blockhashes: C) -> SvmWallet<K, C> {
        SvmWallet { key: self.key, blockhashes, assets: self.assets }
    }

    /// The node that knows blockhashes.
    pub const fn blockhashes(&self) -> &B {
        &self.blockhashes
    }

    /// Pays in these tokens too; the [`Policy`](crate::buyer::Policy) must allow them. Vouch for no
    /// mint that is also on another network: see [`Inputs::assets`].
    pub fn with_assets(self, assets: Vec<Asset<'static>>) -> Self {
        Self { assets, ..self }
    }
}

impl<K: AsyncSigner<Ed25519>, B> SvmWallet<K, B> {
    /// The address that pays.
    pub fn address(&self) -> x402_svm::Address {
        x402_svm::Address(self.key.public())
    }
}

impl<K: AsyncSigner<Ed25519>, B> Wallet for SvmWallet<K, B> {
    fn pays(&self, offer: &wire::PaymentRequirements<'_>) -> bool {
        ExactSvmWallet { assets: &self.assets }.pays(offer)
    }

    fn pays_to(&self, offer: &wire::PaymentRequirements<'_>) -> bool {
        let payee = offer.pay_to.as_str().and_then(x402_svm::Address::parse);
        let wallet = ExactSvmWallet { assets: &self.assets };
        payee != Some(self.address()) && wallet.pays_to(offer)
    }

    fn decimals(&self, offer: &wire::PaymentRequirements<'_>) -> Option<u8> {
        ExactSvmWallet { assets: &self.assets }.decimals(offer)
    }
}

/// Knows recent blockhashes, of which a payment on Solana needs one.
pub trait Blockhashes: Send + Sync {
    /// One of the last minute.
    ///
    /// # Errors
    /// [`BlockhashError`].
    fn latest(
        &self,
        network: Network<'_>,
    ) -> impl Future<Output = Result<[u8; 32], BlockhashError>> + Send;
}

/// Knows none.
impl Blockhashes for () {
    fn latest(
        &self,
        _network: Network<'_>,
    ) -> impl Future<Output = Result<[u8; 32], BlockhashError>> + Send {
        ready(Err(BlockhashError::NobodyToAsk))
    }
}

impl<B: Blockhashes> Blockhashes for Option<B> {
    async fn latest(&self, network: Network<'_>) -> Result<[u8; 32], BlockhashError> {
        self.as_ref().ok_or(BlockhashError::NobodyToAsk)?.latest(network).await
    }
}

/// One that is known already.
impl Blockhashes for [u8; 32] {
    fn latest(
        &self,
        _network: Network<'_>,
    ) -> impl Future<Output = Result<[u8; 32], BlockhashError>> + Send {
        ready(Ok(*self))
    }
}

impl<K: AsyncSigner<Ed25519> + Send, B: Blockhashes + Balances> Signs for SvmWallet<K, B> {
    async fn sign(
        &self,
        _resource: Option<&str>,
        offer: &PaymentRequirements,
        _now: u64,
        random: [u8; 32],
    ) -> Result<Json, SignFailure> {
        if offer.network.view().solana().is_none() {
            return Err(SignFailure::Offer(Reason::InvalidNetwork));
        }
        let blockhash = match x402_svm::offered_blockhash(&offer.view()) {
            // It is taken from the offer.
            Some(_) => None,
            None => {
                let latest = self.blockhashes.latest(offer.network.view()).await;
                Some(latest.map_err(SignFailure::Blockhash)?)
            }
        };
        let nonce = *random.first_chunk().expect("16 of 32 bytes");
        let inputs = Inputs { payer: self.address(), blockhash, nonce, assets: &self.assets };
        let mut transaction = [0; x402_svm::PAYMENT_BYTES];
        let unsigned = SvmUnsigned::new(&offer.view(), &inputs, &Dalek, &mut transaction).map_err(
            |error| match error {
                UnsignedError::Offer(reason) => SignFailure::Offer(reason),
                // There is one, and the buffer is long enough.
                UnsignedError::NoBlockhash | UnsignedError::Encode(_) => {
                    SignFailure::Offer(Reason::InvalidPaymentRequirements)
                }
            },
        )?;
        let signature = self.key.sign(unsigned.message()).await.map_err(SignFailure::Sign)?;
        let mut buffer = [0; x402_svm::PAYLOAD_BYTES];
        let payload = unsigned.payload(&signature, &mut buffer).expect("the buffer is long enough");
        Ok(payload.into())
    }

    async fn ready(&self, offer: &PaymentRequirements) -> Result<(), Unready> {
        if x402_svm::offered_blockhash(&offer.view()).is_none() {
            let latest = self.blockhashes.latest(offer.network.view()).await;
            latest.map_err(|error| Unready::NotSigned(SignFailure::Blockhash(error)))?;
        }
        covered(&self.blockhashes, offer, self.address().to_string()).await
    }
}

impl<A: Signs, B: Signs> Signs for (A, B) {
    async fn sign(
        &self,
        resource: Option<&str>,
        offer: &PaymentRequirements,
        now: u64,
        random: [u8; 32],
    ) -> Result<Json, SignFailure> {
        if second_pays(self, offer) {
            return self.1.sign(resource, offer, now, random).await;
        }
        match self.0.sign(resource, offer, now, random).await {
            // Said before anything is signed.
            Err(SignFailure::Offer(Reason::InvalidNetwork)) => {
                self.1.sign(resource, offer, now, random).await
            }
            signed => signed,
        }
    }

    async fn ready(&self, offer: &PaymentRequirements) -> Result<(), Unready> {
        if second_pays(self, offer) {
            return self.1.ready(offer).await;
        }
        self.0.ready(offer).await
    }
}

/// Of a pair, whether it is the second's to sign.
fn second_pays(pair: &(impl Wallet, impl Wallet), offer: &PaymentRequirements) -> bool {
    !pair.0.pays(&offer.view()) && pair.1.pays(&offer.view())
}

impl<W: Signs> Signs for Option<W> {
    async fn sign(
        &self,
        resource: Option<&str>,
        offer: &PaymentRequirements,
        now: u64,
        random: [u8; 32],
    ) -> Result<Json, SignFailure> {
        match self {
            Some(wallet) => wallet.sign(resource, offer, now, random).await,
            None => Err(SignFailure::Offer(Reason::InvalidNetwork)),
        }
    }

    async fn ready(&self, offer: &PaymentRequirements) -> Result<(), Unready> {
        match self {
            Some(wallet) => wallet.ready(offer).await,
            None => Ok(()),
        }
    }
}

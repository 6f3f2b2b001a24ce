//! Keys that sign payments: for EVM networks, for Solana, or both.

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
/// A pair of wallets is one wallet: the second signs offers that only it pays, and offers on networks that
/// the first does not have. An `Option` is a wallet too; `None` has no network.
pub trait PaymentSigner: Wallet + Send + Sync {
    /// Signs a payment for an offer it [`pays`](Wallet::pays), at `now` (Unix seconds). `resource` is the URL
    /// of the challenge's resource, if it is known; it is empty if the challenge has none. Most payments do
    /// not depend on it. `random` must never have been used before.
    ///
    /// # Errors
    /// [`SignFailure`]; with [`Reason::InvalidNetwork`], and nothing signed, on a network of another wallet.
    fn sign(
        &self,
        resource: Option<&str>,
        offer: &PaymentRequirements,
        now: u64,
        random: [u8; 32],
    ) -> impl Future<Output = Result<Json, SignFailure>> + Send;

    /// Checks that an offer can be signed and paid now, as far as that is known. Nothing is signed. Buyers
    /// check before they reserve anything.
    ///
    /// # Errors
    /// [`Unready`]. An unknown balance is no error.
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
    /// The account has less than the price.
    Short {
        /// The account.
        owner: String,
        /// The balance, in units of the token.
        has: Amount,
    },
    /// The offer cannot be signed.
    NotSigned(SignFailure),
}

/// A source of accounts' balances: a node of their network.
pub trait Balances: Send + Sync {
    /// The balance of an account, in units of an offer's token; `None` if it is unknown.
    fn balance(
        &self,
        offer: &PaymentRequirements,
        owner: &str,
    ) -> impl Future<Output = Option<Amount>> + Send;
}

/// Knows no balance.
impl Balances for () {
    fn balance(
        &self,
        _offer: &PaymentRequirements,
        _owner: &str,
    ) -> impl Future<Output = Option<Amount>> + Send {
        ready(None)
    }
}

/// A blockhash has no balances.
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

/// Checks that an account has the price of an offer, as far as is known.
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
    /// Neither the offer nor the node gives a blockhash.
    Blockhash(BlockhashError),
    /// The key did not sign.
    Sign(SignError),
    /// The transfer that the payment would prove will never be made: no tokens moved.
    Transfer(TransferFailure),
    /// The transfer of this hash, which the payment would prove, may have been sent, and may still be made:
    /// **the money counts as spent**. The wallet that sent it continues with it when the same is bought
    /// again.
    Sent([u8; 32]),
}

/// Why the payer's own transfer is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransferFailure {
    /// The nodes do not answer the questions before a transfer. It was not sent.
    Node,
    /// Gas costs more than is allowed or the account has, or too many of its transactions wait. It was not
    /// sent.
    Gas,
    /// It could not be recorded, and was not sent.
    Record,
    /// It would fail, and was not sent; or it was sent and failed, and cost gas.
    Failed(Reason),
}

impl fmt::Display for TransferFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node => f.write_str("not sent: no answer from the chain: check its RPC nodes"),
            Self::Gas => f.write_str(
                "not sent: gas costs more than the limit or the account has, or too many transactions wait",
            ),
            Self::Record => f.write_str("not sent: it could not be recorded: check the record"),
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
                "transfer 0x{} may have been sent and may still be made: buy the same again to use it",
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
    /// No node is set.
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
            Self::NobodyToAsk => f.write_str("no RPC node is set: give one"),
            Self::Unreachable => f.write_str("RPC node cannot be reached: check its URL"),
            Self::Status(status) => write!(f, "RPC node answered with status {status}"),
            Self::BadAnswer => f.write_str("RPC node's answer has none: check its URL"),
        }
    }
}

impl std::error::Error for BlockhashError {}

/// A key for EVM networks. `Debug` hides the key.
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
    /// Checks its balance against the price before it signs.
    pub fn with_balances<C>(self, balances: C) -> EvmWallet<K, C> {
        EvmWallet { key: self.key, balances }
    }

    /// The source of its balances.
    pub const fn balances(&self) -> &B {
        &self.balances
    }
}

impl<K: AsyncSigner<Secp256k1>, B> EvmWallet<K, B> {
    /// The address that pays.
    pub fn address(&self) -> x402_evm::Address {
        x402_evm::Address(self.key.public_key())
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

impl<K: AsyncSigner<Secp256k1> + Send, B: Balances> PaymentSigner for EvmWallet<K, B> {
    async fn sign(
        &self,
        _resource: Option<&str>,
        offer: &PaymentRequirements,
        now: u64,
        random: [u8; 32],
    ) -> Result<Json, SignFailure> {
        let unsigned =
            x402_evm::Eip3009Unsigned::new(&offer.as_view(), self.address(), now, random)
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

/// A key for Solana. `Debug` hides the key.
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
    /// Pays offers that give a blockhash, in known tokens.
    pub const fn new(key: K) -> Self {
        Self { key, blockhashes: (), assets: Vec::new() }
    }
}

impl<K, B> SvmWallet<K, B> {
    /// Takes blockhashes from this source where an offer gives none, and balances if it has them.
    pub fn with_blockhashes<C>(self, blockhashes: C) -> SvmWallet<K, C> {
        SvmWallet { key: self.key, blockhashes, assets: self.assets }
    }

    /// The source of blockhashes.
    pub const fn blockhashes(&self) -> &B {
        &self.blockhashes
    }

    /// Pays in these tokens too; the [`Policy`](crate::buyer::Policy) must allow them. Leave out mints that
    /// are also on another network: see [`Inputs::assets`].
    pub fn with_assets(self, assets: Vec<Asset<'static>>) -> Self {
        Self { assets, ..self }
    }
}

impl<K: AsyncSigner<Ed25519>, B> SvmWallet<K, B> {
    /// The address that pays.
    pub fn address(&self) -> x402_svm::Address {
        x402_svm::Address(self.key.public_key())
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

/// A source of recent blockhashes. A payment on Solana needs one.
pub trait Blockhashes: Send + Sync {
    /// A blockhash of the last minute.
    ///
    /// # Errors
    /// [`BlockhashError`].
    fn latest(
        &self,
        network: Network<'_>,
    ) -> impl Future<Output = Result<[u8; 32], BlockhashError>> + Send;
}

/// Has no blockhash.
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

/// A fixed blockhash.
impl Blockhashes for [u8; 32] {
    fn latest(
        &self,
        _network: Network<'_>,
    ) -> impl Future<Output = Result<[u8; 32], BlockhashError>> + Send {
        ready(Ok(*self))
    }
}

impl<K: AsyncSigner<Ed25519> + Send, B: Blockhashes + Balances> PaymentSigner for SvmWallet<K, B> {
    async fn sign(
        &self,
        _resource: Option<&str>,
        offer: &PaymentRequirements,
        _now: u64,
        random: [u8; 32],
    ) -> Result<Json, SignFailure> {
        if offer.network.as_view().solana().is_none() {
            return Err(SignFailure::Offer(Reason::InvalidNetwork));
        }
        let blockhash = match x402_svm::offered_blockhash(&offer.as_view()) {
            // The offer's own blockhash is used.
            Some(_) => None,
            None => {
                let latest = self.blockhashes.latest(offer.network.as_view()).await;
                Some(latest.map_err(SignFailure::Blockhash)?)
            }
        };
        let nonce = *random.first_chunk().expect("16 of 32 bytes");
        let inputs = Inputs { payer: self.address(), blockhash, nonce, assets: &self.assets };
        let mut transaction = [0; x402_svm::PAYMENT_BYTES];
        let unsigned = SvmUnsigned::new(&offer.as_view(), &inputs, &Dalek, &mut transaction)
            .map_err(|error| match error {
                UnsignedError::Offer(reason) => SignFailure::Offer(reason),
                // A blockhash is given, and the buffer is long enough.
                UnsignedError::NoBlockhash | UnsignedError::Encode(_) => {
                    SignFailure::Offer(Reason::InvalidPaymentRequirements)
                }
            })?;
        let signature = self.key.sign(unsigned.message()).await.map_err(SignFailure::Sign)?;
        let mut buffer = [0; x402_svm::PAYLOAD_BYTES];
        let payload = unsigned.payload(&signature, &mut buffer).expect("the buffer is long enough");
        Ok(payload.into())
    }

    async fn ready(&self, offer: &PaymentRequirements) -> Result<(), Unready> {
        if x402_svm::offered_blockhash(&offer.as_view()).is_none() {
            let latest = self.blockhashes.latest(offer.network.as_view()).await;
            latest.map_err(|error| Unready::NotSigned(SignFailure::Blockhash(error)))?;
        }
        covered(&self.blockhashes, offer, self.address().to_string()).await
    }
}

impl<A: PaymentSigner, B: PaymentSigner> PaymentSigner for (A, B) {
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
            // This error means that nothing was signed.
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

/// Whether only the second wallet of a pair pays an offer.
fn second_pays(pair: &(impl Wallet, impl Wallet), offer: &PaymentRequirements) -> bool {
    !pair.0.pays(&offer.as_view()) && pair.1.pays(&offer.as_view())
}

impl<W: PaymentSigner> PaymentSigner for Option<W> {
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

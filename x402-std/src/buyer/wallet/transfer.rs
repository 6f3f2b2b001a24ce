//! Transfers that the payer sends and then presents as payments.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use alloy_primitives::B256;
use x402_core::buyer::Wallet;
use x402_core::crypto::{AsyncSigner, Recover, Secp256k1, SignError};
use x402_core::json::JsonStr;
use x402_core::{EncodeError, Reason, wire};
use x402_evm::{Address, TransferProofUnsigned, assets};

use super::{PaymentSigner, SignFailure, TransferFailure};
use crate::crypto::Recovery;
use crate::facilitator::ledger::{Chain, EvmChain, Sealed, Transfer};
use crate::lock;
use crate::message::{Json, PaymentRequirements};

/// Bytes of a proof's payload without its reference.
const PAYLOAD_BYTES: usize = 320;

/// A key on one EVM chain that pays by transfers, which it sends and proves itself. It pays only offers of
/// [`TransferProof`](x402_evm::TransferProof), which lists the weaknesses of such payments. For other offers,
/// pair it with an [`EvmWallet`](super::EvmWallet). The buyer prefers those if it has the choice.
///
/// **The transfer is the payment, and it comes first.** [`PaymentSigner::sign`] sends it, and waits for
/// [`EvmChain::confirmations`], at most for [`EvmChain::confirm_time`]. The results are:
///
/// - [`SignFailure::Sent`]: the money may have moved, and the transfer was not presented yet. The wallet
///   keeps it for the next payment of the same amount, in the same token, to the same payee, for any
///   resource. It sends no other such transfer before that. Budgets count it for both. Some transfers are
///   never made, for example if another transaction takes the nonce, and no node knows this for certain.
///   [`TransferWallet::forget`] is for those.
/// - Every other failure: no tokens moved or will move. A transfer that fails on chain costs gas.
/// - A payment: the buyer presents it. If a refusal allows it, present the same payment again: another
///   signature sends another transfer.
///
/// All this is in memory. To survive the end of the process, record each transaction before it is sent
/// ([`with_record`](Self::with_record)), and take up transfers that were not presented
/// ([`resume`](Self::resume)). Without a record, the payer loses the transfer. Its hash is in the log.
///
/// Only this wallet may use the account: if others use the same nonce, one of two transactions is never made.
/// The account needs the chain's own coin for gas. The wallet does not raise the fee of a waiting
/// transaction, because the replacement would have another hash. Instead it offers twice the base fee from
/// the start, within the caps of [`EvmChain`].
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use x402_std::buyer::Buyer;
/// use x402_std::core::crypto::secp256k1::LocalKey;
/// use x402_std::facilitator::ledger::EvmChain;
/// use x402_std::rpc::Nodes;
/// use x402_std::buyer::wallet::{EvmWallet, TransferWallet};
///
/// let key = || LocalKey::from_bytes(&[7; 32]).ok_or("not a key");
/// let mut sei = EvmChain::new(1328, Nodes::new(["https://evm-rpc-testnet.sei-apis.com"])?);
/// sei.max_fee_per_gas = 200_000_000_000;
/// sei.max_priority_fee_per_gas = 50_000_000_000;
/// let wallet = (EvmWallet::new(key()?), TransferWallet::new(sei, key()?));
/// let buyer = Buyer::new(wallet);
/// # Ok(())
/// # }
/// ```
pub struct TransferWallet<K> {
    chain: Chain<K>,
    address: Address,
    record: Option<Box<Record>>,
    unpresented: Mutex<Vec<Unpresented>>,
}

type Record = dyn Fn(&str) -> io::Result<()> + Send + Sync;

/// A transfer that may have been sent, without a payment that presents it.
struct Unpresented {
    transfer: Transfer,
    hash: B256,
    /// Whether a call waits for it.
    held: bool,
}

/// The text is not a transfer that the wallet's account signed for its chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotOwn;

impl fmt::Display for NotOwn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the record is not a transfer of this account on this chain")
    }
}

impl std::error::Error for NotOwn {}

/// Hides the key and the transactions.
impl<K> fmt::Debug for TransferWallet<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransferWallet")
            .field("chain", &self.chain.settings)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl<K> TransferWallet<K> {
    /// The account that pays.
    pub const fn address(&self) -> Address {
        self.address
    }

    /// Records every transaction before it is sent, as the text that nodes accept: `0x` and hexadecimal
    /// digits. If `record` fails, the transaction is not sent. The text moves money, because its holder can
    /// send it. It must be on disk when `record` returns.
    pub fn with_record(
        mut self,
        record: impl Fn(&str) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.record = Some(Box::new(record));
        self
    }

    /// Hashes of transactions that may have been sent, and were not presented in a payment.
    pub fn unpresented(&self) -> Vec<[u8; 32]> {
        self.all().iter().map(|known| known.hash.0).collect()
    }

    /// Gives a transfer up, and returns whether it was one of the [`unpresented`](Self::unpresented). Its
    /// money is lost if the transfer was made or will be made.
    pub fn forget(&self, tx_hash: &[u8; 32]) -> bool {
        let mut all = self.all();
        let before = all.len();
        all.retain(|known| known.hash.0 != *tx_hash);
        all.len() != before
    }

    fn all(&self) -> MutexGuard<'_, Vec<Unpresented>> {
        lock(&self.unpresented)
    }

    /// Takes a kept transfer that equals this one, unless a call waits for it.
    fn take(&self, transfer: &Transfer) -> Option<Held<'_>> {
        let mut all = self.all();
        let known = all.iter_mut().find(|known| !known.held && known.transfer == *transfer)?;
        known.held = true;
        Some(Held { all: &self.unpresented, hash: known.hash })
    }

    fn keep(&self, transfer: Transfer, hash: B256) -> Held<'_> {
        self.all().push(Unpresented { transfer, hash, held: true });
        Held { all: &self.unpresented, hash }
    }
}

/// The right to wait for a transfer. Dropping it gives the right back, because a waiting call may be stopped.
struct Held<'w> {
    all: &'w Mutex<Vec<Unpresented>>,
    hash: B256,
}

impl Held<'_> {
    /// Forgets the transfer, which is presented now or was never made.
    fn done(self) {
        let mut all = lock(self.all);
        all.retain(|known| known.hash != self.hash);
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut all = lock(self.all);
        all.iter_mut().filter(|known| known.hash == self.hash).for_each(|known| known.held = false);
    }
}

impl<K: AsyncSigner<Secp256k1>> TransferWallet<K> {
    /// Makes a wallet that pays on this chain. Only the settings for sending transactions and for their
    /// finality count.
    pub fn new(mut chain: EvmChain, key: K) -> Self {
        chain.replace_after = Duration::MAX;
        let address = Address(key.public_key());
        let chain = Chain::new(chain, vec![key]);
        Self { chain, address, record: None, unpresented: Mutex::default() }
    }

    /// Takes up a transfer that was [recorded](Self::with_record) and may not have been presented. An unsent
    /// transfer is sent. If it was presented already, only the next payment that uses it is refused.
    ///
    /// # Errors
    /// [`NotOwn`].
    pub async fn resume(&self, recorded: &str) -> Result<(), NotOwn> {
        let raw = recorded.trim().strip_prefix("0x").and_then(|digits| hex::decode(digits).ok());
        let resumed = self.chain.resume(&raw.ok_or(NotOwn)?).await;
        let (transfer, Sealed { hash, .. }) = resumed.ok_or(NotOwn)?;
        let mut all = self.all();
        if !all.iter().any(|known| known.hash == hash) {
            all.push(Unpresented { transfer, hash, held: false });
        }
        Ok(())
    }

    /// Returns the payload that proves a transfer for an offer.
    async fn proof(&self, unsigned: &TransferProofUnsigned<'_>) -> Result<Json, SignError> {
        let key = self.chain.key().ok_or(SignError::Unavailable)?;
        let signature = key.sign(unsigned.digest()).await?;
        if Recovery.recover(unsigned.digest(), &signature) != Some(self.address.0) {
            return Err(SignError::Invalid);
        }
        let mut buffer = vec![0; PAYLOAD_BYTES];
        let payload = match unsigned.payload(&signature, &mut buffer) {
            Err(EncodeError::BufferTooSmall { needed }) => {
                buffer.resize(usize::try_from(needed.get()).unwrap_or_default(), 0);
                unsigned.payload(&signature, &mut buffer)
            }
            written => written,
        };
        payload.map(Into::into).map_err(|_| SignError::Invalid)
    }
}

fn address(text: JsonStr<'_>) -> Option<Address> {
    text.as_str().and_then(Address::parse)
}

/// Returns the transfer that would pay an offer.
fn transfer_for(offer: &wire::PaymentRequirements<'_>, from: Address) -> Result<Transfer, Reason> {
    let address = |text| address(text).ok_or(Reason::InvalidPaymentRequirements);
    let (asset, pay_to) = (address(offer.asset)?, address(offer.pay_to)?);
    if pay_to == from {
        return Err(Reason::InvalidExactEvmRecipientMismatch);
    }
    // The hash does not matter for this check.
    TransferProofUnsigned::new(offer, "", from, [0; 32])?;
    Ok(Transfer { from, pay_to, asset, amount: offer.amount })
}

impl<K: Send + Sync> Wallet for TransferWallet<K> {
    fn pays(&self, offer: &wire::PaymentRequirements<'_>) -> bool {
        offer.network.eip155() == Some(self.chain.settings.chain_id)
            && transfer_for(offer, self.address).is_ok()
    }

    fn pays_to(&self, offer: &wire::PaymentRequirements<'_>) -> bool {
        let payee = address(offer.pay_to);
        let typed = offer.pay_to.as_str().and_then(Address::parse_typed);
        let others = [Some(Address([0; 20])), address(offer.asset), Some(self.address)];
        typed.is_some() && !others.contains(&payee)
    }

    fn decimals(&self, offer: &wire::PaymentRequirements<'_>) -> Option<u8> {
        let asset = assets::find(offer.network.eip155()?, address(offer.asset)?)?;
        Some(asset.decimals)
    }
}

impl<K: AsyncSigner<Secp256k1> + Send> PaymentSigner for TransferWallet<K> {
    async fn sign(
        &self,
        resource: Option<&str>,
        offer: &PaymentRequirements,
        _now: u64,
        _random: [u8; 32],
    ) -> Result<Json, SignFailure> {
        // Offers of version 1 name the resource themselves.
        let resource = offer.v1.as_ref().and_then(|v1| v1.resource.as_deref()).or(resource);
        let resource = resource.ok_or(SignFailure::Offer(Reason::InvalidPaymentRequirements))?;
        let view = offer.as_view();
        if view.network.eip155() != Some(self.chain.settings.chain_id) {
            return Err(SignFailure::Offer(Reason::InvalidNetwork));
        }
        let transfer = transfer_for(&view, self.address).map_err(SignFailure::Offer)?;
        let unsigned = |hash: B256| {
            TransferProofUnsigned::new(&view, resource, self.address, hash.0)
                .map_err(SignFailure::Offer)
        };
        // The proof is signed before anything is sent, so that failures cost nothing.
        let (held, proof) = match self.take(&transfer) {
            Some(held) => {
                let proof = self.proof(&unsigned(held.hash)?).await;
                let proof = proof.map_err(|_| SignFailure::Sent(held.hash.0))?;
                (held, proof)
            }
            None => {
                let prepared = self.chain.prepare_transfer(&transfer).await;
                let prepared = prepared.map_err(|reason| SignFailure::Transfer(reason.into()))?;
                let Sealed { hash, raw } = prepared.sealed.clone();
                let proof = self.proof(&unsigned(hash)?).await.map_err(SignFailure::Sign)?;
                self.write_down(&raw).map_err(|error| {
                    tracing::error!(%error, "transfer could not be recorded, and was not sent");
                    SignFailure::Transfer(TransferFailure::Record)
                })?;
                let held = self.keep(transfer, hash);
                self.chain.send(prepared).await;
                (held, proof)
            }
        };
        match self.chain.made(&transfer, held.hash).await {
            Ok(()) => {
                held.done();
                Ok(proof)
            }
            Err(reason @ Reason::InvalidExactEvmTransactionFailed) => {
                held.done();
                Err(SignFailure::Transfer(TransferFailure::Failed(reason)))
            }
            Err(_) => Err(SignFailure::Sent(held.hash.0)),
        }
    }
}

impl<K> TransferWallet<K> {
    fn write_down(&self, raw: &Arc<[u8]>) -> io::Result<()> {
        let Some(record) = &self.record else { return Ok(()) };
        record(&format!("0x{}", hex::encode(raw)))
    }
}

/// The failure of a transfer that was not sent.
impl From<Reason> for TransferFailure {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::UnexpectedSettleError => Self::Node,
            Reason::Busy => Self::Gas,
            reason => Self::Failed(reason),
        }
    }
}

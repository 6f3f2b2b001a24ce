//! The schemes this library knows, as a server checks them, and their payments.
//!
//! Sellers and facilitators check by [`Exact`] by default. A pair of schemes, such as `(Exact, Mine)`,
//! accepts the payments of both.
//!
//! # A scheme of your own
//! The package `tests/outside` of this crate adds one by public API alone: points on a loyalty card, with a
//! ledger, a claim store and a carrier over TCP. The steps are these:
//!
//! 1. **The payment** is a type with [`Payment`]: its identity (`claim_key`), its end (`expires_at`) and its
//!    payer. Two presentations of one payment must have one identity. If only a chain can prove the payer's
//!    agreement, the scheme returns the payment as [`Unproven`].
//! 2. **The scheme** is a type with [`Scheme`]. `handles` returns whether an offer is its own, by scheme and
//!    network. `check_offer` is for sellers: a route with an offer that nobody can pay does not start.
//!    `check` compares the payload with the seller's own offer, never with the buyer's copy of it, and
//!    verifies the signature. Reasons without an official code are [`Reason::Own`], and `own_reason` returns
//!    their codes.
//! 3. **The ledger** moves the money: [`Networks`](crate::facilitator::ledger::Networks) lists the networks
//!    that it settles on, and [`Ledger<P>`](crate::facilitator::ledger::Ledger) settles payments of the
//!    scheme's type. The transaction's id is known before anything is sent, and `confirm` sends nothing. An
//!    EVM chain needs no ledger of your own. The payment has `OnEvm`, with the questions to the chain, the
//!    call to send and the log that proves it. `EvmLedger::with_scheme` settles it.
//! 4. **The facilitator** is [`LocalFacilitator::new`](crate::facilitator::LocalFacilitator::new) over that
//!    ledger, or over a pair of ledgers: `(Mine, evm)` settles what `(MyScheme, ExactOnEvm)` checks.
//!    `RemoteFacilitator::with_scheme` sets the scheme of a facilitator elsewhere.
//! 5. **The seller** needs nothing more: [`Seller::new`](crate::seller::Seller::new) checks by its
//!    facilitator's scheme, and passes the proof on to one in the same process.
//! 6. **The buyer's wallet** is a type with [`Wallet`](x402_core::buyer::Wallet), which selects the offers
//!    that it pays, and [`PaymentSigner`](crate::buyer::wallet::PaymentSigner). Wallets compose in pairs,
//!    too.
//! 7. **The store and the carrier** are a [`ClaimStore`](crate::store::ClaimStore), with `store::conformance`
//!    as its test, and a `Job` for the seller's driver beside a [`Transport`](crate::transport::Transport)
//!    for the buyer. Data beside the payment is an [extension](crate::extension).

use std::fmt;
use std::sync::{Arc, Mutex};

use x402_core::claim::ClaimKey;
use x402_core::crypto::ed25519::Dalek;
use x402_core::json::JsonStr;
use x402_core::wire::{PaymentPayload, PaymentRequirements};
use x402_core::{Either, Payment, Reason, Scheme, Unproven, Version};
use x402_evm::{
    Authorization, Eip3009Payload, Eip3009Payment, Eip3009Unproven, ExactEvm, TransferProof,
    TransferProofPayload, TransferProofPayment, check_but_signature,
};
use x402_svm::message::TRANSACTION_V1_BYTES;
use x402_svm::{
    AccountOf, Address, Asset, ExactSvm, Limits, Rules, SvmPayment, TokenProgram,
    associated_token_address,
};

use crate::base64;
use crate::crypto::Recovery;
use crate::lock;

/// Longest signature of a smart wallet, in bytes. It has room for the signatures of several keys or of a
/// passkey, with the call that deploys the wallet.
pub const CONTRACT_SIGNATURE_BYTES: usize = 4096;

/// The scheme `exact` on EVM networks and on Solana.
pub type Exact = (ExactOnEvm, ExactOnSvm);

/// A payment of [`Exact`].
pub type ExactPayment = Either<EvmPayment, SvmTransfer>;

/// A payment of [`ExactOnEvm`]: by an authorization, or by a transfer that the payer signed and claims to
/// have sent. The chain alone can show whether the transfer was made.
pub type EvmPayment = Either<Eip3009, Unproven<TransferProofPayment>>;

/// A payment by EIP-3009, of a key or, if a chain confirms it, of a smart wallet.
pub type Eip3009 = Either<Eip3009Payment, Unproven<Eip3009Contract>>;

/// A scheme that threads share.
pub trait SharedScheme:
    Scheme<Payment: Clone + fmt::Debug + Send + Sync + 'static> + Send + Sync + 'static
{
}

impl<S> SharedScheme for S where
    S: Scheme<Payment: Clone + fmt::Debug + Send + Sync + 'static> + Send + Sync + 'static
{
}

/// A payment by EIP-3009 whose signature was not made by the payer's key. A contract at the payer's address,
/// present or future, may accept it (ERC-1271, ERC-6492). The chain alone can show this.
#[derive(Clone, PartialEq, Eq)]
pub struct Eip3009Contract {
    unproven: Eip3009Unproven,
    signature: Box<[u8]>,
}

impl Eip3009Contract {
    /// Returns `None` unless the signature is `0x` and pairs of hexadecimal digits, of at most
    /// [`CONTRACT_SIGNATURE_BYTES`].
    fn read(unproven: Eip3009Unproven, signature: JsonStr<'_>) -> Option<Self> {
        let digits = signature.as_str()?.strip_prefix("0x")?;
        if digits.len() > 2 * CONTRACT_SIGNATURE_BYTES {
            return None;
        }
        let signature = hex::decode(digits).ok()?.into();
        Some(Self { unproven, signature })
    }

    /// Chain id of the network.
    pub const fn chain_id(&self) -> u64 {
        self.unproven.chain_id
    }

    /// The token.
    pub const fn asset(&self) -> x402_evm::Address {
        self.unproven.asset
    }

    /// The authorization, if the payer signed it.
    pub const fn authorization(&self) -> &Authorization {
        &self.unproven.authorization
    }

    /// The signature as sent, ERC-6492's wrapper included; it may be empty.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }
}

/// Does not show the signature.
impl fmt::Debug for Eip3009Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.unproven.fmt(f)
    }
}

/// A payment on Solana, with the transaction that makes it.
#[derive(Clone, PartialEq, Eq)]
pub struct SvmTransfer {
    payment: SvmPayment,
    transaction: Box<[u8]>,
}

impl SvmTransfer {
    /// The checked facts.
    pub const fn payment(&self) -> &SvmPayment {
        &self.payment
    }

    /// The transaction, signed by the payer. The fee payer's signature must be put first.
    pub fn transaction(&self) -> &[u8] {
        &self.transaction
    }
}

/// Hides the transaction: anybody who has it can present it.
impl fmt::Debug for SvmTransfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.payment.fmt(f)
    }
}

impl Payment for Eip3009Contract {
    type Payer = x402_evm::Address;

    fn claim_key(&self) -> ClaimKey {
        self.unproven.claim_key()
    }

    fn expires_at(&self) -> u64 {
        self.unproven.expires_at()
    }

    fn payer(&self) -> x402_evm::Address {
        self.unproven.authorization.from
    }

    fn late(&self, now: u64) -> Option<Reason> {
        self.unproven.late(now)
    }

    /// Any bytes pass as a contract's signature.
    fn is_signed(&self) -> bool {
        false
    }
}

impl Payment for SvmTransfer {
    type Payer = Address;

    fn claim_key(&self) -> ClaimKey {
        self.payment.claim_key()
    }

    fn expires_at(&self) -> u64 {
        self.payment.expires_at()
    }

    fn payer(&self) -> Address {
        self.payment.payer
    }
}

/// The scheme `exact` on EVM networks. By default it accepts only payments by EIP-3009 that the payer's key
/// signed.
///
/// Both other kinds pass the gate as [`Unproven`]. They need a [`Ledger`](crate::facilitator::ledger::Ledger)
/// that asks the chain before anything is served, or a facilitator that has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExactOnEvm {
    /// Whether to accept payments by EIP-3009 with signatures of smart wallets (ERC-1271, ERC-6492), as
    /// [`Eip3009Contract`]. Any bytes pass the gate as such a signature, so everybody can cause work for the
    /// ledger in anybody's name.
    pub smart_wallets: bool,
    /// Whether to accept payments by a transfer that the buyer sent itself: see [`TransferProof`] for their
    /// weaknesses. Sellers that offer them should set
    /// [`Binding::must_name_url`](crate::seller::Binding::must_name_url), since such a buyer signs the
    /// resource that it names.
    pub transfer_proofs: bool,
}

const EIP3009: ExactEvm<Recovery> = ExactEvm::with_recover(Recovery);

impl ExactOnEvm {
    const fn transfers(self) -> Option<TransferProof<Recovery>> {
        if self.transfer_proofs { Some(TransferProof::with_recover(Recovery)) } else { None }
    }

    fn check_eip3009(
        self,
        payload: &PaymentPayload<'_>,
        requirements: &PaymentRequirements<'_>,
        now: u64,
    ) -> Result<Eip3009, Reason> {
        match EIP3009.check(payload, requirements, now) {
            Err(invalid @ Reason::InvalidExactEvmSignature) if self.smart_wallets => {
                let checked = check_but_signature(payload, requirements, now);
                let (unproven, signature) = checked.map_err(|reason| match reason {
                    // A late payment keeps this reason, so that its outcome can be looked up.
                    Reason::InvalidExactEvmPayloadAuthorizationValidBefore => reason,
                    // A signature in the form of a key's is judged first.
                    _ if is_signed_by_key(payload) => invalid,
                    _ => reason,
                })?;
                let payment = Eip3009Contract::read(unproven, signature).ok_or(invalid)?;
                Ok(Either::Second(Unproven::new(payment)))
            }
            checked => checked.map(Either::First),
        }
    }
}

/// Returns whether a payment has a signature in the form of a key's.
fn is_signed_by_key(payload: &PaymentPayload<'_>) -> bool {
    let payload = Eip3009Payload::read(payload.payload);
    payload.is_ok_and(|payload| payload.recoverable_signature().is_some())
}

impl Scheme for ExactOnEvm {
    type Payment = EvmPayment;

    fn handles(&self, offer: &PaymentRequirements<'_>) -> bool {
        EIP3009.handles(offer)
    }

    fn check_offer(&self, offer: &PaymentRequirements<'_>) -> Result<(), Reason> {
        (self.transfers(), EIP3009).check_offer(offer)
    }

    fn check(
        &self,
        payload: &PaymentPayload<'_>,
        requirements: &PaymentRequirements<'_>,
        now: u64,
    ) -> Result<EvmPayment, Reason> {
        // A buyer that knows only EIP-3009 pays an offer of a transfer by EIP-3009.
        match self.transfers().filter(|_| TransferProofPayload::is_one(payload.payload)) {
            Some(scheme) => scheme.check(payload, requirements, now).map(Either::Second),
            None => self.check_eip3009(payload, requirements, now).map(Either::First),
        }
    }

    fn in_time_until(
        &self,
        payload: &PaymentPayload<'_>,
        requirements: &PaymentRequirements<'_>,
        refused: Reason,
    ) -> Option<u64> {
        EIP3009.in_time_until(payload, requirements, refused)
    }

    fn named_payer(
        &self,
        payload: &PaymentPayload<'_>,
        requirements: &PaymentRequirements<'_>,
    ) -> Option<<EvmPayment as Payment>::Payer> {
        let by_eip3009 = EIP3009
            .named_payer(payload, requirements)
            .map(|payer| Either::First(Either::First(payer)));
        by_eip3009.or_else(|| {
            let proof = TransferProof::with_recover(Recovery).named_payer(payload, requirements);
            proof.map(Either::Second)
        })
    }
}

/// A function that finds the address at a place of an address table. See [`Rules::resolve`].
pub type Resolve = Arc<dyn Fn(Address, u8) -> Option<Address> + Send + Sync>;

/// The scheme `exact` on Solana, with [`Rules`] of its own.
#[derive(Clone, Default)]
pub struct ExactOnSvm {
    /// The highest cost of a payment for the fee payer.
    pub limits: Limits,
    /// Whether more than the amount may be paid. Less is always refused.
    pub over_payment: bool,
    /// The fee payers whose keys the caller has. With `None`, the offer's fee payer is accepted.
    pub fee_payers: Option<Vec<Address>>,
    /// Tokens the caller vouches for besides the known ones.
    pub assets: Vec<Asset<'static>>,
    /// Finds addresses in tables. Without it, transactions that use tables are refused.
    pub resolve: Option<Resolve>,
    /// Token accounts of payees that were paid before; shared by clones.
    pub accounts: Accounts,
}

impl ExactOnSvm {
    /// Returns the allocator-free scheme of `x402-svm`, with these rules.
    fn exact<'a>(
        &'a self,
        account: Option<AccountOf<'a>>,
    ) -> ExactSvm<'a, Dalek, TRANSACTION_V1_BYTES> {
        ExactSvm::with_verify(Dalek, self.rules(account))
    }

    fn rules<'a>(&'a self, account: Option<AccountOf<'a>>) -> Rules<'a> {
        let resolve = self.resolve.as_deref();
        Rules {
            limits: self.limits,
            over_payment: self.over_payment,
            fee_payers: self.fee_payers.as_deref(),
            assets: &self.assets,
            resolve: resolve.map(|resolve| -> x402_svm::Resolve<'_> { resolve }),
            account,
            base64: Some(base64::decode),
        }
    }
}

impl fmt::Debug for ExactOnSvm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rules(None).fmt(f)
    }
}

impl Scheme for ExactOnSvm {
    type Payment = SvmTransfer;

    fn handles(&self, offer: &PaymentRequirements<'_>) -> bool {
        self.exact(None).handles(offer)
    }

    fn check_offer(&self, offer: &PaymentRequirements<'_>) -> Result<(), Reason> {
        self.exact(None).check_offer(offer)
    }

    fn check(
        &self,
        payload: &PaymentPayload<'_>,
        requirements: &PaymentRequirements<'_>,
        now: u64,
    ) -> Result<SvmTransfer, Reason> {
        let account = |owner, program, mint| self.accounts.of(owner, program, mint);
        let scheme = self.exact(Some(&account));
        let mut scratch = [0; TRANSACTION_V1_BYTES];
        let (payment, transaction) = scheme.check_into(payload, requirements, now, &mut scratch)?;
        Ok(SvmTransfer { payment, transaction: transaction.into() })
    }

    fn may_differ(&self, offer: &PaymentRequirements<'_>) -> &'static [&'static str] {
        self.exact(None).may_differ(offer)
    }

    fn named_payer(
        &self,
        payload: &PaymentPayload<'_>,
        requirements: &PaymentRequirements<'_>,
    ) -> Option<Address> {
        self.exact(None).named_payer(payload, requirements)
    }

    fn spelled(
        &self,
        reason: Reason,
        requirements: &PaymentRequirements<'_>,
        version: Version,
    ) -> Reason {
        self.exact(None).spelled(reason, requirements, version)
    }
}

/// Number of [`Accounts`] that are kept.
const ACCOUNTS: usize = 256;

/// A cache of payees' token accounts. The derivation of one takes at least a tenth of the time of a
/// signature. There is room for 256. Each account has one place, and the newest one keeps it.
#[derive(Clone)]
pub struct Accounts(Arc<[Mutex<Option<Account>>]>);

/// The account where `owner` holds the tokens of `mint`.
#[derive(Clone, Copy)]
struct Account {
    owner: Address,
    program: TokenProgram,
    mint: Address,
    address: Address,
}

impl Accounts {
    /// Returns the associated account, from memory or derived.
    fn of(&self, owner: Address, program: TokenProgram, mint: Address) -> Option<Address> {
        // Any bytes of an address will do: owners of colliding addresses only cause derivations of their own
        // accounts.
        let place = usize::from(owner.0[8] ^ mint.0[8]) % ACCOUNTS;
        let place = || lock(&self.0[place]);
        let same =
            |known: &Account| (known.owner, known.program, known.mint) == (owner, program, mint);
        if let Some(known) = place().filter(same) {
            return Some(known.address);
        }
        let address = associated_token_address(&Dalek, owner, program, mint)?;
        *place() = Some(Account { owner, program, mint, address });
        Some(address)
    }
}

impl Default for Accounts {
    fn default() -> Self {
        Self((0..ACCOUNTS).map(|_| Mutex::default()).collect())
    }
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Accounts")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_the_derived_one_whoever_was_there_before() {
        let accounts = Accounts::default();
        let mut owners: Vec<_> = (0..40).map(|seed| Address([seed; 32])).collect();
        // All of these share the first one's place.
        owners.extend((1..5).map(|last| {
            let mut owner = [0; 32];
            owner[31] = last;
            Address(owner)
        }));
        let mint = Address([9; 32]);
        for _ in 0..2 {
            for program in [TokenProgram::Token, TokenProgram::Token2022] {
                for owner in &owners {
                    let derived = associated_token_address(&Dalek, *owner, program, mint);
                    for _ in 0..2 {
                        assert_eq!(accounts.of(*owner, program, mint), derived);
                        assert_eq!(accounts.clone().of(mint, program, *owner), {
                            associated_token_address(&Dalek, mint, program, *owner)
                        });
                    }
                }
            }
        }
        let kept = accounts.0.iter().filter(|place| place.lock().unwrap().is_some()).count();
        assert!((30..=ACCOUNTS).contains(&kept), "{kept}");
    }
}

//! The schemes this library knows, as a server checks them, and their payments.
//!
//! Sellers and facilitators check by [`Exact`] unless they are given another [`Scheme`]. A pair of schemes,
//! like `(Exact, Mine)`, takes the payments of both.
//!
//! # A scheme of your own
//! The package `tests/outside` of this crate adds one by public API alone: points on a loyalty card, with a
//! ledger, a claim store and a carrier over TCP. The steps are these:
//!
//! 1. **The payment** is a type with [`Payment`]: its identity (`claim_key`), its end (`expires_at`) and its
//!    payer. Two presentations of one payment must have one identity. If only a chain can say that the payer
//!    agreed, the scheme returns it as [`Unproven`].
//! 2. **The scheme** is a type with [`Scheme`]. `handles` says which offers are its own, by scheme and network.
//!    `check_offer` is for sellers: a route with an offer that nobody can pay does not start. `check` compares
//!    the payload with the seller's own offer, never with the buyer's copy of it, and verifies the
//!    signature. Reasons without an official code are [`Reason::Own`], whose codes `own_reason` spells.
//! 3. **The ledger** moves the money: [`Networks`](crate::facilitator::ledger::Networks) says what it settles, and
//!    [`Ledger<P>`](crate::facilitator::ledger::Ledger) settles payments of the scheme's type. The transaction's id
//!    is known before anything is sent, and `confirm` sends nothing. On an EVM chain no ledger has to be written:
//!    the payment says by `OnEvm` what to ask, what to send and which log proves it, and `EvmLedger::with_scheme`
//!    settles it.
//! 4. **The facilitator** is [`LocalFacilitator::new`](crate::facilitator::LocalFacilitator::new) over that
//!    ledger, or over a pair of ledgers: `(Mine, evm)` settles what `(MyScheme, ExactOnEvm)` checks. A
//!    facilitator elsewhere is given the scheme by `RemoteFacilitator::with_scheme`.
//! 5. **The seller** needs nothing more: [`Seller::new`](crate::seller::Seller::new) checks by its facilitator's
//!    scheme, and passes the proof on to one in the same process.
//! 6. **The buyer's wallet** is a type with [`Wallet`](x402_core::buyer::Wallet), which says what it pays, and
//!    [`PaymentSigner`](crate::buyer::wallet::PaymentSigner). Wallets compose in pairs, too.
//! 7. **The store and the carrier** are a [`ClaimStore`](crate::store::ClaimStore), with
//!    `store::conformance` as its test, and a `Job` for the seller's driver beside a
//!    [`Transport`](crate::transport::Transport) for the buyer. What is beside the payment is an
//!    [extension](crate::extension).

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

/// Longest signature of a smart wallet, in bytes: several keys' or a passkey's, with what deploys
/// the wallet.
pub const CONTRACT_SIGNATURE_BYTES: usize = 4096;

/// The scheme `exact` on EVM networks and on Solana.
pub type Exact = (ExactOnEvm, ExactOnSvm);

/// A payment of [`Exact`].
pub type ExactPayment = Either<EvmPayment, SvmTransfer>;

/// A payment of [`ExactOnEvm`]: by an authorization, or by a transfer that the payer signed, and says that it
/// has sent. Whether the transfer was made the chain alone can say.
pub type EvmPayment = Either<Eip3009, Unproven<TransferProofPayment>>;

/// A payment by EIP-3009, of a key or, perhaps, of a smart wallet.
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

/// A payment by EIP-3009 with a signature that is not one of the payer's key. If there is a contract
/// at the payer's address, or can be, it may be one that the contract takes (ERC-1271, ERC-6492):
/// the chain alone can say.
#[derive(Clone, PartialEq, Eq)]
pub struct Eip3009Contract {
    unproven: Eip3009Unproven,
    signature: Box<[u8]>,
}

impl Eip3009Contract {
    /// `None` for a signature that is not `0x` and pairs of hexadecimal digits, or longer than
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

    /// The transaction, signed by the payer. The fee payer's signature is to be put first.
    pub fn transaction(&self) -> &[u8] {
        &self.transaction
    }
}

/// Does not show the transaction: whoever has it can present it.
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

/// The scheme `exact` on EVM networks: payments by EIP-3009 that the payer's key signed, and nothing else
/// unless told.
///
/// Either of the rest needs a [`Ledger`](crate::facilitator::ledger::Ledger) that asks the chain, or a facilitator that
/// has one, before anything is served: such a payment passes the gate [`Unproven`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExactOnEvm {
    /// Payments by EIP-3009 with signatures of smart wallets (ERC-1271, ERC-6492), as
    /// [`Eip3009Contract`]. Any bytes pass the gate as such a signature, so everybody can
    /// make work for the ledger in anybody's name.
    pub smart_wallets: bool,
    /// Payments by a transfer the buyer sent itself: see [`TransferProof`] for what is weak about them. Sellers
    /// that offer them should have [`Binding::must_name_url`](crate::seller::Binding::must_name_url), since such a buyer signs the
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
                    // Late, it is asked about to find out what became of it.
                    Reason::InvalidExactEvmPayloadAuthorizationValidBefore => reason,
                    // A key's signature, as it seems, is looked at first.
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

/// Whether a payment has a signature in the form that keys give.
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
        // A buyer that knows EIP-3009 only pays the offer of a transfer by it.
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

/// Finds the address at a place of an address table. See [`Rules::resolve`].
pub type Resolve = Arc<dyn Fn(Address, u8) -> Option<Address> + Send + Sync>;

/// The scheme `exact` on Solana, with [`Rules`] of its own.
#[derive(Clone, Default)]
pub struct ExactOnSvm {
    /// The most a payment may cost the fee payer.
    pub limits: Limits,
    /// Whether more than the amount may be paid; less never.
    pub over_payment: bool,
    /// The fee payers whose keys the caller has; `None` takes whichever the offer names.
    pub fee_payers: Option<Vec<Address>>,
    /// Tokens the caller vouches for besides the known ones.
    pub assets: Vec<Asset<'static>>,
    /// Finds addresses in tables; transactions that use tables are refused without it.
    pub resolve: Option<Resolve>,
    /// Token accounts of payees that were paid before; shared by clones.
    pub accounts: Accounts,
}

impl ExactOnSvm {
    /// The scheme without an allocator, by these rules.
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

/// How many [`Accounts`] are kept.
const ACCOUNTS: usize = 256;

/// The token accounts of payees, found once: to derive one takes a tenth of what a signature takes, or
/// more. There is room for 256; each has one place to be in, and the last to come stays there.
#[derive(Clone)]
pub struct Accounts(Arc<[Mutex<Option<Account>>]>);

/// Where `owner` holds the tokens of `mint`.
#[derive(Clone, Copy)]
struct Account {
    owner: Address,
    program: TokenProgram,
    mint: Address,
    address: Address,
}

impl Accounts {
    /// The associated account, from memory or derived.
    fn of(&self, owner: Address, program: TokenProgram, mint: Address) -> Option<Address> {
        // Any bytes of an address will do: whoever makes many collide only gets his own derived.
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
        // All in the first one's place.
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

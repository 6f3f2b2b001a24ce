//! Payments of every scheme this library knows, as one type, and the checks that make them.

#[cfg(feature = "verifiers")]
use std::cell::OnceCell;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use x402_core::claim::ClaimKey;
use x402_core::crypto::ed25519::Dalek;
use x402_core::json::JsonStr;
use x402_core::wire::{PaymentPayload, PaymentRequirements};
use x402_core::{Reason, Scheme, Version};
use x402_evm::{
    Authorization, Eip3009Payload, Eip3009Payment, Eip3009Unproven, ExactEvm, SETTLEMENT_SECONDS,
    TransferProof, TransferProofPayload, TransferProofPayment, check_but_signature,
};
use x402_svm::message::{TRANSACTION_V1_BYTES, Transaction};
use x402_svm::{
    AccountOf, Address, Asset, ExactSvm, Limits, Rules, SvmPayment, TokenProgram,
    associated_token_address,
};

use crate::base64;
use crate::crypto::Keys;
#[cfg(feature = "verifiers")]
use crate::crypto::Question;
#[cfg(feature = "verifiers")]
use crate::verifiers::Verifiers;

/// Longest signature of a smart wallet, in bytes: several keys' or a passkey's, with what deploys
/// the wallet.
pub const CONTRACT_SIGNATURE_BYTES: usize = 4096;

/// A payment that passed every check that needs no chain.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Payment {
    /// `exact` on an EVM network, by EIP-3009.
    Eip3009(Eip3009Payment),
    /// The same, of a smart wallet perhaps. **Its signature is not proven**: until
    /// [`Ledger::check`](crate::ledger::Ledger::check) says so, nobody agreed to pay. There is none
    /// unless [`EvmRules::smart_wallets`] are taken.
    Eip3009Contract(Eip3009Contract),
    /// `exact` on an EVM network, by a transfer that the payer says, and signed, it has sent. **That
    /// it was made is not proven** until [`Ledger::check`](crate::ledger::Ledger::check) says so.
    /// There is none unless [`EvmRules::transfer_proofs`] are taken.
    TransferProof(TransferProofPayment),
    /// `exact` on a Solana network.
    Svm(SvmTransfer),
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

    /// What would be authorised.
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
    /// What was checked.
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

impl Payment {
    /// Who pays, as the network writes addresses.
    pub fn payer(&self) -> String {
        match self {
            Self::Eip3009(payment) => payment.authorization.from.to_string(),
            Self::Eip3009Contract(payment) => payment.authorization().from.to_string(),
            Self::TransferProof(payment) => payment.from.to_string(),
            Self::Svm(transfer) => transfer.payment.payer.to_string(),
        }
    }
}

impl x402_core::Payment for Payment {
    fn claim_key(&self) -> ClaimKey {
        match self {
            Self::Eip3009(payment) => payment.claim_key(),
            Self::Eip3009Contract(payment) => payment.unproven.claim_key(),
            Self::TransferProof(payment) => payment.claim_key(),
            Self::Svm(transfer) => transfer.payment.claim_key(),
        }
    }

    fn expires_at(&self) -> u64 {
        match self {
            Self::Eip3009(payment) => payment.expires_at(),
            Self::Eip3009Contract(payment) => payment.unproven.expires_at(),
            Self::TransferProof(payment) => payment.expires_at(),
            Self::Svm(transfer) => transfer.payment.expires_at(),
        }
    }
}

/// Finds the address at a place of an address table. See [`Rules::resolve`].
pub type Resolve = Arc<dyn Fn(Address, u8) -> Option<Address> + Send + Sync>;

/// What a verifier decides for itself about payments on Solana: [`Rules`], owned.
#[derive(Clone, Default)]
pub struct SvmRules {
    /// What a payment may cost the fee payer.
    pub limits: Limits,
    /// Whether more than the amount may be paid; less never.
    pub over_payment: bool,
    /// The fee payers whose keys the caller has; `None` takes whichever the offer names.
    pub fee_payers: Option<Vec<Address>>,
    /// Tokens the caller vouches for besides the known ones.
    pub assets: Vec<Asset<'static>>,
    /// Finds addresses in tables; transactions that use tables are refused without it.
    pub resolve: Option<Resolve>,
}

impl SvmRules {
    fn view<'a>(&'a self, account: Option<AccountOf<'a>>) -> Rules<'a> {
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

impl fmt::Debug for SvmRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view(None).fmt(f)
    }
}

/// What a verifier takes on EVM networks besides payments by EIP-3009 that the payer's key signed:
/// nothing, unless told.
///
/// Either needs a [`Ledger`](crate::ledger::Ledger) that asks the chain, or a facilitator that has
/// one, before anything is served: what passes the gate so may be the word of somebody who does not
/// pay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EvmRules {
    /// Payments by EIP-3009 with signatures of smart wallets (ERC-1271, ERC-6492), as
    /// [`Payment::Eip3009Contract`]. Any bytes pass the gate as such a signature, so everybody can
    /// make work for the ledger in anybody's name.
    pub smart_wallets: bool,
    /// Payments by a transfer the buyer sent itself, as [`Payment::TransferProof`]: see
    /// [`TransferProof`] for what is weak about them.
    pub transfer_proofs: bool,
}

impl EvmRules {
    fn check(
        self,
        keys: Keys<'_>,
        payload: &PaymentPayload<'_>,
        requirements: &PaymentRequirements<'_>,
        now: u64,
    ) -> Result<Payment, Reason> {
        if self.transfer_proofs && TransferProofPayload::is_one(payload.payload) {
            let scheme = TransferProof::with_recover(keys);
            return scheme.check(payload, requirements, now).map(Payment::TransferProof);
        }
        match ExactEvm::with_recover(keys).check(payload, requirements, now) {
            Err(invalid @ Reason::InvalidExactEvmSignature) if self.smart_wallets => {
                let checked = check_but_signature(payload, requirements, now);
                let (unproven, signature) = checked.map_err(|reason| match reason {
                    // Whoever asks late is to find out what became of it.
                    Reason::InvalidExactEvmPayloadAuthorizationValidBefore => reason,
                    // What looks like a key's signature is looked at first.
                    _ if is_signed_by_key(payload) => invalid,
                    _ => reason,
                })?;
                let payment = Eip3009Contract::read(unproven, signature).ok_or(invalid)?;
                Ok(Payment::Eip3009Contract(payment))
            }
            checked => checked.map(Payment::Eip3009),
        }
    }
}

/// Whether a payment has a signature in the form that keys give.
fn is_signed_by_key(payload: &PaymentPayload<'_>) -> bool {
    let payload = Eip3009Payload::read(payload.payload);
    payload.is_ok_and(|payload| payload.recoverable_signature().is_some())
}

/// Every scheme this library checks, chosen by the network of the requirements.
#[derive(Clone, Debug, Default)]
pub struct Schemes {
    /// What is decided about payments on EVM networks.
    pub evm: EvmRules,
    /// What is decided about payments on Solana.
    pub svm: SvmRules,
    /// Token accounts of payees that were paid before; shared by clones.
    pub accounts: Accounts,
}

impl Scheme for Schemes {
    type Payment = Payment;

    fn check(
        &self,
        payload: &PaymentPayload<'_>,
        requirements: &PaymentRequirements<'_>,
        now: u64,
    ) -> Result<Payment, Reason> {
        Checks { schemes: self, keys: Keys::Here }.check(payload, requirements, now)
    }
}

/// [`Schemes`], with a way to check signatures.
pub(crate) struct Checks<'a> {
    schemes: &'a Schemes,
    keys: Keys<'a>,
}

impl Scheme for Checks<'_> {
    type Payment = Payment;

    fn check(
        &self,
        payload: &PaymentPayload<'_>,
        requirements: &PaymentRequirements<'_>,
        now: u64,
    ) -> Result<Payment, Reason> {
        let Schemes { evm, svm, accounts } = self.schemes;
        if requirements.network.solana().is_none() {
            return evm.check(self.keys, payload, requirements, now);
        }
        let account = |owner, program, mint| accounts.of(owner, program, mint);
        let scheme = ExactSvm::<_>::with_verify(self.keys, svm.view(Some(&account)));
        let mut scratch = [0; TRANSACTION_V1_BYTES];
        let (payment, transaction) = scheme.check_into(payload, requirements, now, &mut scratch)?;
        Ok(Payment::Svm(SvmTransfer { payment, transaction: transaction.into() }))
    }
}

/// Where a gate's signatures are checked: in its own thread, unless there are others for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Checking {
    #[cfg(feature = "verifiers")]
    pub(crate) verifiers: Option<Arc<Verifiers>>,
}

impl Checking {
    /// What `gate` comes to, which may be run twice.
    pub(crate) async fn run<T, E: From<Reason>>(
        &self,
        schemes: &Schemes,
        gate: impl Fn(&Checks<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        #[cfg(feature = "verifiers")]
        if let Some(verifiers) = &self.verifiers {
            let question = match noted(schemes, &gate) {
                Ok(question) => Arc::new(question),
                Err(unasked) => return unasked,
            };
            let answer = verifiers.answer(&question).await?;
            return gate(&Checks { schemes, keys: Keys::Known(&question, answer) });
        }
        gate(&Checks { schemes, keys: Keys::Here })
    }
}

/// The first signature that a gate would have checked, or what it comes to if there is none. What it
/// comes to without an answer is nothing.
#[cfg(feature = "verifiers")]
fn noted<T, E>(
    schemes: &Schemes,
    gate: &impl Fn(&Checks<'_>) -> Result<T, E>,
) -> Result<Question, Result<T, E>> {
    let question = OnceCell::new();
    let outcome = gate(&Checks { schemes, keys: Keys::Noted(&question) });
    question.into_inner().ok_or(outcome)
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
        // No code panics while it holds the lock.
        let place = || self.0[place].lock().unwrap_or_else(PoisonError::into_inner);
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

/// Runs `check` for now. A payment that has expired is too late to be sent, and in time to find out
/// about if it was: it is checked for the last second it was accepted at, and the reason to refuse
/// it otherwise is given along. On Solana only the chain knows what has expired.
pub(crate) fn check_late<T>(
    payment: &PaymentPayload<'_>,
    now: u64,
    check: impl Fn(u64) -> Result<T, Reason>,
) -> Result<(T, Option<Reason>), Reason> {
    match check(now) {
        Err(reason @ Reason::InvalidExactEvmPayloadAuthorizationValidBefore) => {
            let payload = Eip3009Payload::read(payment.payload)?;
            let valid_before = payload.authorization.valid_before.as_u64().ok_or(reason)?;
            let then = valid_before.checked_sub(SETTLEMENT_SECONDS).ok_or(reason)?;
            // It ends too late, not too early.
            if then >= now {
                return Err(reason);
            }
            Ok((check(then)?, Some(reason)))
        }
        checked => Ok((checked?, None)),
    }
}

/// A ledger's reason as the protocol's version spells it: on Solana, version 1 has no prefix.
pub(crate) const fn spelled(reason: Reason, version: Version) -> Reason {
    match (version, reason) {
        (Version::V1, Reason::InvalidExactSvmTransactionSimulationFailed) => {
            Reason::TransactionSimulationFailed
        }
        (Version::V1, Reason::InvalidExactSvmTransactionFailed) => Reason::TransactionFailed,
        _ => reason,
    }
}

/// Who says they pay, as far as a payment tells that may have passed no check: answers to refusals
/// name them too.
pub fn payer(payment: &PaymentPayload<'_>) -> Option<String> {
    if payment.network().solana().is_none() {
        let by_eip3009 = Eip3009Payload::read(payment.payload).map(|read| read.authorization.from);
        let proof = || TransferProofPayload::read(payment.payload).map(|read| read.from);
        return by_eip3009.or_else(|_| proof()).ok().map(|payer| payer.to_string());
    }
    let mut scratch = [0; TRANSACTION_V1_BYTES];
    let bytes = x402_svm::read_transaction(payment.payload, &mut scratch).ok()?;
    let transaction = Transaction::parse(bytes).ok()?;
    x402_svm::payer(transaction.message()).map(|payer| payer.to_string())
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

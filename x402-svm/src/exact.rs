use core::fmt;

use x402_core::buyer::Wallet;
use x402_core::claim::ClaimKey;
#[cfg(feature = "ed25519")]
use x402_core::crypto::ed25519::Dalek;
use x402_core::crypto::{Verify, sha256};
use x402_core::json::{JsonStr, RawJson};
use x402_core::wire::{PaymentPayload, PaymentRequirements};
use x402_core::{ParseError, Payment, Reason, Scheme, Version, base64};

use crate::message::{Instruction, Message, MessageVersion, TRANSACTION_V1_BYTES, Transaction};
use crate::programs::{
    COMPUTE_BUDGET, LIGHTHOUSE, MEMO, TransferChecked, compute_unit_limit, compute_unit_price,
};
use crate::{Address, Asset, Mint, TokenProgram, assets, associated_token_address};

/// Longest `extra.memo`, in bytes. Official clients request too few compute units above some 50
/// ASCII characters.
pub const MEMO_BYTES: usize = 256;

/// Seconds for which a settled payment is remembered at least. Its blockhash dies after 150 blocks,
/// about a minute; no clock outside the chain shows when exactly.
pub const REMEMBER_SECONDS: u64 = 600;

/// Micro-lamports in a lamport.
const MICRO: u64 = 1_000_000;

/// Instructions of a payment: budget, transfer and at most four others.
const INSTRUCTIONS: core::ops::RangeInclusive<usize> = 3..=7;
const INSTRUCTIONS_PROTOCOL_V1: core::ops::RangeInclusive<usize> = 3..=6;
/// Those of a v1 transaction, which has its budget elsewhere.
const INSTRUCTIONS_V1: core::ops::RangeInclusive<usize> = 1..=5;

/// The most that a payment may cost the payer of its fee. The buyer chooses the fee; the fee payer
/// pays it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most compute units.
    pub compute_units: u32,
    /// Most micro-lamports for a compute unit, as priority fee.
    pub compute_unit_price: u64,
    /// Most lamports of priority fee: price times units.
    pub priority_fee: u64,
    /// Most signatures, each of which costs 5000 lamports. Payer and fee payer are two; the
    /// specification allows no more (`scheme_exact_svm.md` §2.1.4).
    pub signatures: u8,
}

/// Most compute units that a verifier takes by default.
pub(crate) const COMPUTE_UNITS: u32 = 400_000;

impl Default for Limits {
    /// 400 000 units, 5 lamports each, but not more than 100 000 lamports in all; two signatures.
    fn default() -> Self {
        Self {
            compute_units: COMPUTE_UNITS,
            compute_unit_price: 5_000_000,
            priority_fee: 100_000,
            signatures: 2,
        }
    }
}

impl Limits {
    const fn check_units(&self, units: u32) -> Result<(), Reason> {
        if units > self.compute_units {
            return Err(
                Reason::InvalidExactSvmPayloadTransactionInstructionsComputeLimitInstructionTooHigh,
            );
        }
        Ok(())
    }

    /// `fee` is the whole priority fee, in micro-lamports.
    const fn check_fee(&self, above_price: bool, fee: u64) -> Result<(), Reason> {
        if above_price || fee > self.priority_fee.saturating_mul(MICRO) {
            return Err(
                Reason::InvalidExactSvmPayloadTransactionInstructionsComputePriceInstructionTooHigh,
            );
        }
        Ok(())
    }
}

/// Finds the address at a place of an address table. It is called for each account that an
/// instruction names, before any money is looked at: answer from memory.
pub type Resolve<'a> = &'a (dyn Fn(Address, u8) -> Option<Address> + Sync);

/// Returns the account in which an owner holds the tokens of a mint, known from before. Deriving it
/// costs a tenth of a signature's verification or more, and it is the same for all payments of one
/// seller.
///
/// Called with the owner, the token's program and the mint. The caller vouches for the answer: it must
/// be the one [`associated_token_address`] returned for those three, or a payment into another account
/// passes. `None` has it derived.
pub type AccountOf<'a> = &'a (dyn Fn(Address, TokenProgram, Address) -> Option<Address> + Sync);

/// Decodes base64 into the front of a buffer, with the answers of
/// [`base64::decode`](x402_core::base64::decode).
pub type DecodeBase64 = for<'s> fn(&[u8], &'s mut [u8]) -> Result<&'s [u8], ParseError>;

/// A payment by `exact` on Solana that passed every check that needs no chain.
///
/// The transaction itself is not in it; the party that settles takes the one whose message has the
/// [`ClaimKey`] as its SHA-256.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SvmPayment {
    /// Reference of the CAIP-2 network (`solana:` left out).
    pub network: heapless::String<32>,
    /// The payer: the authority over the account debited.
    pub payer: Address,
    /// The account that pays the fee, and signs last.
    pub fee_payer: Address,
    /// The mint of the token.
    pub asset: Address,
    /// The program of the token.
    pub token_program: TokenProgram,
    /// The account debited.
    pub source: Address,
    /// The account credited: `pay_to`'s associated one.
    pub destination: Address,
    /// The amount, in the token's smallest unit.
    pub amount: u64,
    /// The recent blockhash the transaction lives by.
    pub blockhash: [u8; 32],
    message_hash: [u8; 32],
    checked_at: u64,
}

impl fmt::Debug for SvmPayment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SvmPayment")
            .field("payer", &self.payer)
            .field("asset", &self.asset)
            .field("destination", &self.destination)
            .field("amount", &self.amount)
            .finish_non_exhaustive()
    }
}

impl Payment for SvmPayment {
    type Payer = Address;

    /// Returns the SHA-256 of the message: the chain itself allows each once.
    fn claim_key(&self) -> ClaimKey {
        ClaimKey::new(self.message_hash)
    }

    fn expires_at(&self) -> u64 {
        self.checked_at.saturating_add(REMEMBER_SECONDS)
    }

    fn payer(&self) -> Address {
        self.payer
    }
}

/// The scheme `exact` on Solana networks.
///
/// [`Scheme::check`] runs the official facilitator's static path, in its order and with its codes.
/// It is stricter where the official one accepts payments that cannot or should not be settled. It
/// refuses:
/// - signers other than payer and fee payer, and an authority that does not sign;
/// - the fee payer among the accounts of any instruction, and an address twice;
/// - no cap on compute units, and a budget or a transfer with bytes left over;
/// - an amount of zero, and a transfer from an account to itself;
/// - Token-2022 mints that nobody vouches for, and wrong decimals of vouched ones.
///
/// Legacy and v0 transactions are taken, v1 ones only if the offer's `extra.transactionVersions`
/// has a 1. Durable nonces, which would keep a payment alive for ever, are refused: their
/// instruction must come first, where the budget or the transfer is. Not supported: smart wallets,
/// whose transfers only a simulation shows.
///
/// `BYTES` is the longest transaction looked at, and the stack taken for it.
///
/// Source: `scheme_exact_svm.md`; SIMD-0385 for v1.
#[derive(Clone, Copy)]
#[cfg(feature = "ed25519")]
pub struct ExactSvm<'a, V = Dalek, const BYTES: usize = TRANSACTION_V1_BYTES> {
    verify: V,
    rules: Rules<'a>,
}

/// The scheme `exact` on Solana networks.
#[derive(Clone, Copy)]
#[cfg(not(feature = "ed25519"))]
pub struct ExactSvm<'a, V, const BYTES: usize = TRANSACTION_V1_BYTES> {
    verify: V,
    rules: Rules<'a>,
}

/// A verifier's own decisions.
#[derive(Clone, Copy, Default)]
pub struct Rules<'a> {
    /// The most that a payment may cost the fee payer.
    pub limits: Limits,
    /// Whether more than the amount may be paid; less never.
    pub over_payment: bool,
    /// The fee payers whose keys the caller has; `None` takes any the offer names, for a seller
    /// whose facilitator has the keys.
    pub fee_payers: Option<&'a [Address]>,
    /// Tokens the caller vouches for besides the known ones, with the [`Mint::parse`] result of
    /// their accounts. One that is not [safe](Mint::is_safe) is refused all the same.
    pub assets: &'a [Asset<'a>],
    /// Finds addresses in tables; transactions that use tables are refused without it.
    pub resolve: Option<Resolve<'a>>,
    /// Known accounts, for which the caller vouches: see [`AccountOf`]. Without it, each payment's
    /// is derived.
    pub account: Option<AccountOf<'a>>,
    /// Decodes the transaction's base64. Without it x402-core's does, in constant time; a transaction
    /// is no secret, so a faster decoder does as well.
    pub base64: Option<DecodeBase64>,
}

impl fmt::Debug for Rules<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules")
            .field("limits", &self.limits)
            .field("over_payment", &self.over_payment)
            .field("fee_payers", &self.fee_payers)
            .field("assets", &self.assets)
            .field("resolve", &self.resolve.is_some())
            .field("account", &self.account.is_some())
            .field("base64", &self.base64.is_some())
            .finish()
    }
}

impl<V, const BYTES: usize> fmt::Debug for ExactSvm<'_, V, BYTES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExactSvm").field("rules", &self.rules).finish_non_exhaustive()
    }
}

#[cfg(feature = "ed25519")]
impl<'a> ExactSvm<'a> {
    /// Makes the scheme with ed25519-dalek, for transactions of any length.
    pub const fn new(rules: Rules<'a>) -> Self {
        Self { verify: Dalek, rules }
    }
}

#[cfg(feature = "ed25519")]
impl Default for ExactSvm<'_> {
    fn default() -> Self {
        Self::new(Rules::default())
    }
}

impl<'a, V: Verify, const BYTES: usize> ExactSvm<'a, V, BYTES> {
    /// Uses another way to verify signatures.
    pub const fn with_verify(verify: V, rules: Rules<'a>) -> Self {
        Self { verify, rules }
    }

    /// Checks as [`Scheme::check`], and also returns the transaction, decoded into `scratch`, which
    /// bounds its length in place of `BYTES`.
    ///
    /// # Errors
    /// Those of [`Scheme::check`].
    pub fn check_into<'s>(
        &self,
        payload: &PaymentPayload<'_>,
        requirements: &PaymentRequirements<'_>,
        now: u64,
        scratch: &'s mut [u8],
    ) -> Result<(SvmPayment, &'s [u8]), Reason> {
        let offer = self.check_offer(payload, requirements)?;
        let decode = self.rules.base64.unwrap_or(base64::decode);
        let transaction = read_transaction_by(decode, payload.payload, scratch)?;
        Ok((self.check_bytes(transaction, &offer, now)?, transaction))
    }

    /// Runs the checks that come before the transaction is looked at.
    fn check_offer<'o>(
        &self,
        payload: &PaymentPayload<'_>,
        requirements: &PaymentRequirements<'o>,
    ) -> Result<Offer<'o>, Reason> {
        let version = payload.x402_version();
        let by_version = |v1, v2| if version == Version::V1 { v1 } else { v2 };
        if payload.scheme() != "exact" || requirements.scheme != "exact" {
            return Err(by_version(
                Reason::UnsupportedScheme,
                Reason::InvalidExactSvmUnsupportedScheme,
            ));
        }
        if !payload.network().is_same(requirements.network) {
            return Err(by_version(
                Reason::NetworkMismatch,
                Reason::InvalidExactSvmNetworkMismatch,
            ));
        }
        let offer = Offer::read(requirements, version)?;
        if self.rules.fee_payers.is_some_and(|own| !own.contains(&offer.fee_payer)) {
            return Err(by_version(
                Reason::FeePayerNotManagedByFacilitator,
                Reason::InvalidExactSvmFeePayerNotManagedByFacilitator,
            ));
        }
        Ok(offer)
    }

    fn check_bytes(
        &self,
        transaction: &[u8],
        offer: &Offer<'_>,
        now: u64,
    ) -> Result<SvmPayment, Reason> {
        let transaction = Transaction::parse(transaction)
            .ok()
            .filter(|transaction| offer.allows(transaction.message()))
            .ok_or(Reason::InvalidExactSvmPayloadTransactionCouldNotBeDecoded)?;
        self.check_signatures(&transaction, offer)?;
        let message = transaction.message();
        if message.lookups().next().is_some() && self.rules.resolve.is_none() {
            return Err(Reason::InvalidExactSvmSmartWalletAltResolutionNotAvailable);
        }
        let layout = Layout::read(message, offer, &self.rules.limits)?;
        let payment = self.check_transfer(message, &layout, offer, now)?;
        self.check_others(message, &layout, offer)?;
        self.check_isolation(message, offer)?;
        Ok(payment)
    }

    /// The fee payer comes first and signs later; every other signer has signed.
    fn check_signatures(
        &self,
        transaction: &Transaction<'_>,
        offer: &Offer<'_>,
    ) -> Result<(), Reason> {
        let message = transaction.message();
        if message.header().signers > self.rules.limits.signatures {
            return Err(Reason::InvalidExactSvmPayloadExcessiveSigners);
        }
        if message.key(0) != Some(offer.fee_payer) {
            return Err(Reason::InvalidExactSvmFeePayerMismatch);
        }
        let mut signed = message.keys().iter().zip(transaction.signatures()).skip(1);
        if signed.any(|(key, made)| !self.verify.verify(key, message.as_bytes(), made)) {
            return Err(Reason::InvalidExactSvmPayloadSignatureInvalid);
        }
        // Reading a v1 message has checked it.
        if message.version() != MessageVersion::V1 && message.has_duplicate_key() {
            return Err(Reason::InvalidExactSvmPayloadTransactionCouldNotBeDecoded);
        }
        Ok(())
    }

    fn check_transfer(
        &self,
        message: &Message<'_>,
        layout: &Layout<'_>,
        offer: &Offer<'_>,
        now: u64,
    ) -> Result<SvmPayment, Reason> {
        let no_transfer = Reason::InvalidExactSvmPayloadNoTransferInstruction;
        let instruction = &layout.transfer;
        let program = message.key(instruction.program).and_then(TokenProgram::at);
        let token_program = program.ok_or(no_transfer)?;
        let transfer =
            TransferChecked::parse(instruction.accounts, instruction.data).ok_or(no_transfer)?;
        let payer = self.account(message, transfer.authority)?;
        let is_own = |own: &[Address]| own.contains(&payer);
        if payer == offer.fee_payer || self.rules.fee_payers.is_some_and(is_own) {
            return Err(Reason::InvalidExactSvmPayloadTransactionFeePayerTransferringFunds);
        }
        // An authority that is no signer has not agreed.
        if transfer.authority >= message.header().signers {
            return Err(no_transfer);
        }
        if self.account(message, transfer.mint)? != offer.asset {
            return Err(Reason::InvalidExactSvmPayloadMintMismatch);
        }
        let source = self.account(message, transfer.source)?;
        let destination = self.account(message, transfer.destination)?;
        // A transfer from an account to itself moves nothing.
        if source == destination {
            return Err(no_transfer);
        }
        let (owner, mint) = (offer.pay_to, offer.asset);
        let known = self.rules.account.and_then(|account| account(owner, token_program, mint));
        let derived = || associated_token_address(&self.verify, owner, token_program, mint);
        let expected = known.or_else(derived);
        if expected != Some(destination) {
            return Err(Reason::InvalidExactSvmPayloadRecipientMismatch);
        }
        let enough = match offer.amount {
            Some(0) | None => false,
            Some(amount) if self.rules.over_payment => transfer.amount >= amount,
            Some(amount) => transfer.amount == amount,
        };
        if !enough {
            return Err(Reason::InvalidExactSvmPayloadAmountMismatch);
        }
        self.check_mint(token_program, transfer.decimals, offer)?;
        Ok(SvmPayment {
            network: offer.network.try_into().map_err(|_| Reason::InvalidNetwork)?,
            payer,
            fee_payer: offer.fee_payer,
            asset: offer.asset,
            token_program,
            source,
            destination,
            amount: transfer.amount,
            blockhash: *message.lifetime(),
            message_hash: sha256(&[message.as_bytes()]),
            checked_at: now,
        })
    }

    /// Checks the mint: a vouched one, or one of SPL Token, where a transfer is a transfer.
    fn check_mint(
        &self,
        program: TokenProgram,
        decimals: u8,
        offer: &Offer<'_>,
    ) -> Result<(), Reason> {
        let sound = match find(self.rules.assets, offer.network, offer.asset) {
            Some(asset) => asset.mint.program == program && asset.mint.decimals == decimals,
            None => program == TokenProgram::Token,
        };
        if sound { Ok(()) } else { Err(Reason::InvalidExactSvmPayloadMintMismatch) }
    }

    /// Allows after the transfer only memos, and the instructions by which wallets protect their
    /// owners.
    fn check_others(
        &self,
        message: &Message<'_>,
        layout: &Layout<'_>,
        offer: &Offer<'_>,
    ) -> Result<(), Reason> {
        let others = || message.instructions().skip(layout.others_from);
        let program = |instruction: &Instruction<'_>| message.key(instruction.program);
        let unknown = others()
            .position(|other| program(&other) != Some(MEMO) && program(&other) != Some(LIGHTHOUSE));
        if let Some(place) = unknown {
            return Err(match place {
                0 => Reason::InvalidExactSvmPayloadUnknownFourthInstruction,
                1 => Reason::InvalidExactSvmPayloadUnknownFifthInstruction,
                2 => Reason::InvalidExactSvmPayloadUnknownSixthInstruction,
                _ => Reason::InvalidExactSvmPayloadUnknownSeventhInstruction,
            });
        }
        let Some(wanted) = offer.memo else { return Ok(()) };
        let mut memos = others().filter(|other| program(other) == Some(MEMO));
        match (memos.next(), memos.next()) {
            (Some(memo), None) if is_text(memo.data, wanted) => Ok(()),
            (Some(_), None) => Err(Reason::InvalidExactSvmPayloadMemoMismatch),
            _ => Err(Reason::InvalidExactSvmPayloadMemoCount),
        }
    }

    /// The fee payer signs for the fee alone: an instruction that does not name it cannot touch its
    /// property.
    fn check_isolation(&self, message: &Message<'_>, offer: &Offer<'_>) -> Result<(), Reason> {
        let own = message.keys().len();
        for instruction in message.instructions() {
            for place in instruction.accounts {
                // Of the message's own addresses, which are all different, it is the first.
                let is_fee_payer = match usize::from(*place) {
                    place if place < own => place == 0,
                    _ => self.account(message, *place)? == offer.fee_payer,
                };
                if is_fee_payer {
                    return Err(Reason::InvalidExactSvmPayloadTransactionFeePayerTransferringFunds);
                }
            }
        }
        Ok(())
    }

    /// Returns the address of an account, wherever it is kept.
    fn account(&self, message: &Message<'_>, place: u8) -> Result<Address, Reason> {
        if let Some(key) = message.key(place) {
            return Ok(key);
        }
        let resolve = self
            .rules
            .resolve
            .ok_or(Reason::InvalidExactSvmSmartWalletAltResolutionNotAvailable)?;
        message
            .looked_up(place)
            .and_then(|(table, index)| resolve(table, index))
            .ok_or(Reason::InvalidExactSvmSmartWalletAltResolutionFailed)
    }
}

impl<V: Verify, const BYTES: usize> Scheme for ExactSvm<'_, V, BYTES> {
    type Payment = SvmPayment;

    fn handles(&self, offer: &PaymentRequirements<'_>) -> bool {
        offer.scheme == "exact" && offer.network.solana().is_some()
    }

    fn check_offer(&self, offer: &PaymentRequirements<'_>) -> Result<(), Reason> {
        ExactSvmWallet { assets: self.rules.assets }.check(offer)
    }

    /// Returns the hints of a blockhash: an offer made a minute later has others
    /// (`scheme_exact_svm.md`).
    fn may_differ(&self, _: &PaymentRequirements<'_>) -> &'static [&'static str] {
        &HINTS
    }

    fn named_payer(
        &self,
        payload: &PaymentPayload<'_>,
        _: &PaymentRequirements<'_>,
    ) -> Option<Address> {
        payload.network().solana()?;
        let mut scratch = [0; BYTES];
        let bytes = read_transaction(payload.payload, &mut scratch).ok()?;
        payer(Transaction::parse(bytes).ok()?.message())
    }

    /// Version 1 has no prefix before a ledger's reasons.
    fn spelled(&self, reason: Reason, _: &PaymentRequirements<'_>, version: Version) -> Reason {
        match (version, reason) {
            (Version::V1, Reason::InvalidExactSvmTransactionSimulationFailed) => {
                Reason::TransactionSimulationFailed
            }
            (Version::V1, Reason::InvalidExactSvmTransactionFailed) => Reason::TransactionFailed,
            _ => reason,
        }
    }

    fn check(
        &self,
        payload: &PaymentPayload<'_>,
        requirements: &PaymentRequirements<'_>,
        now: u64,
    ) -> Result<SvmPayment, Reason> {
        self.check_into(payload, requirements, now, &mut [0; BYTES]).map(|(payment, _)| payment)
    }
}

/// Keys of `extra` that change from one offer to the next of the same price.
pub const HINTS: [&str; 2] = ["recentBlockhash", "lastValidBlockHeight"];

/// Decodes the transaction of a payment's `payload` into `scratch`.
///
/// # Errors
/// [`Reason::InvalidPayload`] if there is none, and
/// [`Reason::InvalidExactSvmPayloadTransactionCouldNotBeDecoded`] for one that is not base64 or
/// longer than `scratch`.
pub fn read_transaction<'s>(
    payload: RawJson<'_>,
    scratch: &'s mut [u8],
) -> Result<&'s [u8], Reason> {
    read_transaction_by(base64::decode, payload, scratch)
}

fn read_transaction_by<'s>(
    decode: DecodeBase64,
    payload: RawJson<'_>,
    scratch: &'s mut [u8],
) -> Result<&'s [u8], Reason> {
    let text = payload.get_string("transaction").ok_or(Reason::InvalidPayload)?;
    let decoded = match text.as_str() {
        Some(text) if text.starts_with([' ', '\t']) || text.ends_with([' ', '\t']) => None,
        Some(text) => decode(text.as_bytes(), scratch).ok(),
        None => decode_escaped(decode, text, scratch),
    };
    decoded.ok_or(Reason::InvalidExactSvmPayloadTransactionCouldNotBeDecoded)
}

/// Some JSON writers escape the slashes of base64.
fn decode_escaped<'s>(
    decode: DecodeBase64,
    text: JsonStr<'_>,
    scratch: &'s mut [u8],
) -> Option<&'s [u8]> {
    let mut chars = text.chars();
    let mut len = 0usize;
    loop {
        let mut group = [0; 64];
        let mut count = 0usize;
        for (place, c) in group.iter_mut().zip(&mut chars) {
            let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
            *place = u8::try_from(c).ok().filter(is_digit)?;
            count = count.saturating_add(1);
        }
        if count == 0 {
            return scratch.get(..len);
        }
        let decoded = decode(group.get(..count)?, scratch.get_mut(len..)?).ok()?;
        len = len.checked_add(decoded.len())?;
        if decoded.len() != 48 && chars.next().is_some() {
            return None;
        }
    }
}

/// Returns the payer that an unchecked transaction names: the authority of the first token
/// instruction.
pub fn payer(message: &Message<'_>) -> Option<Address> {
    let is_token = |place| message.key(place).and_then(TokenProgram::at).is_some();
    let authority = |instruction: Instruction<'_>| {
        instruction.accounts.get(3).copied().filter(|_| is_token(instruction.program))
    };
    message.instructions().find_map(authority).and_then(|place| message.key(place))
}

/// The parts of an offer that its payments are checked against.
#[derive(Clone, Copy)]
pub(crate) struct Offer<'a> {
    pub(crate) network: &'a str,
    pub(crate) asset: Address,
    pub(crate) pay_to: Address,
    pub(crate) fee_payer: Address,
    /// The price; `None` if it is more than a token account can hold.
    pub(crate) amount: Option<u64>,
    pub(crate) memo: Option<JsonStr<'a>>,
    transaction_versions: Option<RawJson<'a>>,
    protocol: Version,
}

impl<'a> Offer<'a> {
    pub(crate) fn read(offer: &PaymentRequirements<'a>, protocol: Version) -> Result<Self, Reason> {
        let network = offer.network.solana().ok_or(Reason::InvalidNetwork)?;
        let address = |text: JsonStr<'_>| text.as_str().and_then(Address::parse);
        let keys = ["feePayer", "memo", "transactionVersions"];
        let extra = offer.extra.map_or([None; 3], |extra| extra.get_all(keys));
        let [fee_payer, memo, transaction_versions] =
            extra.map(|value| value.filter(|value| value.as_str() != "null"));
        let fee_payer = fee_payer
            .and_then(RawJson::as_string)
            .filter(|text| !text.is_empty())
            .ok_or(Reason::InvalidExactSvmPayloadMissingFeePayer)?;
        let required = Reason::InvalidPaymentRequirements;
        let memo = match memo {
            None => None,
            Some(memo) => Some(memo.as_string().ok_or(required)?).filter(|memo| !memo.is_empty()),
        };
        Ok(Self {
            network,
            fee_payer: address(fee_payer).ok_or(required)?,
            asset: address(offer.asset).ok_or(required)?,
            pay_to: address(offer.pay_to).ok_or(required)?,
            amount: offer.amount.as_u64(),
            memo,
            transaction_versions,
            protocol,
        })
    }

    /// Returns whether transactions of a version may be used: an offer that names none allows v0.
    fn lists(&self, version: u64) -> bool {
        self.transaction_versions.map_or(version == 0, |versions| {
            versions.elements().any(|listed| listed.as_u64() == Some(version))
        })
    }

    /// Returns the version to pay with; `None` if the offer has none that is known.
    pub(crate) fn version(&self) -> Option<MessageVersion> {
        match (self.lists(0), self.lists(1)) {
            (true, _) => Some(MessageVersion::V0),
            (false, true) => Some(MessageVersion::V1),
            (false, false) => None,
        }
    }

    fn allows(&self, message: &Message<'_>) -> bool {
        match (message.version(), self.protocol) {
            (MessageVersion::V1, _) => self.lists(1),
            _ if !self.lists(0) => false,
            // Version 1 of the protocol knows no address tables.
            (_, Version::V1) => message.lookups().next().is_none(),
            _ => true,
        }
    }
}

/// An offer as a buyer reads it.
pub(crate) struct Payable<'a> {
    pub(crate) terms: Offer<'a>,
    pub(crate) amount: u64,
    pub(crate) mint: Mint,
    pub(crate) version: MessageVersion,
}

impl<'a> Payable<'a> {
    pub(crate) fn read(
        offer: &PaymentRequirements<'a>,
        assets: &[Asset<'_>],
    ) -> Result<Self, Reason> {
        if offer.scheme != "exact" {
            return Err(Reason::InvalidExactSvmUnsupportedScheme);
        }
        let terms = Offer::read(offer, Version::V2)?;
        let length = |memo: JsonStr<'_>| memo.chars().map(char::len_utf8).sum::<usize>();
        if terms.memo.is_some_and(|memo| length(memo) > MEMO_BYTES) {
            return Err(Reason::InvalidExactSvmPayloadMemoMismatch);
        }
        let amount = terms.amount.filter(|amount| *amount != 0);
        let asset = find(assets, terms.network, terms.asset);
        Ok(Self {
            amount: amount.ok_or(Reason::InvalidExactSvmPayloadAmountMismatch)?,
            mint: asset.ok_or(Reason::InvalidExactSvmPayloadMintMismatch)?.mint,
            version: terms.version().ok_or(Reason::InvalidPaymentRequirements)?,
            terms,
        })
    }
}

impl Offer<'_> {
    /// Checks that a buyer can mean the payee: not the system program, which is nobody's address, nor a
    /// program or the mint of the token.
    pub(crate) fn check_payee(&self) -> Result<(), Reason> {
        let is_program = self.pay_to == Address([0; 32]) || TokenProgram::at(self.pay_to).is_some();
        if is_program || self.pay_to == self.asset {
            return Err(Reason::InvalidPaymentRequirements);
        }
        Ok(())
    }
}

/// The parts of a payment by place, its budget checked.
struct Layout<'m> {
    transfer: Instruction<'m>,
    others_from: usize,
}

impl<'m> Layout<'m> {
    fn read(message: &Message<'m>, offer: &Offer<'_>, limits: &Limits) -> Result<Self, Reason> {
        let v1 = message.version() == MessageVersion::V1;
        let counts = match offer.protocol {
            _ if v1 => INSTRUCTIONS_V1,
            Version::V1 => INSTRUCTIONS_PROTOCOL_V1,
            Version::V2 => INSTRUCTIONS,
        };
        let mut instructions = message.instructions();
        if !counts.contains(&instructions.len()) {
            return Err(Reason::InvalidExactSvmPayloadTransactionInstructionsLength);
        }
        let others_from = if v1 {
            Self::check_config(message, limits)?;
            1
        } else {
            Self::check_budget(message, &mut instructions, limits)?;
            3
        };
        let transfer =
            instructions.next().ok_or(Reason::InvalidExactSvmPayloadNoTransferInstruction)?;
        Ok(Self { transfer, others_from })
    }

    fn check_budget(
        message: &Message<'m>,
        instructions: &mut impl Iterator<Item = Instruction<'m>>,
        limits: &Limits,
    ) -> Result<(), Reason> {
        let mut budget = || {
            instructions
                .next()
                .filter(|instruction| message.key(instruction.program) == Some(COMPUTE_BUDGET))
                .map(|instruction| instruction.data)
        };
        let units = budget()
            .and_then(compute_unit_limit)
            .ok_or(Reason::InvalidExactSvmPayloadTransactionInstructionsComputeLimitInstruction)?;
        limits.check_units(units)?;
        let price = budget()
            .and_then(compute_unit_price)
            .ok_or(Reason::InvalidExactSvmPayloadTransactionInstructionsComputePriceInstruction)?;
        let above_price = price > limits.compute_unit_price;
        limits.check_fee(above_price, price.saturating_mul(units.into()))
    }

    /// A v1 message that leaves a limit out has it at zero, and cannot run. Its fee is a sum.
    fn check_config(message: &Message<'m>, limits: &Limits) -> Result<(), Reason> {
        let config = message.config();
        let (units, _) = config
            .compute_units
            .zip(config.loaded_accounts_bytes)
            .ok_or(Reason::InvalidExactSvmPayloadTransactionInstructionsComputeLimitInstruction)?;
        limits.check_units(units)?;
        let fee = config.priority_fee.unwrap_or(0).saturating_mul(MICRO);
        let above_price = fee > limits.compute_unit_price.saturating_mul(units.into());
        limits.check_fee(above_price, fee)
    }
}

/// Returns whether bytes are a text's UTF-8, compared as it is decoded.
fn is_text(bytes: &[u8], text: JsonStr<'_>) -> bool {
    core::str::from_utf8(bytes).is_ok_and(|bytes| text == bytes)
}

/// Returns the asset of a mint. The caller's word counts before the table's, except for a mint
/// whose own data forbids such a payment.
pub(crate) fn find<'a>(own: &'a [Asset<'a>], network: &str, mint: Address) -> Option<Asset<'a>> {
    let is_it = |asset: &&Asset<'_>| asset.network == network && asset.address == mint;
    let own = own.iter().find(is_it).filter(|asset| asset.mint.is_safe());
    own.copied().or_else(|| assets::find(network, mint).copied())
}

/// The offers a Solana key can pay: `exact`, in the tokens of [`assets`] and those the caller
/// vouches for.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExactSvmWallet<'a> {
    /// Tokens the caller vouches for besides the known ones. A [`Policy`](x402_core::buyer::Policy)
    /// must allow them too.
    pub assets: &'a [Asset<'a>],
}

impl ExactSvmWallet<'_> {
    /// Checks that an offer can be paid.
    ///
    /// # Errors
    /// The reason, as of [`SvmUnsigned::new`](crate::SvmUnsigned::new). Causes are no fee payer, an
    /// amount of zero or above 2^64-1, a memo above [`MEMO_BYTES`], a mint nobody vouches for, and a
    /// payee that is the mint or a program.
    pub fn check(&self, offer: &PaymentRequirements<'_>) -> Result<(), Reason> {
        Payable::read(offer, self.assets)?.terms.check_payee()
    }

    /// Returns the version of the message that pays an offer; `None` if it cannot be paid.
    pub fn message_version(&self, offer: &PaymentRequirements<'_>) -> Option<MessageVersion> {
        Payable::read(offer, self.assets).ok().map(|payable| payable.version)
    }
}

impl Wallet for ExactSvmWallet<'_> {
    fn pays(&self, offer: &PaymentRequirements<'_>) -> bool {
        Payable::read(offer, self.assets).is_ok()
    }

    fn pays_to(&self, offer: &PaymentRequirements<'_>) -> bool {
        Offer::read(offer, Version::V2).is_ok_and(|terms| terms.check_payee().is_ok())
    }

    fn decimals(&self, offer: &PaymentRequirements<'_>) -> Option<u8> {
        let asset = offer.asset.as_str().and_then(Address::parse)?;
        assets::find(offer.network.solana()?, asset).map(|asset| asset.mint.decimals)
    }
}

use core::fmt;

use x402_core::crypto::Verify;
use x402_core::json::{RawJson, Writer};
use x402_core::wire::PaymentRequirements;
use x402_core::{EncodeError, Reason};

use crate::exact::{self, MEMO_BYTES, Payable};
use crate::message::{Config, Draft, DraftError, Header, Instruction, MessageVersion, Unsigned};
use crate::programs::{
    COMPUTE_BUDGET, MEMO, TransferChecked, set_compute_unit_limit, set_compute_unit_price,
};
use crate::{Address, Asset, TokenProgram, associated_token_address, base58};

/// Compute units requested for a payment in SPL Token with a memo of 32 characters, as the official
/// clients do. Such a payment takes about 13 200 on a cluster.
const COMPUTE_UNITS: u32 = 20_000;

/// More of them for Token-2022, for its extensions and its older builds.
const TOKEN_2022_UNITS: u32 = 3_000;

/// More of them for each further byte of a memo, which the memo program takes some 350 to print.
const MEMO_BYTE_UNITS: u32 = 340;

/// More of them for each character that it prints as an escape.
const MEMO_ESCAPE_UNITS: u32 = 20_000;

/// Fewer than this many are added at random.
const RANDOM_UNITS: u16 = 4096;

/// Most that are requested before those are added, so that verifiers take the sum by default.
const MOST_COMPUTE_UNITS: u32 = exact::COMPUTE_UNITS - (RANDOM_UNITS as u32 - 1);

/// Micro-lamports offered for a compute unit, as the official clients do.
const COMPUTE_UNIT_PRICE: u64 = 1;

/// Bytes of accounts a v1 payment may load: the token program is by far the largest.
const LOADED_ACCOUNTS_BYTES: u32 = 4 << 20;

/// Bytes that any transaction written by [`SvmUnsigned::new`] fits in.
pub const PAYMENT_BYTES: usize = 768;

/// Bytes that the payload of any such transaction fits in: base64 in a small object.
pub const PAYLOAD_BYTES: usize = 1056;

/// A payment's inputs besides the offer.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The payer.
    pub payer: Address,
    /// A blockhash of the last minute, for offers that give none.
    pub blockhash: Option<[u8; 32]>,
    /// Random bytes, never used twice: they keep two payments of one amount apart.
    pub nonce: [u8; 16],
    /// Tokens the caller vouches for besides the known ones. The signature does not cover the
    /// network, and the blockhash may be the seller's. So a mint that is also on another network,
    /// such as that of wrapped SOL, may be paid there.
    pub assets: &'a [Asset<'a>],
}

/// Why a transaction was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum UnsignedError {
    /// The offer cannot be paid, for the reason a verifier would refuse any payment of it with.
    Offer(Reason),
    /// Neither the offer nor the caller gave a blockhash.
    NoBlockhash,
    /// The buffer is too small.
    Encode(EncodeError),
}

impl fmt::Display for UnsignedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offer(reason) => write!(f, "offer: {reason}"),
            Self::NoBlockhash => f.write_str("no blockhash"),
            Self::Encode(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for UnsignedError {}

impl From<Reason> for UnsignedError {
    fn from(reason: Reason) -> Self {
        Self::Offer(reason)
    }
}

impl From<DraftError> for UnsignedError {
    fn from(error: DraftError) -> Self {
        match error {
            DraftError::Encode(error) => Self::Encode(error),
            DraftError::Invalid(_) => Self::Offer(Reason::InvalidPaymentRequirements),
        }
    }
}

/// Returns the blockhash an offer carries, which saves its buyers a question to the chain.
pub fn offered_blockhash(offer: &PaymentRequirements<'_>) -> Option<[u8; 32]> {
    base58::decode(offer.extra?.get_string("recentBlockhash")?.as_str()?)
}

/// A payment to be signed: a transaction in the caller's buffer.
///
/// ```
/// use x402_core::crypto::{Signer, ed25519::{Dalek, LocalKey}};
/// use x402_core::wire::{Message, PaymentRequirements};
/// use x402_svm::{Address, Inputs, PAYLOAD_BYTES, PAYMENT_BYTES, SvmUnsigned};
///
/// let offer = PaymentRequirements::parse(
///     br#"{"scheme":"exact","network":"solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1","amount":"1000",
///          "asset":"4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU",
///          "payTo":"GyGKxMyg1p9SsHfm15MkNUu1u9TN2JtTspcdmrtGUdse","maxTimeoutSeconds":60,
///          "extra":{"feePayer":"AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9",
///                   "recentBlockhash":"CmpNeggWJ4JaWJeJ8YKN1Zypmk7uvQq3PECGUCAEMbky"}}"#,
/// )?;
/// let key = LocalKey::from_seed(&[2; 32]);
/// let inputs = Inputs {
///     payer: Address(Signer::public_key(&key)),
///     blockhash: None, // the offer has one
///     nonce: [9; 16],  // from a random number generator
///     assets: &[],
/// };
/// let mut transaction = [0; PAYMENT_BYTES];
/// let unsigned = SvmUnsigned::new(&offer, &inputs, &Dalek, &mut transaction)?;
/// let signature = Signer::sign(&key, unsigned.message())?;
/// let mut buffer = [0; PAYLOAD_BYTES];
/// let payload = unsigned.payload(&signature, &mut buffer)?;
/// assert!(payload.as_str().starts_with(r#"{"transaction":"AgAAAA"#));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SvmUnsigned<'o>(Unsigned<'o>);

/// Shows nothing: anybody can present a signed transaction.
impl fmt::Debug for SvmUnsigned<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SvmUnsigned")
    }
}

impl<'o> SvmUnsigned<'o> {
    /// Writes the transaction that the payer would sign for `offer` to the front of `out`;
    /// [`PAYMENT_BYTES`] are enough.
    ///
    /// The transaction has the official clients' instructions: limit and price of compute units,
    /// the transfer, and a memo. The memo is the offer's text or the nonce in hexadecimal. With the
    /// offer's memo it requests up to 4095 further units, at random, and for a long memo as many as
    /// that takes. It is a v0 one unless the offer's `extra.transactionVersions` has a 1 and no 0.
    /// # Errors
    /// [`UnsignedError`].
    pub fn new(
        offer: &PaymentRequirements<'_>,
        inputs: &Inputs<'_>,
        curve: &impl Verify,
        out: &'o mut [u8],
    ) -> Result<Self, UnsignedError> {
        let required = Reason::InvalidPaymentRequirements;
        let Payable { terms, amount, mint, version } = Payable::read(offer, inputs.assets)?;
        terms.check_payee()?;
        if inputs.payer == terms.pay_to {
            return Err(required.into());
        }
        let blockhash =
            offered_blockhash(offer).or(inputs.blockhash).ok_or(UnsignedError::NoBlockhash)?;
        if inputs.payer == terms.fee_payer {
            return Err(Reason::InvalidExactSvmPayloadTransactionFeePayerTransferringFunds.into());
        }
        let program = mint.program;
        let account = |owner| associated_token_address(curve, owner, program, terms.asset);
        let source = account(inputs.payer).ok_or(required)?;
        let destination = account(terms.pay_to).ok_or(required)?;

        let mut memo = [0; MEMO_BYTES];
        let memo = match terms.memo {
            Some(text) => text.decode_into(&mut memo).ok_or(required)?,
            None => hex_digits(&inputs.nonce, &mut memo),
        };
        let mut units = compute_units(program, memo);
        if terms.memo.is_some() {
            // Two payments with the seller's memo and one blockhash would be one transaction.
            let [low, high, ..] = inputs.nonce;
            units = units.saturating_add(u32::from(u16::from_le_bytes([low, high]) % RANDOM_UNITS));
        }
        // Signers, then accounts that are written to, then those that are read; each kind by its
        // bytes.
        let v1 = version == MessageVersion::V1;
        let written = sorted([source, destination]);
        let read = sorted([program.address(), terms.asset, MEMO, COMPUTE_BUDGET]);
        let read = read.into_iter().filter(|key| !v1 || *key != COMPUTE_BUDGET);
        let mut keys = heapless::Vec::<_, 8>::new();
        for key in [terms.fee_payer, inputs.payer].into_iter().chain(written).chain(read) {
            // One address for two parts: the payer is the payee, or a program is to pay the fee.
            if keys.contains(&key) || keys.push(key).is_err() {
                return Err(required.into());
            }
        }
        let place = |key: Address| {
            keys.iter().position(|k| *k == key).and_then(|at| u8::try_from(at).ok()).ok_or(required)
        };

        let transfer = TransferChecked {
            source: place(source)?,
            mint: place(terms.asset)?,
            destination: place(destination)?,
            authority: place(inputs.payer)?,
            amount,
            decimals: mint.decimals,
        };
        let (accounts, data) = (transfer.accounts(), transfer.data());
        let transfer =
            Instruction { program: place(program.address())?, accounts: &accounts, data: &data };
        let memo = Instruction { program: place(MEMO)?, accounts: &[], data: memo.as_bytes() };
        let mut draft = Draft {
            version: MessageVersion::V1,
            header: Header { signers: 2, readonly_signers: 1, readonly_others: 3 },
            keys: &keys,
            lifetime: &blockhash,
            config: Config {
                priority_fee: None,
                compute_units: Some(units),
                loaded_accounts_bytes: Some(LOADED_ACCOUNTS_BYTES),
                heap_bytes: None,
            },
            instructions: &[transfer, memo],
        };
        if v1 {
            return Ok(Self(draft.write(out)?));
        }
        let limit = set_compute_unit_limit(units);
        let price = set_compute_unit_price(COMPUTE_UNIT_PRICE);
        let budget = place(COMPUTE_BUDGET)?;
        let instructions = [
            Instruction { program: budget, accounts: &[], data: &limit },
            Instruction { program: budget, accounts: &[], data: &price },
            transfer,
            memo,
        ];
        draft.version = MessageVersion::V0;
        draft.header.readonly_others = 4;
        draft.instructions = &instructions;
        Ok(Self(draft.write(out)?))
    }

    /// Returns the bytes the payer signs.
    pub fn message(&self) -> &[u8] {
        self.0.message()
    }

    /// Returns the transaction, signed by the payer; the fee payer's signature is still all zeros.
    pub fn sign(mut self, signature: &[u8; 64]) -> &'o [u8] {
        // The second of two signers; the first is the fee payer.
        let _ = self.0.sign(1, signature);
        self.0.into_bytes()
    }

    /// Writes the payload with the payer's signature to the front of `out`; [`PAYLOAD_BYTES`] are
    /// enough.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`].
    pub fn payload<'p>(
        self,
        signature: &[u8; 64],
        out: &'p mut [u8],
    ) -> Result<RawJson<'p>, EncodeError> {
        let transaction = self.sign(signature);
        let mut w = Writer::json(out);
        w.open('{').key("transaction").base64_of(transaction).close('}');
        w.finish_raw()
    }
}

/// Returns the compute units to request. Only the chain reveals a limit that is too low, when it is
/// too late.
fn compute_units(program: TokenProgram, memo: &str) -> u32 {
    let token = match program {
        TokenProgram::Token => 0,
        TokenProgram::Token2022 => TOKEN_2022_UNITS,
    };
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let bytes = count(memo.len().saturating_sub(32));
    let escapes = count(memo.chars().filter(|c| !matches!(c, ' '..='~')).count());
    COMPUTE_UNITS
        .saturating_add(token)
        .saturating_add(bytes.saturating_mul(MEMO_BYTE_UNITS))
        .saturating_add(escapes.saturating_mul(MEMO_ESCAPE_UNITS))
        .min(MOST_COMPUTE_UNITS)
}

fn sorted<const N: usize>(keys: [Address; N]) -> [Address; N] {
    let mut sorted = keys;
    for key in &keys {
        // Its rank; all of them are different.
        let rank = keys.iter().filter(|other| *other < key).count();
        if let Some(place) = sorted.get_mut(rank) {
            *place = *key;
        }
    }
    sorted
}

fn hex_digits<'d>(bytes: &[u8; 16], digits: &'d mut [u8; MEMO_BYTES]) -> &'d str {
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    for (digit, nibble) in digits.iter_mut().zip(nibbles) {
        *digit = b"0123456789abcdef".get(usize::from(nibble)).copied().unwrap_or(b'0');
    }
    digits.get(..32).and_then(|digits| core::str::from_utf8(digits).ok()).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares with the units that such payments took with the memo program of the clusters.
    #[test]
    fn enough_compute_units() {
        use TokenProgram::{Token, Token2022};
        let ascii = "m".repeat(256);
        for (program, memo, taken, asked) in [
            (Token, "00112233445566778899aabbccddeeff", 13_180, 20_000),
            (Token2022, "00112233445566778899aabbccddeeff", 20_642, 23_000),
            (Token, &ascii, 91_900, 96_160),
            // Below 100 000, which not every facilitator takes.
            (Token2022, &ascii, 95_600, 99_160),
            (Token, "\u{20ac}\u{20ac}", 18_000, 60_000),
            (Token, "\u{1f600}\u{1f600}\u{1f600}\u{1f600}", 71_400, 100_000),
            (Token, &"\u{1f600}".repeat(64), 0, MOST_COMPUTE_UNITS),
        ] {
            let units = compute_units(program, memo);
            assert_eq!(units, asked, "{memo}");
            assert!(units > taken, "{memo}");
        }
    }
}

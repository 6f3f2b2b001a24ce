//! Solana transactions and their messages, read from untrusted bytes as they lie and written into
//! the caller's buffer.
//!
//! ```text
//! legacy  signatures · message            at most 1232 bytes
//! v0      signatures · 0x80 message       at most 1232 bytes
//! v1      0x81 message · signatures       at most 4096 bytes (SIMD-0385)
//! ```
//! ```
//! use x402_svm::message::{MessageError, Transaction};
//!
//! fn list(transaction: &[u8]) -> Result<(), MessageError> {
//!     let transaction = Transaction::parse(transaction)?;
//!     let message = transaction.message();
//!     for instruction in message.instructions() {
//!         // A program is always among the message's own addresses.
//!         let program = message.key(instruction.program).expect("checked");
//!         println!("{program}: {} accounts, {:?}", instruction.accounts.len(), instruction.data);
//!     }
//!     Ok(())
//! }
//! assert_eq!(list(&[0x82]), Err(MessageError::UnknownVersion));
//! ```
//! Reading accepts only messages that the validators' own reader (`solana-message`) accepts and its
//! `sanitize` finds sound. Every index is in bounds, every length is in its shortest form, and no
//! byte is left over.

use core::fmt;

use x402_core::EncodeError;

use crate::Address;

/// Longest legacy or v0 transaction, in bytes: one network packet.
pub const TRANSACTION_BYTES: usize = 1232;

/// Longest v1 transaction, in bytes (SIMD-0296).
pub const TRANSACTION_V1_BYTES: usize = 4096;

/// Most addresses, instructions and signatures of a v1 transaction (SIMD-0385).
const V1_ADDRESSES: usize = 64;
const V1_INSTRUCTIONS: usize = 64;
const V1_SIGNATURES: u8 = 12;

/// Bit that marks the first byte of a message as its version.
const VERSIONED: u8 = 0x80;

/// Why bytes are no transaction or message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum MessageError {
    /// The first byte names a version other than legacy, v0 and v1.
    UnknownVersion,
    /// Longer than a transaction of its version may be.
    TooLong,
    /// The bytes end before the message does.
    UnexpectedEnd,
    /// Bytes are left over.
    TrailingBytes,
    /// A length is not in its shortest form, or above 65535.
    InvalidLength,
    /// More signatures, addresses or instructions than the version allows, or than one byte can
    /// number.
    TooMany,
    /// The numbers of signers do not fit the addresses, or no signer is writable.
    InvalidHeader,
    /// The number of signatures is not the number of signers.
    SignatureCount,
    /// An instruction names an address that is not there, or a program that cannot be one.
    InvalidIndex,
    /// A v1 message has an address twice.
    DuplicateAddress,
    /// A v1 message's configuration has unknown bits or an impossible heap size.
    InvalidConfig,
    /// An address table of which nothing is used.
    EmptyLookup,
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownVersion => "unknown transaction version",
            Self::TooLong => "longer than a transaction may be",
            Self::UnexpectedEnd => "ends too early",
            Self::TrailingBytes => "bytes left over",
            Self::InvalidLength => "length not in its shortest form",
            Self::TooMany => "too many signatures, addresses or instructions",
            Self::InvalidHeader => "numbers of signers do not fit the addresses",
            Self::SignatureCount => "number of signatures is not that of signers",
            Self::InvalidIndex => "index out of bounds",
            Self::DuplicateAddress => "an address twice",
            Self::InvalidConfig => "invalid configuration",
            Self::EmptyLookup => "address table of which nothing is used",
        })
    }
}

impl core::error::Error for MessageError {}

/// The version of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum MessageVersion {
    /// Without a version byte.
    Legacy,
    /// With address tables.
    V0,
    /// With its compute budget in the message itself (SIMD-0385).
    V1,
}

/// The numbers of addresses, which come in this order, by their rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The first ones sign; the very first pays the fee.
    pub signers: u8,
    /// The last of those are not written to.
    pub readonly_signers: u8,
    /// The last of the others are not written to.
    pub readonly_others: u8,
}

/// The compute budget of a v1 message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Priority fee for the whole transaction, in lamports.
    pub priority_fee: Option<u64>,
    /// Most compute units; none means zero.
    pub compute_units: Option<u32>,
    /// Most bytes of accounts loaded; none means zero.
    pub loaded_accounts_bytes: Option<u32>,
    /// Bytes of heap: a multiple of 1024 from 32 to 256 KiB.
    pub heap_bytes: Option<u32>,
}

impl Config {
    const PRIORITY_FEE: u32 = 0b11;
    const COMPUTE_UNITS: u32 = 1 << 2;
    const LOADED_ACCOUNTS: u32 = 1 << 3;
    const HEAP: u32 = 1 << 4;
    const KNOWN: u32 = 0b1_1111;

    fn mask(&self) -> u32 {
        let bit = |set: bool, bits| if set { bits } else { 0 };
        bit(self.priority_fee.is_some(), Self::PRIORITY_FEE)
            | bit(self.compute_units.is_some(), Self::COMPUTE_UNITS)
            | bit(self.loaded_accounts_bytes.is_some(), Self::LOADED_ACCOUNTS)
            | bit(self.heap_bytes.is_some(), Self::HEAP)
    }

    fn check(&self) -> Result<(), MessageError> {
        let possible =
            |heap: u32| heap.is_multiple_of(1024) && (32 * 1024..=256 * 1024).contains(&heap);
        if self.heap_bytes.is_none_or(possible) { Ok(()) } else { Err(MessageError::InvalidConfig) }
    }
}

/// One instruction, its program and accounts as places among the message's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction<'a> {
    /// Place of the program.
    pub program: u8,
    /// Places of the accounts: first the message's own addresses, then those looked up.
    pub accounts: &'a [u8],
    /// The instruction's data.
    pub data: &'a [u8],
}

/// Addresses taken from an address table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookup<'a> {
    /// The table's address.
    pub table: Address,
    /// Places in the table of accounts to write to.
    pub writable: &'a [u8],
    /// Places in the table of accounts to read.
    pub readonly: &'a [u8],
}

/// A signed transaction as it lies in memory. `Debug` shows no signature.
#[derive(Clone)]
pub struct Transaction<'a> {
    signatures: &'a [[u8; 64]],
    message: Message<'a>,
}

impl<'a> Transaction<'a> {
    /// Reads a transaction. An unknown version is refused before anything else is looked at.
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, MessageError> {
        let mut reader = Reader(bytes);
        let (signatures, message) = match bytes.first() {
            // Signatures come last, as many as there are signers.
            Some(0x81) => {
                check_length(bytes, TRANSACTION_V1_BYTES)?;
                let message = Message::read(&mut reader)?;
                let signers = usize::from(message.header.signers);
                (reader.arrays(signers).ok_or(MessageError::SignatureCount)?, message)
            }
            Some(VERSIONED..) => return Err(MessageError::UnknownVersion),
            _ => {
                check_length(bytes, TRANSACTION_BYTES)?;
                let count = reader.length()?;
                let signatures = reader.arrays(count).ok_or(MessageError::UnexpectedEnd)?;
                if reader.0.first() == Some(&0x81) {
                    return Err(MessageError::UnknownVersion);
                }
                (signatures, Message::read(&mut reader)?)
            }
        };
        reader.end()?;
        if signatures.len() != usize::from(message.header.signers) {
            return Err(MessageError::SignatureCount);
        }
        Ok(Self { signatures, message })
    }

    /// Returns the signatures, one for each signer in order; all zero where one is still to be
    /// made.
    pub const fn signatures(&self) -> &'a [[u8; 64]] {
        self.signatures
    }

    /// Returns the bytes that are signed.
    pub const fn message(&self) -> &Message<'a> {
        &self.message
    }
}

impl fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Transaction({:?}, {} signatures)", self.message.version, self.signatures.len())
    }
}

fn check_length(bytes: &[u8], limit: usize) -> Result<(), MessageError> {
    if bytes.len() > limit { Err(MessageError::TooLong) } else { Ok(()) }
}

/// A message of any version as it lies in memory: every index in it is in bounds.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    bytes: &'a [u8],
    version: MessageVersion,
    header: Header,
    keys: &'a [[u8; 32]],
    lifetime: &'a [u8; 32],
    config: Config,
    instructions: Instructions<'a>,
    lookups: Lookups<'a>,
}

impl<'a> Message<'a> {
    /// Reads a message.
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, MessageError> {
        let mut reader = Reader(bytes);
        let message = Self::read(&mut reader)?;
        reader.end()?;
        Ok(message)
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, MessageError> {
        let bytes = reader.0;
        let version = match bytes.first() {
            Some(0x80) => MessageVersion::V0,
            Some(0x81) => MessageVersion::V1,
            Some(VERSIONED..) => return Err(MessageError::UnknownVersion),
            _ => MessageVersion::Legacy,
        };
        if version != MessageVersion::Legacy {
            reader.byte()?;
        }
        let header = Header {
            signers: reader.byte()?,
            readonly_signers: reader.byte()?,
            readonly_others: reader.byte()?,
        };
        let mut message = match version {
            MessageVersion::V1 => Self::read_v1(reader, header)?,
            _ => Self::read_v0(reader, header, version)?,
        };
        let length = bytes.len().saturating_sub(reader.0.len());
        message.bytes = bytes.get(..length).unwrap_or(bytes);
        message.check()?;
        Ok(message)
    }

    fn read_v0(
        reader: &mut Reader<'a>,
        header: Header,
        version: MessageVersion,
    ) -> Result<Self, MessageError> {
        let count = reader.length()?;
        let keys = reader.arrays(count).ok_or(MessageError::UnexpectedEnd)?;
        let lifetime = reader.array()?;
        let left = reader.length()?;
        let instructions = Instructions { headers: None, rest: reader.0, left };
        for _ in 0..left {
            reader.instruction()?;
        }
        let mut lookups = Lookups { rest: reader.0, left: 0 };
        if version == MessageVersion::V0 {
            lookups.left = reader.length()?;
            lookups.rest = reader.0;
            for _ in 0..lookups.left {
                reader.lookup()?;
            }
        }
        Ok(Self {
            bytes: &[],
            version,
            header,
            keys,
            lifetime,
            config: Config::default(),
            instructions,
            lookups,
        })
    }

    fn read_v1(reader: &mut Reader<'a>, header: Header) -> Result<Self, MessageError> {
        let mask = u32::from_le_bytes(*reader.array()?);
        let lifetime = reader.array()?;
        let left = usize::from(reader.byte()?);
        let count = usize::from(reader.byte()?);
        let half_a_fee = ![0, Config::PRIORITY_FEE].contains(&(mask & Config::PRIORITY_FEE));
        if mask & !Config::KNOWN != 0 || half_a_fee {
            return Err(MessageError::InvalidConfig);
        }
        let keys = reader.arrays(count).ok_or(MessageError::UnexpectedEnd)?;
        let mut config = Config::default();
        if mask & Config::PRIORITY_FEE != 0 {
            config.priority_fee = Some(u64::from_le_bytes(*reader.array()?));
        }
        for (bit, value) in [
            (Config::COMPUTE_UNITS, &mut config.compute_units),
            (Config::LOADED_ACCOUNTS, &mut config.loaded_accounts_bytes),
            (Config::HEAP, &mut config.heap_bytes),
        ] {
            if mask & bit != 0 {
                *value = Some(u32::from_le_bytes(*reader.array()?));
            }
        }
        let headers = reader.arrays(left).ok_or(MessageError::UnexpectedEnd)?;
        let instructions = Instructions { headers: Some(headers), rest: reader.0, left };
        for header in headers {
            reader.payload(header)?;
        }
        let lookups = Lookups { rest: &[], left: 0 };
        Ok(Self {
            bytes: &[],
            version: MessageVersion::V1,
            header,
            keys,
            lifetime,
            config,
            instructions,
            lookups,
        })
    }

    /// Checks the conditions of `sanitize` for a message of each version.
    fn check(&self) -> Result<(), MessageError> {
        let Header { signers, readonly_signers, readonly_others } = self.header;
        if self.version == MessageVersion::V1 {
            if signers > V1_SIGNATURES
                || self.keys.len() > V1_ADDRESSES
                || self.instructions.left > V1_INSTRUCTIONS
            {
                return Err(MessageError::TooMany);
            }
            if self.has_duplicate_key() {
                return Err(MessageError::DuplicateAddress);
            }
            self.config.check()?;
        }
        let outer = usize::from(signers).saturating_add(usize::from(readonly_others));
        if outer > self.keys.len() || readonly_signers >= signers {
            return Err(MessageError::InvalidHeader);
        }
        let mut accounts = self.keys.len();
        for lookup in self.lookups() {
            let count = lookup.writable.len().saturating_add(lookup.readonly.len());
            if count == 0 {
                return Err(MessageError::EmptyLookup);
            }
            accounts = accounts.saturating_add(count);
        }
        if self.version == MessageVersion::V0 && accounts > 256 {
            return Err(MessageError::TooMany);
        }
        // Neither the payer of the fee nor an address from a table can be a program.
        let sound = |instruction: Instruction<'_>| {
            instruction.program != 0
                && usize::from(instruction.program) < self.keys.len()
                && instruction
                    .accounts
                    .iter()
                    .max()
                    .is_none_or(|last| usize::from(*last) < accounts)
        };
        if self.instructions().all(sound) { Ok(()) } else { Err(MessageError::InvalidIndex) }
    }

    /// Returns the bytes that are signed.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns the version.
    pub const fn version(&self) -> MessageVersion {
        self.version
    }

    /// Returns the counts of signers and writable accounts.
    pub const fn header(&self) -> Header {
        self.header
    }

    /// Returns the addresses the message itself has.
    pub const fn keys(&self) -> &'a [[u8; 32]] {
        self.keys
    }

    /// Returns the address at a place; `None` if it is to be looked up.
    pub fn key(&self, place: u8) -> Option<Address> {
        self.keys.get(usize::from(place)).copied().map(Address)
    }

    /// Returns the table of an address that is to be looked up, and the place in it. The addresses
    /// to write to, of all tables, come before those to read.
    pub fn looked_up(&self, place: u8) -> Option<(Address, u8)> {
        let mut skip = usize::from(place).checked_sub(self.keys.len())?;
        let writable = self.lookups().map(|lookup| (lookup.table, lookup.writable));
        let readonly = self.lookups().map(|lookup| (lookup.table, lookup.readonly));
        for (table, places) in writable.chain(readonly) {
            match places.get(skip) {
                Some(place) => return Some((table, *place)),
                None => skip = skip.saturating_sub(places.len()),
            }
        }
        None
    }

    /// Returns whether an address is there twice: validators refuse such a transaction.
    pub fn has_duplicate_key(&self) -> bool {
        // Almost all differ in these already.
        let start = |key: &[u8; 32]| key.first_chunk().map(|start| u64::from_ne_bytes(*start));
        let mut rest = self.keys;
        while let [first, others @ ..] = rest {
            if others.iter().any(|other| start(other) == start(first) && other == first) {
                return true;
            }
            rest = others;
        }
        false
    }

    /// Returns whether the address at a place is written to.
    pub fn is_writable(&self, place: u8) -> bool {
        let Header { signers, readonly_signers, readonly_others } = self.header;
        let (place, signers) = (usize::from(place), usize::from(signers));
        let last_of = |end: usize, readonly: u8| place < end.saturating_sub(usize::from(readonly));
        if place < signers {
            last_of(signers, readonly_signers)
        } else if place < self.keys.len() {
            last_of(self.keys.len(), readonly_others)
        } else {
            let looked_up = place.saturating_sub(self.keys.len());
            looked_up < self.lookups().map(|lookup| lookup.writable.len()).sum()
        }
    }

    /// Returns the recent blockhash until which the transaction lives, or a durable nonce.
    pub const fn lifetime(&self) -> &'a [u8; 32] {
        self.lifetime
    }

    /// Returns the compute budget of a v1 message; empty in others, which have instructions for it.
    pub const fn config(&self) -> Config {
        self.config
    }

    /// Returns the instructions, in order.
    pub fn instructions(&self) -> Instructions<'a> {
        self.instructions.clone()
    }

    /// Returns the address tables used.
    pub fn lookups(&self) -> Lookups<'a> {
        self.lookups.clone()
    }
}

/// The instructions of a message.
#[derive(Clone, Debug)]
pub struct Instructions<'a> {
    /// v1 has the lengths in front, all together.
    headers: Option<&'a [[u8; 4]]>,
    rest: &'a [u8],
    left: usize,
}

impl<'a> Iterator for Instructions<'a> {
    type Item = Instruction<'a>;

    fn next(&mut self) -> Option<Instruction<'a>> {
        self.left = self.left.checked_sub(1)?;
        let mut reader = Reader(self.rest);
        let instruction = match &mut self.headers {
            None => reader.instruction(),
            Some(headers) => {
                let (header, others) = headers.split_first()?;
                *headers = others;
                reader.payload(header)
            }
        };
        self.rest = reader.0;
        instruction.ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Instructions<'_> {}

/// The address tables of a message.
#[derive(Clone, Debug)]
pub struct Lookups<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Iterator for Lookups<'a> {
    type Item = Lookup<'a>;

    fn next(&mut self) -> Option<Lookup<'a>> {
        self.left = self.left.checked_sub(1)?;
        let mut reader = Reader(self.rest);
        let lookup = reader.lookup();
        self.rest = reader.0;
        lookup.ok()
    }
}

/// The bytes left to read.
#[derive(Clone)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], MessageError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(MessageError::UnexpectedEnd)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, MessageError> {
        let (byte, rest) = self.0.split_first().ok_or(MessageError::UnexpectedEnd)?;
        self.0 = rest;
        Ok(*byte)
    }

    fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], MessageError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(MessageError::UnexpectedEnd)?;
        self.0 = rest;
        Ok(array)
    }

    fn arrays<const N: usize>(&mut self, count: usize) -> Option<&'a [[u8; N]]> {
        let (arrays, rest) = self.0.split_at_checked(count.checked_mul(N)?)?;
        self.0 = rest;
        Some(arrays.as_chunks().0)
    }

    /// Reads a compact-u16: seven bits a byte, the lowest first, in its shortest form.
    fn length(&mut self) -> Result<usize, MessageError> {
        let mut length = 0usize;
        for shift in [0, 7, 14] {
            let byte = self.byte()?;
            length |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let shortest = shift == 0 || byte != 0;
                let fits = u16::try_from(length).is_ok();
                return if shortest && fits {
                    Ok(length)
                } else {
                    Err(MessageError::InvalidLength)
                };
            }
        }
        Err(MessageError::InvalidLength)
    }

    fn counted(&mut self) -> Result<&'a [u8], MessageError> {
        let length = self.length()?;
        self.take(length)
    }

    fn instruction(&mut self) -> Result<Instruction<'a>, MessageError> {
        Ok(Instruction { program: self.byte()?, accounts: self.counted()?, data: self.counted()? })
    }

    fn payload(&mut self, header: &[u8; 4]) -> Result<Instruction<'a>, MessageError> {
        let [program, accounts, low, high] = *header;
        Ok(Instruction {
            program,
            accounts: self.take(usize::from(accounts))?,
            data: self.take(usize::from(u16::from_le_bytes([low, high])))?,
        })
    }

    fn lookup(&mut self) -> Result<Lookup<'a>, MessageError> {
        Ok(Lookup {
            table: Address(*self.array()?),
            writable: self.counted()?,
            readonly: self.counted()?,
        })
    }

    fn end(&self) -> Result<(), MessageError> {
        if self.0.is_empty() { Ok(()) } else { Err(MessageError::TrailingBytes) }
    }
}

/// A message to be written.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'d> {
    /// The version.
    pub version: MessageVersion,
    /// The counts of signers and writable accounts.
    pub header: Header,
    /// The addresses, in the order the header has.
    pub keys: &'d [Address],
    /// A recent blockhash.
    pub lifetime: &'d [u8; 32],
    /// The compute budget, for v1; other versions have instructions for it.
    pub config: Config,
    /// The instructions.
    pub instructions: &'d [Instruction<'d>],
}

/// Why a draft was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum DraftError {
    /// The buffer is too small.
    Encode(EncodeError),
    /// The draft is no message.
    Invalid(MessageError),
}

impl fmt::Display for DraftError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encode(error) => error.fmt(f),
            Self::Invalid(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for DraftError {}

impl From<EncodeError> for DraftError {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}

impl From<MessageError> for DraftError {
    fn from(error: MessageError) -> Self {
        Self::Invalid(error)
    }
}

impl Draft<'_> {
    /// Writes the transaction to the front of `out`, with zeros where signatures go.
    ///
    /// # Errors
    /// [`DraftError`]: too small a buffer, a draft that is no message, or one that would be longer
    /// than a transaction may be.
    pub fn write<'o>(&self, out: &'o mut [u8]) -> Result<Unsigned<'o>, DraftError> {
        let mut sink = Sink { out, len: 0 };
        let signers = usize::from(self.header.signers);
        let signatures = signers.saturating_mul(64);
        let v1 = self.version == MessageVersion::V1;
        let message = if v1 {
            0
        } else {
            sink.length(signers)?;
            sink.zeros(signatures);
            sink.len
        };
        self.write_message(&mut sink)?;
        let message_end = sink.len;
        if v1 {
            sink.zeros(signatures);
        }
        let Sink { out, len } = sink;
        let bytes = out.get_mut(..len).ok_or_else(|| EncodeError::too_small(len))?;
        Transaction::parse(bytes)?;
        let first_signature = if v1 { message_end } else { message.saturating_sub(signatures) };
        Ok(Unsigned { bytes, message, message_end, first_signature, signers: self.header.signers })
    }

    fn write_message(&self, sink: &mut Sink<'_>) -> Result<(), MessageError> {
        let Header { signers, readonly_signers, readonly_others } = self.header;
        match self.version {
            MessageVersion::Legacy => {}
            MessageVersion::V0 => sink.bytes(&[0x80]),
            MessageVersion::V1 => sink.bytes(&[0x81]),
        }
        sink.bytes(&[signers, readonly_signers, readonly_others]);
        if self.version == MessageVersion::V1 {
            return self.write_v1(sink);
        }
        sink.length(self.keys.len())?;
        self.write_keys(sink);
        sink.bytes(self.lifetime);
        sink.length(self.instructions.len())?;
        for instruction in self.instructions {
            sink.bytes(&[instruction.program]);
            sink.length(instruction.accounts.len())?;
            sink.bytes(instruction.accounts);
            sink.length(instruction.data.len())?;
            sink.bytes(instruction.data);
        }
        if self.version == MessageVersion::V0 {
            sink.length(0)?;
        }
        Ok(())
    }

    fn write_v1(&self, sink: &mut Sink<'_>) -> Result<(), MessageError> {
        let count = |len: usize| u8::try_from(len).map_err(|_| MessageError::TooMany);
        sink.bytes(&self.config.mask().to_le_bytes());
        sink.bytes(self.lifetime);
        sink.bytes(&[count(self.instructions.len())?, count(self.keys.len())?]);
        self.write_keys(sink);
        let Config { priority_fee, compute_units, loaded_accounts_bytes, heap_bytes } = self.config;
        priority_fee.inspect(|fee| sink.bytes(&fee.to_le_bytes()));
        for value in [compute_units, loaded_accounts_bytes, heap_bytes].into_iter().flatten() {
            sink.bytes(&value.to_le_bytes());
        }
        for instruction in self.instructions {
            let length =
                u16::try_from(instruction.data.len()).map_err(|_| MessageError::InvalidLength)?;
            sink.bytes(&[instruction.program, count(instruction.accounts.len())?]);
            sink.bytes(&length.to_le_bytes());
        }
        for instruction in self.instructions {
            sink.bytes(instruction.accounts);
            sink.bytes(instruction.data);
        }
        Ok(())
    }

    fn write_keys(&self, sink: &mut Sink<'_>) {
        for key in self.keys {
            sink.bytes(&key.0);
        }
    }
}

/// Counts the bytes that do not fit.
struct Sink<'o> {
    out: &'o mut [u8],
    len: usize,
}

impl Sink<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        let place = self.out.get_mut(self.len..).and_then(|rest| rest.get_mut(..bytes.len()));
        if let Some(place) = place {
            for (to, from) in place.iter_mut().zip(bytes) {
                *to = *from;
            }
        }
        self.len = self.len.saturating_add(bytes.len());
    }

    fn zeros(&mut self, count: usize) {
        if let Some(place) = self.out.get_mut(self.len..).and_then(|rest| rest.get_mut(..count)) {
            place.fill(0);
        }
        self.len = self.len.saturating_add(count);
    }

    fn length(&mut self, length: usize) -> Result<(), MessageError> {
        let length = u16::try_from(length).map_err(|_| MessageError::InvalidLength)?;
        let [low, middle, high] =
            [length & 0x7f, (length >> 7) & 0x7f, length >> 14].map(|bits| bits.to_le_bytes()[0]);
        match (middle, high) {
            (0, 0) => self.bytes(&[low]),
            (_, 0) => self.bytes(&[low | 0x80, middle]),
            _ => self.bytes(&[low | 0x80, middle | 0x80, high]),
        }
        Ok(())
    }
}

/// A written transaction to which signatures are added.
pub struct Unsigned<'o> {
    bytes: &'o mut [u8],
    message: usize,
    message_end: usize,
    first_signature: usize,
    signers: u8,
}

impl<'o> Unsigned<'o> {
    /// Wraps an existing transaction, some of whose signatures are still to be put in.
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn parse(bytes: &'o mut [u8]) -> Result<Self, MessageError> {
        let transaction = Transaction::parse(bytes)?;
        let (version, Header { signers, .. }) =
            (transaction.message.version, transaction.message.header);
        let message_len = transaction.message.bytes.len();
        let signatures = usize::from(signers).saturating_mul(64);
        let (message, first_signature) = if version == MessageVersion::V1 {
            (0, message_len)
        } else {
            let message = bytes.len().saturating_sub(message_len);
            (message, message.saturating_sub(signatures))
        };
        let message_end = message.saturating_add(message_len);
        Ok(Self { bytes, message, message_end, first_signature, signers })
    }

    /// Returns the bytes that are signed.
    pub fn message(&self) -> &[u8] {
        self.bytes.get(self.message..self.message_end).unwrap_or(&[])
    }

    /// Puts in the signature of the signer at `place`; returns `false` if there is none.
    #[must_use]
    pub fn sign(&mut self, place: u8, signature: &[u8; 64]) -> bool {
        let at = self.first_signature.saturating_add(usize::from(place).saturating_mul(64));
        let slot = self.bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut());
        match slot {
            Some(slot) if place < self.signers => {
                *slot = *signature;
                true
            }
            _ => false,
        }
    }

    /// Returns the transaction.
    pub fn into_bytes(self) -> &'o [u8] {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_compared_as_a_whole() {
        let key = |at: usize| {
            let mut key = [5; 32];
            key[at] = 6;
            Address(key)
        };
        // An interpreter gets through a few.
        let places = || (0..32).step_by(if cfg!(miri) { 10 } else { 1 });
        for (a, b) in places().flat_map(|a| places().map(move |b| (a, b))) {
            let draft = Draft {
                version: MessageVersion::V0,
                header: Header { signers: 1, readonly_signers: 0, readonly_others: 1 },
                keys: &[key(a), Address([5; 32]), key(b)],
                lifetime: &[9; 32],
                config: Config::default(),
                instructions: &[],
            };
            let mut out = [0; TRANSACTION_BYTES];
            let written = draft.write(&mut out).unwrap();
            let message = Message::parse(written.message()).unwrap();
            assert_eq!(message.has_duplicate_key(), a == b, "{a} {b}");
        }
    }

    /// Of each version, with one and with two signers.
    #[test]
    fn signatures_are_put_where_a_reader_finds_them() {
        use MessageVersion::{Legacy, V0, V1};
        let keys = [Address([1; 32]), Address([2; 32]), Address([3; 32])];
        for (version, signers) in [(Legacy, 1), (Legacy, 2), (V0, 1), (V0, 2), (V1, 1), (V1, 2)] {
            let draft = Draft {
                version,
                header: Header { signers, readonly_signers: 0, readonly_others: 1 },
                keys: &keys,
                lifetime: &[9; 32],
                config: Config::default(),
                instructions: &[Instruction { program: 2, accounts: &[1], data: &[5, 5] }],
            };
            let mut out = [0; TRANSACTION_BYTES];
            let written = draft.write(&mut out).unwrap().into_bytes().len();
            let unsigned = &mut out[..written];
            let message = Transaction::parse(unsigned).unwrap().message().as_bytes().to_vec();
            let mut again = Unsigned::parse(unsigned).unwrap();
            assert_eq!(again.message(), message);
            for place in 0..signers {
                assert!(again.sign(place, &[place + 7; 64]));
            }
            assert!(!again.sign(signers, &[1; 64]));
            let signed = Transaction::parse(again.into_bytes()).unwrap();
            assert_eq!(signed.message().as_bytes(), message);
            assert_eq!(signed.signatures(), &[[7; 64], [8; 64]][..usize::from(signers)]);
            let mut short = [&out[..written - 1]].concat();
            assert!(Unsigned::parse(&mut short).is_err());
        }
    }
}

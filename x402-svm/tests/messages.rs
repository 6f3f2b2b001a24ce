//! Messages and transactions against the validators' own reader: `solana-message` and
//! `solana-transaction` read the bytes and leave none over, `sanitize` says what is sound.
//!
//! Ours takes what theirs takes, and reads the same in it. The only deliberate difference: a legacy
//! or v0 transaction of more than 1232 bytes and a v1 transaction of more than 4096 are refused by
//! ours alone, as theirs leaves that to the network code. (A message by itself has no such limit in
//! either; what it is refused *for* is not compared.) `is_writable` is what a message asks for:
//! theirs is asked about a message without instructions, as it takes write access from programs.

use std::collections::HashSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use solana_message::compiled_instruction::CompiledInstruction;
use solana_message::v0::{self, MessageAddressTableLookup};
use solana_message::v1::{self, TransactionConfig};
use solana_message::{Hash, MessageHeader, VersionedMessage, legacy};
use solana_transaction::versioned::VersionedTransaction;
use x402_core::EncodeError;
use x402_svm::Address;
use x402_svm::message::{
    Config, Draft, DraftError, Header, Instruction, Message, MessageError, MessageVersion,
    Transaction,
};

const VERSIONS: [MessageVersion; 3] =
    [MessageVersion::Legacy, MessageVersion::V0, MessageVersion::V1];

/// Few enough cases for a debug build; `PROPTEST_CASES=100000` runs that many instead. Nothing is
/// written into the source tree on failure.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

// ---------------------------------------------------------------------------------------------
// Properties that must be the same

/// Whether both take the bytes for a message; `Err` if only one does, or reads something else.
fn message_taken(bytes: &[u8]) -> Result<bool, TestCaseError> {
    let theirs = wincode::deserialize_exact::<VersionedMessage>(bytes).ok();
    let theirs = theirs.filter(|message| message.sanitize().is_ok());
    match (Message::parse(bytes), theirs) {
        (Ok(ours), Some(theirs)) => {
            prop_assert_eq!(ours.as_bytes(), bytes);
            same(&ours, &theirs)?;
            Ok(true)
        }
        (Err(_), None) => Ok(false),
        (ours, theirs) => Err(TestCaseError::fail(format!("{ours:?}\nbut {theirs:?}"))),
    }
}

/// The same for a transaction.
fn transaction_taken(bytes: &[u8]) -> Result<bool, TestCaseError> {
    let theirs = wincode::deserialize_exact::<VersionedTransaction>(bytes).ok();
    let theirs = theirs.filter(|transaction| {
        transaction.sanitize().is_ok() && bytes.len() <= limit(&transaction.message)
    });
    match (Transaction::parse(bytes), theirs) {
        (Ok(ours), Some(theirs)) => {
            let signatures: Vec<[u8; 64]> =
                theirs.signatures.iter().map(|&signature| signature.into()).collect();
            prop_assert_eq!(ours.signatures(), signatures);
            same(ours.message(), &theirs.message)?;
            Ok(true)
        }
        (Err(_), None) => Ok(false),
        (ours, theirs) => Err(TestCaseError::fail(format!("{ours:?}\nbut {theirs:?}"))),
    }
}

fn limit(message: &VersionedMessage) -> usize {
    match message {
        VersionedMessage::V1(_) => 4096,
        _ => 1232,
    }
}

fn same(ours: &Message<'_>, theirs: &VersionedMessage) -> Result<(), TestCaseError> {
    let mut idle = theirs.clone();
    let (version, config, instructions) = match &mut idle {
        VersionedMessage::Legacy(message) => {
            (MessageVersion::Legacy, TransactionConfig::empty(), &mut message.instructions)
        }
        VersionedMessage::V0(message) => {
            (MessageVersion::V0, TransactionConfig::empty(), &mut message.instructions)
        }
        VersionedMessage::V1(message) => {
            (MessageVersion::V1, message.config, &mut message.instructions)
        }
    };
    instructions.clear();
    prop_assert_eq!(ours.as_bytes(), theirs.serialize());
    prop_assert_eq!(ours.version(), version);
    prop_assert_eq!(ours.header(), our_header(*theirs.header()));
    prop_assert_eq!(ours.config(), our_config(config));
    prop_assert_eq!(ours.lifetime(), theirs.recent_blockhash().as_bytes());

    let keys: Vec<_> = theirs.static_account_keys().iter().map(|key| key.to_bytes()).collect();
    prop_assert_eq!(ours.keys(), &keys);
    let distinct = HashSet::<_>::from_iter(&keys).len();
    prop_assert_eq!(ours.has_duplicate_key(), distinct < keys.len());
    prop_assert_eq!(ours.instructions().len(), theirs.instructions().len());
    let instructions: Vec<_> = ours
        .instructions()
        .map(|instruction| CompiledInstruction {
            program_id_index: instruction.program,
            accounts: instruction.accounts.to_vec(),
            data: instruction.data.to_vec(),
        })
        .collect();
    prop_assert_eq!(&instructions, theirs.instructions());
    let lookups: Vec<_> = ours
        .lookups()
        .map(|lookup| MessageAddressTableLookup {
            account_key: lookup.table.0.into(),
            writable_indexes: lookup.writable.to_vec(),
            readonly_indexes: lookup.readonly.to_vec(),
        })
        .collect();
    prop_assert_eq!(&lookups, theirs.address_table_lookups().unwrap_or(&[]));

    // All there are and some that are not.
    let looked_up = lookups.iter().map(|it| it.writable_indexes.len() + it.readonly_indexes.len());
    let places = keys.len() + looked_up.sum::<usize>() + 2;
    for place in (0..u8::MAX).take(places).chain([u8::MAX]) {
        let index = usize::from(place);
        prop_assert_eq!(ours.key(place), keys.get(index).copied().map(Address));
        prop_assert_eq!(ours.is_writable(place), idle.is_maybe_writable(index, None), "{}", place);
    }
    Ok(())
}

fn our_header(theirs: MessageHeader) -> Header {
    Header {
        signers: theirs.num_required_signatures,
        readonly_signers: theirs.num_readonly_signed_accounts,
        readonly_others: theirs.num_readonly_unsigned_accounts,
    }
}

fn our_config(theirs: TransactionConfig) -> Config {
    Config {
        priority_fee: theirs.priority_fee,
        compute_units: theirs.compute_unit_limit,
        loaded_accounts_bytes: theirs.loaded_accounts_data_size_limit,
        heap_bytes: theirs.heap_size,
    }
}

// ---------------------------------------------------------------------------------------------
// Messages of all versions, sound ones and others

/// The parts of a message; a version without lookups or configuration leaves them out.
#[derive(Clone, Debug)]
struct Parts {
    version: MessageVersion,
    header: MessageHeader,
    keys: Vec<[u8; 32]>,
    lifetime: [u8; 32],
    config: TransactionConfig,
    instructions: Vec<CompiledInstruction>,
    lookups: Vec<MessageAddressTableLookup>,
}

impl Parts {
    fn message(&self) -> VersionedMessage {
        let account_keys = self.keys.iter().map(|&key| key.into()).collect();
        let hash = Hash::new_from_array(self.lifetime);
        let (header, instructions) = (self.header, self.instructions.clone());
        match self.version {
            MessageVersion::Legacy => VersionedMessage::Legacy(legacy::Message {
                header,
                account_keys,
                recent_blockhash: hash,
                instructions,
            }),
            MessageVersion::V0 => VersionedMessage::V0(v0::Message {
                header,
                account_keys,
                recent_blockhash: hash,
                instructions,
                address_table_lookups: self.lookups.clone(),
            }),
            MessageVersion::V1 => VersionedMessage::V1(v1::Message {
                header,
                config: self.config,
                lifetime_specifier: hash,
                account_keys,
                instructions,
            }),
        }
    }

    fn transaction(&self, signatures: usize) -> VersionedTransaction {
        let signatures = (1..=signatures).map(signature).map(Into::into).collect();
        VersionedTransaction { signatures, message: self.message() }
    }

    fn signers(&self) -> usize {
        self.header.num_required_signatures.into()
    }

    /// Addresses that accounts can be.
    fn accounts(&self) -> usize {
        let of = |lookup: &MessageAddressTableLookup| {
            lookup.writable_indexes.len() + lookup.readonly_indexes.len()
        };
        let looked_up = self.lookups.iter().map(of).sum::<usize>();
        self.keys.len() + if self.version == MessageVersion::V0 { looked_up } else { 0 }
    }
}

/// Bytes that differ from place to place and from seed to seed.
fn bytes(seed: usize, len: usize) -> Vec<u8> {
    let pattern = |place: usize| (seed * 31 + place * 7) as u8 ^ (place >> 6) as u8;
    let mut bytes: Vec<u8> = (0..len).map(pattern).collect();
    if let Some(front) = bytes.first_chunk_mut() {
        *front = (seed as u16).to_le_bytes();
    }
    bytes
}

fn key(number: usize) -> [u8; 32] {
    bytes(number, 32).try_into().expect("32 bytes")
}

fn signature(number: usize) -> [u8; 64] {
    bytes(number, 64).try_into().expect("64 bytes")
}

fn config() -> impl Strategy<Value = TransactionConfig> {
    let heap = prop::option::of((32..=256u32).prop_map(|kib| kib * 1024));
    (any::<Option<u64>>(), any::<[Option<u32>; 2]>(), heap).prop_map(
        |(priority_fee, [compute_unit_limit, loaded_accounts_data_size_limit], heap_size)| {
            TransactionConfig {
                priority_fee,
                compute_unit_limit,
                loaded_accounts_data_size_limit,
                heap_size,
            }
        },
    )
}

/// A place for the program and for each account, and how much data. Lengths are also around those
/// at which a compact-u16 gets longer.
fn instruction() -> impl Strategy<Value = (Index, Vec<Index>, usize)> {
    let accounts =
        prop_oneof![30 => vec(any::<Index>(), 0..6), 1 => vec(any::<Index>(), 120..=255)];
    let data = prop_oneof![30 => 0..20usize, 2 => 126..=130usize, 1 => 16_382..=16_386usize];
    (any::<Index>(), accounts, data)
}

/// A message that every validator finds sound: with up to 8 addresses looked up, at most 256.
fn sound() -> impl Strategy<Value = Parts> {
    let keys =
        prop_oneof![8 => 1..=10usize, 1 => 11..=62usize, 2 => 63..=65usize, 1 => 66..=248usize];
    let instructions =
        prop_oneof![12 => vec(instruction(), 0..5), 1 => vec(instruction(), 62..=66)];
    let indexes = || vec(any::<u8>(), 0..3);
    let lookups = vec((any::<u8>(), indexes(), indexes()), 0..3);
    let version_and_header = (select(&VERSIONS), keys, any::<[Index; 3]>());
    (version_and_header, any::<[u8; 32]>(), config(), instructions, lookups).prop_map(
        |((version, keys, header), lifetime, config, instructions, lookups)| {
            let v1 = version == MessageVersion::V1;
            let (keys, most) = if v1 { (keys.min(64), 64) } else { (keys, 66) };
            let signers = 1 + header[0].index(keys.min(12));
            let mut parts = Parts {
                version,
                header: MessageHeader {
                    num_required_signatures: signers as u8,
                    num_readonly_signed_accounts: header[1].index(signers) as u8,
                    num_readonly_unsigned_accounts: header[2].index(keys - signers + 1) as u8,
                },
                keys: (0..keys).map(key).collect(),
                lifetime,
                config,
                instructions: Vec::new(),
                lookups: Vec::new(),
            };
            for (table, writable_indexes, mut readonly_indexes) in lookups {
                if writable_indexes.is_empty() {
                    readonly_indexes.push(table);
                }
                let account_key = key(table.into()).into();
                let lookup =
                    MessageAddressTableLookup { account_key, writable_indexes, readonly_indexes };
                parts.lookups.push(lookup);
            }
            // The payer, perhaps the only address there is, is no program.
            if keys > 1 {
                for (program, accounts, data) in instructions.into_iter().take(most) {
                    let place = |at: Index| at.index(parts.accounts()) as u8;
                    parts.instructions.push(CompiledInstruction {
                        program_id_index: 1 + program.index(keys - 1) as u8,
                        accounts: accounts.into_iter().map(place).collect(),
                        data: bytes(data, data),
                    });
                }
            }
            parts
        },
    )
}

/// Something about a message moved to a limit: just below, on it or just above.
#[derive(Clone, Debug)]
struct Flaw {
    what: u8,
    at: Index,
    which: Index,
    off: isize,
}

impl Flaw {
    fn any() -> impl Strategy<Value = Self> {
        (0..11u8, any::<[Index; 2]>(), -1..=1isize).prop_map(|(what, [at, which], off)| Self {
            what,
            at,
            which,
            off,
        })
    }

    fn spoil(&self, parts: &mut Parts) {
        let Self { what, at, which, off } = *self;
        let near = |limits: &[usize]| which.get(limits).saturating_add_signed(off);
        let (signers, keys, accounts) = (parts.signers(), parts.keys.len(), parts.accounts());
        let instruction = match parts.instructions.len() {
            0 => None,
            len => parts.instructions.get_mut(at.index(len)),
        };
        let header = &mut parts.header;
        match (what, instruction) {
            (0, _) => {
                let free = keys.saturating_sub(header.num_readonly_unsigned_accounts.into());
                header.num_required_signatures = near(&[0, 12, keys, free, 128]) as u8;
            }
            (1, _) => header.num_readonly_signed_accounts = near(&[signers]) as u8,
            (2, _) => {
                let others = keys.saturating_sub(signers);
                header.num_readonly_unsigned_accounts = near(&[others, 255]) as u8;
            }
            (3, Some(instruction)) => {
                instruction.program_id_index = near(&[0, keys, accounts, 255]) as u8;
            }
            (4, Some(instruction)) => {
                instruction.accounts.push(near(&[0, keys, accounts, 255]) as u8);
            }
            (5, _) if keys > 0 => parts.keys[which.index(keys)] = parts.keys[at.index(keys)],
            (6, _) => {
                let heap = 1024 * near(&[0, 1, 32, 100, 256]) + at.index(2);
                parts.config.heap_size = Some(heap as u32);
            }
            (7, _) => parts.lookups.push(MessageAddressTableLookup {
                writable_indexes: bytes(0, at.index(2)),
                ..MessageAddressTableLookup::default()
            }),
            (8, _) => parts.lookups.push(MessageAddressTableLookup {
                writable_indexes: bytes(3, at.index(5)),
                readonly_indexes: bytes(4, near(&[256]).saturating_sub(accounts + at.index(5))),
                ..MessageAddressTableLookup::default()
            }),
            (9, _) => parts.keys = (0..near(&[0, 64, 128, 256, 300])).map(key).collect(),
            (10, Some(instruction)) => {
                let instruction = instruction.clone();
                parts.instructions.resize(near(&[64]), instruction);
            }
            _ => {}
        }
    }
}

/// One in two messages sound, the others with something at a limit.
fn parts() -> impl Strategy<Value = Parts> {
    let flaws = prop_oneof![Just(Vec::new()), vec(Flaw::any(), 1..3)];
    (sound(), flaws).prop_map(|(mut parts, flaws)| {
        flaws.iter().for_each(|flaw| flaw.spoil(&mut parts));
        parts
    })
}

/// A change to bytes: what, near which end, where and how.
type Edit = (u8, u8, Index, u8);

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    vec((0..7u8, 0..3u8, any::<Index>(), any::<u8>()), 1..4)
}

fn edit(bytes: &mut Vec<u8>, edits: &[Edit]) {
    for (what, near, at, byte) in edits {
        let Some(last) = bytes.len().checked_sub(1) else { return };
        // Most of the structure is near the ends.
        let at = match near {
            0 => at.index(8).min(last),
            1 => last - at.index(16).min(last),
            _ => at.index(last + 1),
        };
        match what {
            0 => bytes[at] ^= 1 << (byte % 8),
            1 => bytes[at] = *byte,
            2 => bytes.insert(at, *byte),
            3 => drop(bytes.remove(at)),
            4 => bytes.truncate(at),
            5 => bytes.push(*byte),
            _ => alias(bytes, at),
        }
    }
}

/// Spells a compact-u16 of one byte with two.
fn alias(bytes: &mut Vec<u8>, at: usize) {
    bytes[at] |= 0x80;
    bytes.insert(at + 1, 0);
}

proptest! {
    #![proptest_config(cases(2048))]

    #[test]
    fn sound_messages_are_taken(parts in sound()) {
        let theirs = parts.message();
        let bytes = theirs.serialize();
        prop_assert!(message_taken(&bytes)?);
        same(&Message::parse(&bytes).expect("taken"), &theirs)?;
    }

    #[test]
    fn messages_at_their_limits(parts in parts()) {
        message_taken(&parts.message().serialize())?;
    }

    #[test]
    fn mutated_messages(parts in sound(), edits in edits()) {
        let mut bytes = parts.message().serialize();
        edit(&mut bytes, &edits);
        message_taken(&bytes)?;
    }

    #[test]
    fn arbitrary_bytes(
        signed: bool,
        head in prop_oneof![
            4 => Just(vec![]),
            4 => Just(vec![0x80]),
            4 => Just(vec![0x81]),
            1 => (0x80..=u8::MAX).prop_map(|version| vec![version]),
        ],
        header in (0..3u8, prop_oneof![5 => Just(0u8), 1 => 0..3u8], 0..3u8),
        mask in prop_oneof![
            4 => (0..16u32).prop_map(|bits| ((bits & 7) << 2) | ((bits >> 3) * 3)),
            1 => 0..64u32,
            1 => any::<u32>(),
        ],
        counts in (0..3u8, 0..6u8),
        // Small numbers, for the counts and places they are read as.
        body in vec(prop_oneof![9 => 0..4u8, 1 => any::<u8>()], 0..400),
    ) {
        let mut bytes = head.clone();
        bytes.extend([header.0, header.1, header.2]);
        if head == [0x81] {
            bytes.extend(mask.to_le_bytes());
            bytes.extend([5; 32]);
            bytes.push(counts.0);
        }
        bytes.push(counts.1);
        bytes.extend(body);
        message_taken(&bytes)?;
        // The message alone, if there is one in front.
        let mut rest = &bytes[..];
        if wincode::deserialize_from::<VersionedMessage>(&mut rest).is_ok() {
            bytes.truncate(bytes.len() - rest.len());
            message_taken(&bytes)?;
        }
        let signatures = [1; 65];
        match (signed, &head[..]) {
            (true, [0x81]) => bytes.extend(&signatures[1..]),
            (true, _) => drop(bytes.splice(..0, signatures)),
            _ => {}
        }
        transaction_taken(&bytes)?;
    }

    #[test]
    fn transactions(
        mut parts in parts(),
        off in prop_oneof![6 => Just(0), 1 => Just(1), 1 => Just(-1)],
        fit in prop::option::of(-1..=1isize),
        edits in prop_oneof![Just(Vec::new()), edits()],
    ) {
        let signatures = parts.signers().saturating_add_signed(off);
        let serialize = |parts: &Parts| {
            wincode::serialize(&parts.transaction(signatures)).expect("serializable")
        };
        // Data up to just below, at and above the longest transaction.
        if let Some(off) = fit && !parts.instructions.is_empty() {
            parts.instructions.truncate(5);
            for instruction in &mut parts.instructions {
                instruction.accounts.truncate(9);
                instruction.data.truncate(9);
            }
            let want = limit(&parts.message()).saturating_add_signed(off);
            let missing = want.saturating_sub(serialize(&parts).len());
            parts.instructions[0].data.extend(bytes(7, missing));
            // More data may have a longer length.
            let over = serialize(&parts).len().saturating_sub(want).min(missing);
            let len = parts.instructions[0].data.len() - over;
            parts.instructions[0].data.truncate(len);
        }
        let mut bytes = serialize(&parts);
        edit(&mut bytes, &edits);
        transaction_taken(&bytes)?;
    }

    #[test]
    fn drafts(mut parts in parts(), small: Index, slack in 0..100usize) {
        parts.lookups.clear(); // Ours writes none.
        let mut theirs = parts.transaction(0);
        theirs.signatures = vec![[0; 64].into(); parts.signers()];
        let unsigned = wincode::serialize(&theirs).expect("serializable");
        let len = unsigned.len();
        let good = theirs.sanitize().is_ok() && len <= limit(&theirs.message);

        let mut out = vec![0xaa; len + slack];
        with_draft(&parts, |draft| {
            match draft.write(&mut out) {
                Ok(ours) => {
                    prop_assert!(good);
                    prop_assert_eq!(ours.message(), theirs.message.serialize());
                    prop_assert_eq!(ours.into_bytes(), unsigned);
                }
                Err(error) => {
                    prop_assert!(!good && matches!(error, DraftError::Invalid(_)), "{:?}", error);
                    return Ok(());
                }
            }
            for small in [0, small.index(len), len - 1] {
                let error = draft.write(&mut out[..small]).err();
                prop_assert_eq!(error, Some(EncodeError::too_small(len).into()));
            }
            let mut ours = draft.write(&mut out).expect("written before");
            for place in (0..=u8::MAX).rev() {
                let index = usize::from(place);
                let signed = ours.sign(place, &signature(index));
                prop_assert_eq!(signed, index < parts.signers());
                if signed {
                    theirs.signatures[index] = signature(index).into();
                }
            }
            let signed = ours.into_bytes();
            prop_assert_eq!(wincode::deserialize_exact(signed).ok(), Some(theirs));
            Ok(())
        })?;
        prop_assert!(out[len..].iter().all(|byte| *byte == 0xaa), "written beyond the end");
    }
}

fn with_draft<T>(parts: &Parts, run: impl FnOnce(Draft<'_>) -> T) -> T {
    let keys: Vec<_> = parts.keys.iter().copied().map(Address).collect();
    let instructions: Vec<_> = parts
        .instructions
        .iter()
        .map(|it| Instruction {
            program: it.program_id_index,
            accounts: &it.accounts,
            data: &it.data,
        })
        .collect();
    run(Draft {
        version: parts.version,
        header: our_header(parts.header),
        keys: &keys,
        lifetime: &parts.lifetime,
        config: our_config(parts.config),
        instructions: &instructions,
    })
}

// ---------------------------------------------------------------------------------------------
// Tables

/// A short message with something of everything.
fn short(version: MessageVersion) -> Parts {
    Parts {
        version,
        header: MessageHeader {
            num_required_signatures: 1,
            num_readonly_signed_accounts: 0,
            num_readonly_unsigned_accounts: 1,
        },
        keys: (1..=3).map(key).collect(),
        lifetime: key(9),
        config: TransactionConfig::empty().with_priority_fee(5000).with_heap_size(64 * 1024),
        instructions: vec![
            CompiledInstruction { program_id_index: 2, accounts: vec![0, 1], data: vec![3, 4] },
            CompiledInstruction { program_id_index: 1, accounts: vec![2], data: vec![] },
        ],
        lookups: vec![MessageAddressTableLookup {
            account_key: key(7).into(),
            writable_indexes: vec![2],
            readonly_indexes: vec![1, 0],
        }],
    }
}

#[test]
fn every_cut_alias_and_change_of_one_byte() {
    for version in VERSIONS {
        let parts = short(version);
        let message = parts.message().serialize();
        let transaction = wincode::serialize(&parts.transaction(1)).unwrap();
        for (bytes, taken) in [
            (message, message_taken as fn(&[u8]) -> Result<bool, TestCaseError>),
            (transaction, transaction_taken),
        ] {
            assert!(taken(&bytes).unwrap());
            for at in 0..bytes.len() {
                assert!(!taken(&bytes[..at]).unwrap(), "{version:?} cut at {at}");
                let mut aliased = bytes.clone();
                alias(&mut aliased, at);
                assert!(!taken(&aliased).unwrap(), "{version:?} alias at {at}");
                let mut changed = bytes.clone();
                for value in 0..=u8::MAX {
                    changed[at] = value;
                    taken(&changed).unwrap();
                }
            }
        }
    }
}

#[test]
fn signatures_have_one_place() {
    for version in VERSIONS {
        let parts = short(version);
        let message = parts.message().serialize();
        let in_front = [&[1], &signature(1)[..], &message].concat();
        let behind = [&message, &signature(1)[..]].concat();
        let v1 = version == MessageVersion::V1;
        assert_eq!(transaction_taken(&in_front).unwrap(), !v1, "{version:?}");
        assert_eq!(transaction_taken(&behind).unwrap(), v1, "{version:?}");
    }
}

/// So many signers that their number is the first byte of a versioned message.
#[test]
fn no_legacy_message_has_a_version() {
    let mut parts = short(MessageVersion::Legacy);
    parts.keys = (0..256).map(key).collect();
    for signers in 1..=u8::MAX {
        parts.header.num_required_signatures = signers;
        let taken = message_taken(&parts.message().serialize()).unwrap();
        assert_eq!(taken, signers < 0x80, "{signers}");
    }
}

/// Only the shortest form of a length up to 65535 is one, even with that many bytes after it.
#[test]
fn lengths_have_one_form() {
    let bytes_of_forms = [0, 1, 2, 3, 4, 0x7f, 0x80, 0x81, 0x83, 0x84, 0xff];
    let (last, more) = bytes_of_forms.split_at(6);
    let mut forms: Vec<_> = last.iter().map(|byte| vec![*byte]).collect();
    for first in more {
        forms.extend(last.iter().map(|last| vec![*first, *last]));
        for second in more {
            forms.extend(bytes_of_forms.map(|third| vec![*first, *second, third]));
        }
    }

    let mut parts = short(MessageVersion::Legacy);
    parts.instructions.truncate(1);
    parts.instructions[0].data.clear();
    let message = parts.message().serialize();
    let before = &message[..message.len() - 1];
    let mut taken = 0;
    for form in forms {
        let groups = form.iter().enumerate();
        let length: usize = groups.map(|(at, byte)| usize::from(byte & 0x7f) << (7 * at)).sum();
        let shortest = form.len() == 1 || form.last() != Some(&0);
        let ends = form.last().is_some_and(|last| last & 0x80 == 0);
        let sound = shortest && ends && length <= 0xffff;
        let whole = [before, &form, &bytes(1, length)].concat();
        assert_eq!(message_taken(&whole).unwrap(), sound, "{form:x?}");
        taken += usize::from(sound);
    }
    assert_eq!(taken, 6 + 5 * 5 + 5 * 5 * 3);
}

/// A number too large for its count of one or two bytes is refused, not cut short.
#[test]
fn counts_do_not_wrap() {
    let data = |parts: &mut Parts| parts.instructions[0].data = vec![0; 0x1_0000];
    let accounts = |parts: &mut Parts| parts.instructions[0].accounts = vec![0; 0x100];
    let keys = |parts: &mut Parts| parts.keys = (0..0x100 + 3).map(key).collect();
    let instructions = |parts: &mut Parts| {
        let first = parts.instructions[0].clone();
        parts.instructions.resize(0x100 + 1, first);
    };
    type Enlarge = fn(&mut Parts);
    let cases: [(MessageVersion, Enlarge, MessageError); 6] = [
        (MessageVersion::Legacy, data, MessageError::InvalidLength),
        (MessageVersion::V0, data, MessageError::InvalidLength),
        (MessageVersion::V1, data, MessageError::InvalidLength),
        (MessageVersion::V1, accounts, MessageError::TooMany),
        (MessageVersion::V1, keys, MessageError::TooMany),
        (MessageVersion::V1, instructions, MessageError::TooMany),
    ];
    for (version, enlarge, expected) in cases {
        let mut parts = short(version);
        enlarge(&mut parts);
        let theirs = parts.transaction(1);
        assert!(theirs.sanitize().is_err() || wincode::serialize(&theirs).is_err());
        let error = with_draft(&parts, |draft| draft.write(&mut [0; 0x4000]).err());
        assert_eq!(error, Some(DraftError::Invalid(expected)), "{version:?}");
    }
}

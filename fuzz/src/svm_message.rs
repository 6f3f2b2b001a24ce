//! Any bytes as a Solana transaction and as a message, for ours and for the validators' own reader:
//! both read them or neither does, and the same in them. Every place in what is read is there, not
//! a byte can be missing or left over, and it is written to the same bytes.

use solana_message::VersionedMessage;
use solana_message::v1::TransactionConfig;
use solana_transaction::versioned::VersionedTransaction;
use x402_svm::message::{
    Config, Draft, Header, Instruction, Message, MessageError, MessageVersion, TRANSACTION_BYTES,
    TRANSACTION_V1_BYTES, Transaction,
};
use x402_svm::{Address, payer};

pub use crate::blindly as mutate;

/// Panics if anything above is not so.
pub fn check(bytes: &[u8]) {
    compared(bytes);
    if let Ok(message) = Message::parse(bytes) {
        assert_eq!(message.as_bytes(), bytes);
        look(&message);
        assert_eq!(
            Message::parse(&[bytes, &[0]].concat()).err(),
            Some(MessageError::TrailingBytes)
        );
        assert!(Message::parse(&bytes[..bytes.len() - 1]).is_err());
        let limit = limit(&message);
        // One byte for the number of signatures, but in v1.
        let count = usize::from(message.version() != MessageVersion::V1);
        let len = count + 64 * usize::from(message.header().signers) + bytes.len();
        let mut out = [0xff; TRANSACTION_V1_BYTES];
        match written(&message, &mut out) {
            Some(transaction) => {
                assert!(transaction.len() == len && len <= limit);
                let again = Transaction::parse(transaction).unwrap();
                assert_eq!(again.message().as_bytes(), bytes);
                assert!(again.signatures().iter().all(|signature| *signature == [0; 64]));
            }
            None => assert!(len > limit || message.lookups().next().is_some()),
        }
    }
    if let Ok(transaction) = Transaction::parse(bytes) {
        let message = transaction.message();
        assert!(bytes.len() <= limit(message));
        assert_eq!(transaction.signatures().len(), usize::from(message.header().signers));
        assert_eq!(Message::parse(message.as_bytes()).unwrap().as_bytes(), message.as_bytes());
        look(message);
        assert!(Transaction::parse(&[bytes, &[0]].concat()).is_err());
        assert!(Transaction::parse(&bytes[..bytes.len() - 1]).is_err());
        let mut out = [0xff; TRANSACTION_V1_BYTES];
        if let Some(unsigned) = written(message, &mut out) {
            let message = message.as_bytes();
            let signatures = transaction.signatures().concat();
            assert_eq!(unsigned.len(), bytes.len());
            if unsigned.starts_with(message) {
                assert_eq!(bytes, [message, &signatures].concat());
            } else {
                assert_eq!(bytes, [&bytes[..1], &signatures, message].concat());
                assert_eq!((bytes[0], &bytes[1 + signatures.len()..]), (unsigned[0], message));
            }
        }
    }
}

/// `solana-message` reads, `sanitize` says what is sound. Only ours refuses transactions that are
/// too long: theirs leaves that to the network code.
fn compared(bytes: &[u8]) {
    let theirs = wincode::deserialize_exact::<VersionedMessage>(bytes).ok();
    let theirs = theirs.filter(|message| message.sanitize().is_ok());
    match (Message::parse(bytes), theirs) {
        (Ok(ours), Some(theirs)) => same(&ours, theirs),
        (Err(_), None) => {}
        (ours, theirs) => panic!("{ours:?}\nbut {theirs:?}"),
    }
    let theirs = wincode::deserialize_exact::<VersionedTransaction>(bytes).ok();
    let theirs = theirs.filter(|transaction| {
        let v1 = matches!(transaction.message, VersionedMessage::V1(_));
        let limit = if v1 { TRANSACTION_V1_BYTES } else { TRANSACTION_BYTES };
        transaction.sanitize().is_ok() && bytes.len() <= limit
    });
    match (Transaction::parse(bytes), theirs) {
        (Ok(ours), Some(theirs)) => {
            let signatures: Vec<[u8; 64]> =
                theirs.signatures.iter().map(|&signature| signature.into()).collect();
            assert_eq!(ours.signatures(), signatures);
            same(ours.message(), theirs.message);
        }
        (Err(_), None) => {}
        (ours, theirs) => panic!("{ours:?}\nbut {theirs:?}"),
    }
}

fn same(ours: &Message<'_>, mut theirs: VersionedMessage) {
    assert_eq!(ours.as_bytes(), theirs.serialize());
    let header = theirs.header();
    let expected = Header {
        signers: header.num_required_signatures,
        readonly_signers: header.num_readonly_signed_accounts,
        readonly_others: header.num_readonly_unsigned_accounts,
    };
    assert_eq!(ours.header(), expected);
    assert_eq!(ours.lifetime(), theirs.recent_blockhash().as_bytes());
    let keys: Vec<_> = theirs.static_account_keys().iter().map(|key| key.to_bytes()).collect();
    assert_eq!(ours.keys(), keys);
    assert_eq!(ours.instructions().len(), theirs.instructions().len());
    for (ours, theirs) in ours.instructions().zip(theirs.instructions()) {
        assert_eq!(ours.program, theirs.program_id_index);
        assert!(ours.accounts == theirs.accounts && ours.data == theirs.data);
    }
    let lookups = theirs.address_table_lookups().unwrap_or(&[]);
    assert_eq!(ours.lookups().count(), lookups.len());
    for (ours, theirs) in ours.lookups().zip(lookups) {
        assert_eq!(ours.table.0, theirs.account_key.to_bytes());
        assert!(
            ours.writable == theirs.writable_indexes && ours.readonly == theirs.readonly_indexes
        );
    }
    let (version, config, instructions) = match &mut theirs {
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
    assert_eq!(ours.version(), version);
    let expected = Config {
        priority_fee: config.priority_fee,
        compute_units: config.compute_unit_limit,
        loaded_accounts_bytes: config.loaded_accounts_data_size_limit,
        heap_bytes: config.heap_size,
    };
    assert_eq!(ours.config(), expected);
    // Theirs takes write access from programs; without instructions there are none.
    instructions.clear();
    for place in 0..=u8::MAX {
        assert_eq!(
            ours.is_writable(place),
            theirs.is_maybe_writable(place.into(), None),
            "{place}"
        );
    }
}

fn limit(message: &Message<'_>) -> usize {
    match message.version() {
        MessageVersion::V1 => TRANSACTION_V1_BYTES,
        _ => TRANSACTION_BYTES,
    }
}

/// The unsigned transaction of a message; `None` if it has address tables, which are not written,
/// or would be too long.
fn written<'o>(message: &Message<'_>, out: &'o mut [u8]) -> Option<&'o [u8]> {
    let keys: Vec<_> = message.keys().iter().copied().map(Address).collect();
    let instructions: Vec<Instruction<'_>> = message.instructions().collect();
    let draft = Draft {
        version: message.version(),
        header: message.header(),
        keys: &keys,
        lifetime: message.lifetime(),
        config: message.config(),
        instructions: &instructions,
    };
    if message.lookups().next().is_some() {
        let _ = draft.write(out);
        return None;
    }
    let mut short = vec![0; out.len()];
    let unsigned = draft.write(out).ok()?.into_bytes();
    assert!(draft.write(&mut short[..unsigned.len() - 1]).is_err());
    Some(unsigned)
}

/// Everything that can be asked of a message, against the plain way to answer it.
fn look(message: &Message<'_>) {
    let keys = message.keys().len();
    let writable: Vec<_> = message
        .lookups()
        .flat_map(|l| l.writable.iter().map(move |place| (l.table, *place)))
        .collect();
    let readonly: Vec<_> = message
        .lookups()
        .flat_map(|l| l.readonly.iter().map(move |place| (l.table, *place)))
        .collect();
    let tables = [writable.as_slice(), &readonly].concat();
    let header = message.header();
    for place in 0..=u8::MAX {
        let at = usize::from(place);
        assert_eq!(message.key(place), message.keys().get(at).copied().map(Address));
        let looked_up = at.checked_sub(keys).and_then(|at| tables.get(at).copied());
        assert_eq!(message.looked_up(place), looked_up);
        let of_tables = keys..keys + writable.len();
        let others = usize::from(header.signers)..keys - usize::from(header.readonly_others);
        let signs = place < header.signers - header.readonly_signers;
        assert_eq!(
            message.is_writable(place),
            signs || others.contains(&at) || of_tables.contains(&at)
        );
    }
    let mut sorted = message.keys().to_vec();
    sorted.sort_unstable();
    assert_eq!(message.has_duplicate_key(), sorted.windows(2).any(|two| two[0] == two[1]));

    let count = message.instructions().len();
    assert_eq!(message.instructions().count(), count);
    for instruction in message.instructions() {
        assert!((1..keys).contains(&usize::from(instruction.program)));
        for &place in instruction.accounts {
            assert!(message.key(place).is_some() != message.looked_up(place).is_some());
        }
    }
    if let Some(payer) = payer(message) {
        assert!(message.keys().contains(&payer.0));
    }
}

//! Any bytes as a Solana transaction and as a message: every place in what is read is there, not a
//! byte can be missing or left over, and it is written to the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use x402_svm::message::{
    Draft, Instruction, Message, MessageError, MessageVersion, TRANSACTION_BYTES,
    TRANSACTION_V1_BYTES, Transaction,
};
use x402_svm::{Address, payer};

fuzz_target!(|bytes: &[u8]| {
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
});

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

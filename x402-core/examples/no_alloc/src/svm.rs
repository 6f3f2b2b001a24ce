//! Everything of `x402-svm`: verifying and making payments of the scheme `exact`.

use core::fmt::Write;
use core::hint::black_box;

use x402_core::buyer::Wallet;
use x402_core::crypto::{Ed25519, Signer, Verify};
use x402_core::wire::{PaymentRequirements, VerifyRequest};
use x402_core::{Message as _, Payment, gate};
use x402_svm::message::{
    Config, Draft, Header, Instruction, Message, MessageVersion, TRANSACTION_V1_BYTES, Transaction,
};
use x402_svm::{
    Address, Asset, ExactSvm, ExactSvmWallet, Inputs, Limits, Mint, PAYLOAD_BYTES, PAYMENT_BYTES,
    Rules, SvmUnsigned, TokenProgram, assets, associated_token_address, base58, offered_blockhash,
    payer, programs, read_transaction,
};

use crate::protocol::Sink;
use crate::samples;

/// Calls everything once; signatures are made by `key` and checked by `curve`. Says whether the
/// payment passed.
pub fn exercise(curve: impl Verify, key: &impl Signer<Ed25519>) -> bool {
    texts();
    mints(black_box(samples::PAYMENT));
    write(black_box(samples::SVM_PAYER), black_box(samples::PAYMENT));
    make(&curve, key);
    verify(curve)
}

fn verify(curve: impl Verify) -> bool {
    let Ok(request) = VerifyRequest::parse(black_box(samples::SVM_REQUEST)) else { return false };
    let VerifyRequest { payment_payload, payment_requirements, .. } = &request;
    let mut scratch = [0; TRANSACTION_V1_BYTES];
    if let Ok(bytes) = read_transaction(payment_payload.payload, black_box(&mut scratch)) {
        read(black_box(bytes));
    }
    let resolve = |table, place| black_box((place < 9).then_some(table));
    let account = |_, _, mint| black_box(None::<Address>).filter(|account| *account == mint);
    let own = [black_box(samples::SVM_FEE_PAYER)];
    let assets = [black_box(samples::SVM_ASSET)];
    let rules = Rules {
        limits: black_box(Limits::default()),
        over_payment: black_box(false),
        fee_payers: black_box(Some(&own)),
        assets: black_box(&assets),
        resolve: black_box(Some(&resolve)),
        account: black_box(Some(&account)),
        base64: None,
    };
    let (scheme, now) = (ExactSvm::<_>::with_verify(curve, rules), black_box(samples::NOW));
    match gate::verify(&scheme, payment_payload, payment_requirements, now) {
        Ok(verified) => {
            black_box((verified.payment().claim_key(), verified.payment().expires_at()));
            black_box(verified.payment().clone());
            true
        }
        Err(reason) => black_box(reason.as_str()).is_empty(),
    }
}

/// Reads a transaction, and everything in it.
fn read(bytes: &[u8]) {
    match Transaction::parse(bytes) {
        Ok(transaction) => {
            black_box(transaction.signatures());
            look(transaction.message());
            black_box(Message::parse(transaction.message().as_bytes()).is_ok());
        }
        Err(error) => {
            black_box(write!(Sink, "{error}").is_ok());
        }
    }
}

fn look(message: &Message<'_>) {
    black_box((message.version(), message.header(), message.config(), message.lifetime()));
    black_box((message.keys(), message.has_duplicate_key(), payer(message)));
    for place in 0..=black_box(u8::MAX) {
        black_box((message.key(place), message.looked_up(place), message.is_writable(place)));
    }
    for instruction in message.instructions() {
        black_box(programs::TransferChecked::parse(instruction.accounts, instruction.data));
        black_box(programs::compute_unit_limit(instruction.data));
        black_box(programs::compute_unit_price(instruction.data));
    }
    for lookup in message.lookups() {
        black_box(lookup);
    }
}

/// Writes a transaction of each version.
fn write(key: Address, bytes: &[u8]) {
    let keys = [key; 3];
    let instructions = [Instruction { program: black_box(1), accounts: bytes, data: bytes }];
    for version in [MessageVersion::Legacy, MessageVersion::V0, MessageVersion::V1] {
        let draft = Draft {
            version: black_box(version),
            header: black_box(Header { signers: 1, readonly_signers: 0, readonly_others: 1 }),
            keys: black_box(&keys),
            lifetime: &key.0,
            config: black_box(Config { compute_units: Some(1), ..Config::default() }),
            instructions: black_box(&instructions),
        };
        let mut out = [0; TRANSACTION_V1_BYTES];
        match draft.write(black_box(&mut out)) {
            Ok(mut unsigned) => {
                black_box(unsigned.message());
                black_box(unsigned.sign(black_box(0), black_box(&[1; 64])));
                black_box(unsigned.into_bytes());
            }
            Err(error) => {
                black_box(write!(Sink, "{error}").is_ok());
            }
        }
    }
}

/// Reads and writes addresses, signatures and the list of tokens.
fn texts() {
    let text = black_box(samples::SVM_PAYEE);
    if let Some(address) = Address::parse(text) {
        black_box(address.base58(black_box(&mut [0; Address::CHARS])));
        black_box(write!(Sink, "{address:>50} {address:?}").is_ok());
        black_box((assets::find(text, address).is_some(), assets::default_of(text).is_some()));
    }
    if let Some(bytes) = black_box(base58::decode::<64>(text)) {
        let mut out = [0; base58::encoded_len(64)];
        black_box(base58::encode(&bytes, black_box(&mut out)));
    }
}

fn mints(data: &[u8]) {
    for program in [programs::TOKEN, programs::TOKEN_2022] {
        if let Some(mint) = Mint::parse(black_box(program), data) {
            black_box((mint, mint.is_safe()));
            black_box(write!(Sink, "{mint:?}").is_ok());
        }
    }
}

fn make(curve: &impl Verify, key: &impl Signer<Ed25519>) {
    let Ok(offer) = PaymentRequirements::parse(black_box(samples::SVM_OFFER)) else { return };
    let assets = [black_box(samples::SVM_ASSET)];
    let wallet = ExactSvmWallet { assets: black_box(&assets) };
    black_box((wallet.pays(&offer), wallet.decimals(&offer)));
    let Asset { address: mint, .. } = black_box(samples::SVM_ASSET);
    let program = black_box(TokenProgram::Token2022);
    black_box(associated_token_address(curve, black_box(samples::SVM_PAYER), program, mint));
    let inputs = Inputs {
        payer: black_box(samples::SVM_PAYER),
        blockhash: offered_blockhash(&offer).or(black_box(Some([5; 32]))),
        nonce: black_box([9; 16]),
        assets: black_box(&assets),
    };
    let mut transaction = [0; PAYMENT_BYTES];
    match SvmUnsigned::new(&offer, &inputs, curve, black_box(&mut transaction)) {
        Ok(unsigned) => {
            if let Ok(signature) = key.sign(unsigned.message()) {
                let mut out = [0; PAYLOAD_BYTES];
                black_box(unsigned.payload(&signature, black_box(&mut out)).is_ok());
            }
        }
        Err(error) => {
            black_box(write!(Sink, "{error}").is_ok());
        }
    }
}

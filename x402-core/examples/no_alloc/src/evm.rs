//! Everything of `x402-evm`: verifying and making payments of the scheme `exact`.

use core::hint::black_box;

use x402_core::crypto::{Recover, RecoverableSignature};
use x402_core::wire::{PaymentRequirements, VerifyRequest};
use x402_core::{Message, Payment, buyer::Wallet, gate};
use x402_evm::{
    Address, Eip3009Unsigned, ExactEvm, ExactEvmWallet, PAYLOAD_BYTES, TransferProof,
    TransferProofUnsigned, assets, check_but_signature,
};

use crate::samples;

/// Calls everything once; signers are recovered by `recover`. Says whether the payment passed.
pub fn exercise(recover: impl Recover + Copy) -> bool {
    make();
    verify(recover)
}

fn verify(recover: impl Recover + Copy) -> bool {
    let Ok(request) = VerifyRequest::parse(black_box(samples::REQUEST)) else { return false };
    let VerifyRequest { payment_payload, payment_requirements, .. } = &request;
    let (scheme, now) = (ExactEvm::with_recover(recover), black_box(samples::NOW));
    black_box(check_but_signature(payment_payload, payment_requirements, now).is_ok());
    let transfers = TransferProof::with_recover(recover);
    if let Ok(proof) = gate::verify(&transfers, payment_payload, payment_requirements, now) {
        black_box((proof.payment().claim_key(), proof.payment().expires_at()));
    }
    match gate::verify(&scheme, payment_payload, payment_requirements, now) {
        Ok(verified) => {
            black_box((verified.payment().claim_key(), verified.payment().expires_at()));
            true
        }
        Err(reason) => black_box(reason.as_str()).is_empty(),
    }
}

fn make() {
    let now = black_box(samples::NOW);
    let Ok(offer) = PaymentRequirements::parse(black_box(samples::OFFER)) else { return };
    black_box((ExactEvmWallet.pays(&offer), ExactEvmWallet.decimals(&offer)));
    let Some(from) = Address::parse(black_box(samples::PAYEE)) else { return };
    black_box(from.checksummed(&mut [0; Address::CHARS]));
    black_box((assets::find(now, from).is_some(), assets::default_of(now).is_some()));
    if let Ok(unsigned) =
        TransferProofUnsigned::new(&offer, black_box("/"), from, black_box([9; 32]))
    {
        black_box(unsigned.digest());
        if let Ok(signature) = RecoverableSignature::from_bytes(&black_box([1; 65])) {
            let mut out = [0; PAYLOAD_BYTES];
            black_box(unsigned.payload(&signature, black_box(&mut out)).is_ok());
        }
    }
    if let Ok(unsigned) = Eip3009Unsigned::new(&offer, from, now, black_box([9; 32])) {
        black_box(unsigned.digest());
        if let Ok(signature) = RecoverableSignature::from_bytes(&black_box([1; 65])) {
            let mut out = [0; PAYLOAD_BYTES];
            black_box(unsigned.payload(&signature, black_box(&mut out)).is_ok());
        }
    }
}

//! A key that never leaves its chip: the buyer's signer when a secure element is on the serial line.
//!
//! Chips differ in their commands and agree in this: they tell their public key, and they sign a
//! digest with `r` and `s` alone. Here a byte 1 asks for the address (20 bytes), and a byte 2 with
//! a digest (32 bytes) for a signature (64 bytes).

use core::cell::RefCell;

use embedded_io::{Read, Write};
use x402_core::crypto::secp256k1::K256;
use x402_core::crypto::{RecoverableSignature, Secp256k1, SignError, Signer};

use crate::stream::Link;

/// The secure element at the other end of a line.
pub struct Element<L> {
    line: RefCell<L>,
    address: [u8; 20],
}

impl<L: Link> Element<L> {
    /// Asks it for its address.
    ///
    /// # Errors
    /// [`SignError::Unavailable`].
    pub fn new(mut line: L) -> Result<Self, SignError> {
        let mut address = [0; 20];
        ask(&mut line, &[1], &mut address)?;
        Ok(Self { line: RefCell::new(line), address })
    }
}

impl<L: Link> Signer<Secp256k1> for Element<L> {
    fn public_key(&self) -> [u8; 20] {
        self.address
    }

    fn sign(&self, digest: &[u8; 32]) -> Result<RecoverableSignature, SignError> {
        let mut line = self.line.try_borrow_mut().map_err(|_| SignError::Unavailable)?;
        let (mut command, mut signature) = ([2; 33], [0; 64]);
        let (_, place) = command.split_at_mut(1);
        place.copy_from_slice(digest);
        ask(&mut *line, &command, &mut signature)?;
        // The right one of the two public keys of such a signature is found by trying, and so is
        // another's signature.
        RecoverableSignature::find(&signature, digest, &self.address, &K256)
            .ok_or(SignError::Invalid)
    }
}

fn ask(line: &mut impl Link, command: &[u8], answer: &mut [u8]) -> Result<(), SignError> {
    let mut stream = line.open().map_err(|_| SignError::Unavailable)?;
    stream.write_all(command).map_err(|_| SignError::Unavailable)?;
    stream.flush().map_err(|_| SignError::Unavailable)?;
    stream.read_exact(answer).map_err(|_| SignError::Unavailable)
}

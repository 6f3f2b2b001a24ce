use core::fmt;
use core::future::Future;

use super::RecoverableSignature;

/// A signature algorithm, as a type: its signer, message and signature.
pub trait Algorithm {
    /// The signer's name on chain.
    type Public;
    /// The bytes that are signed.
    type Message: ?Sized;
    /// The signature.
    type Signature;
}

/// secp256k1 over a 32-byte digest; the signer is known by its Ethereum address.
#[derive(Debug)]
pub enum Secp256k1 {}

impl Algorithm for Secp256k1 {
    type Public = [u8; 20];
    type Message = [u8; 32];
    type Signature = RecoverableSignature;
}

/// Ed25519 over a message; the signer is known by its public key.
#[derive(Debug)]
pub enum Ed25519 {}

impl Algorithm for Ed25519 {
    type Public = [u8; 32];
    type Message = [u8];
    type Signature = [u8; 64];
}

/// Why a signer did not sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum SignError {
    /// The device or service did not answer.
    Unavailable,
    /// It answered no: a person or a policy declined.
    Declined,
    /// It answered with something that is not a signature of this message.
    Invalid,
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unavailable => "signer unavailable",
            Self::Declined => "signer declined",
            Self::Invalid => "signer gave an invalid signature",
        })
    }
}

impl core::error::Error for SignError {}

/// Something that signs while the caller waits: a key in memory, a secure element.
pub trait Signer<A: Algorithm> {
    /// Returns the signer's name on chain.
    fn public_key(&self) -> A::Public;

    /// Signs `message`.
    ///
    /// # Errors
    /// [`SignError`].
    fn sign(&self, message: &A::Message) -> Result<A::Signature, SignError>;
}

impl<A: Algorithm, S: Signer<A> + ?Sized> Signer<A> for &S {
    fn public_key(&self) -> A::Public {
        (**self).public_key()
    }

    fn sign(&self, message: &A::Message) -> Result<A::Signature, SignError> {
        (**self).sign(message)
    }
}

/// The async twin of [`Signer`]: a wallet, a key service. Every [`Signer`] is one; where both
/// traits are in scope, write `Signer::sign(&key, …)`.
pub trait AsyncSigner<A: Algorithm>: Sync {
    /// Returns the signer's name on chain.
    fn public_key(&self) -> A::Public;

    /// Signs `message`.
    ///
    /// # Errors
    /// [`SignError`].
    fn sign(
        &self,
        message: &A::Message,
    ) -> impl Future<Output = Result<A::Signature, SignError>> + Send;
}

impl<A, S> AsyncSigner<A> for S
where
    A: Algorithm,
    A::Signature: Send,
    S: Signer<A> + Sync,
{
    fn public_key(&self) -> A::Public {
        Signer::public_key(self)
    }

    fn sign(
        &self,
        message: &A::Message,
    ) -> impl Future<Output = Result<A::Signature, SignError>> + Send {
        core::future::ready(Signer::sign(self, message))
    }
}

/// Recovers the signer of a secp256k1 signature.
pub trait Recover {
    /// Returns the Ethereum address whose key signed `digest`, if there is one.
    fn recover(&self, digest: &[u8; 32], signature: &RecoverableSignature) -> Option<[u8; 20]>;
}

/// Checks Ed25519 signatures and points.
pub trait Verify {
    /// Returns whether `signature` is `public`'s over `message`, by the strict rule that also
    /// refuses weak keys and non-canonical encodings.
    fn verify(&self, public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool;

    /// Returns whether the bytes are a point of the curve, so that somebody may have a key for
    /// them.
    fn is_point(&self, bytes: &[u8; 32]) -> bool;
}

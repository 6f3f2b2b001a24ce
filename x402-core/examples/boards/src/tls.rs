//! TLS between a stream and HTTP: TLS 1.3 by `embedded-tls`, in the caller's memory.

use embedded_tls::blocking::TlsConnection;
use embedded_tls::pki::CertVerifier;
use embedded_tls::{
    Aes128GcmSha256, Certificate, CryptoProvider, CryptoRngCore, NoClock, TlsConfig, TlsContext,
    TlsError, TlsVerifier,
};
use rand_core::{CryptoRng, RngCore};

use crate::stream::{Broken, Entropy, Link};

/// Most bytes of a server's certificates.
const CERTIFICATES: usize = 4096;

/// A way to a server by TLS, over any other way to it.
pub struct Tls<'a, L, E> {
    link: L,
    entropy: E,
    server: &'a str,
    authority: &'a [u8],
    received: &'a mut [u8],
    sent: &'a mut [u8],
}

impl<'a, L: Link, E: Entropy> Tls<'a, L, E> {
    /// To the server of this name, whose certificates come from the authority with that certificate
    /// (DER, ECDSA on P-256) and nobody else. `received` takes 16 640 bytes for servers that fill their
    /// records, `sent` as many as one likes to send at a time.
    ///
    /// There is no calendar yet when a board connects for the first time, so it is not checked
    /// whether a certificate has expired: the authority should be one's own.
    pub const fn new(
        link: L,
        entropy: E,
        server: &'a str,
        authority: &'a [u8],
        received: &'a mut [u8],
        sent: &'a mut [u8],
    ) -> Self {
        Self { link, entropy, server, authority, received, sent }
    }
}

impl<L: Link, E: Entropy> Link for Tls<'_, L, E> {
    type Stream<'s>
        = TlsConnection<'s, L::Stream<'s>, Aes128GcmSha256>
    where
        Self: 's;

    /// Connects, and makes sure who is there.
    fn open(&mut self) -> Result<Self::Stream<'_>, Broken> {
        let config = TlsConfig::new().with_server_name(self.server);
        let mut stream = TlsConnection::new(self.link.open()?, self.received, self.sent);
        let provider = Provider {
            random: Random(&mut self.entropy),
            verifier: CertVerifier::new(Certificate::X509(self.authority)),
        };
        stream.open(TlsContext::new(&config, provider)).map_err(|_| Broken)?;
        Ok(stream)
    }
}

struct Provider<'a, E> {
    random: Random<'a, E>,
    verifier: CertVerifier<'a, Aes128GcmSha256, NoClock, CERTIFICATES>,
}

impl<E: Entropy> CryptoProvider for Provider<'_, E> {
    type CipherSuite = Aes128GcmSha256;
    type Signature = [u8; 0]; // the board has no certificate to sign with

    fn rng(&mut self) -> impl CryptoRngCore {
        &mut self.random
    }

    fn verifier(&mut self) -> Result<&mut impl TlsVerifier<Aes128GcmSha256>, TlsError> {
        Ok(&mut self.verifier)
    }
}

/// The board's random numbers in the form that TLS wants.
struct Random<'a, E>(&'a mut E);

impl<E: Entropy> RngCore for Random<'_, E> {
    fn next_u32(&mut self) -> u32 {
        rand_core::impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        rand_core::impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl<E: Entropy> CryptoRng for Random<'_, E> {}

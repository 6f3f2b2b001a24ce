//! Inputs: one purchase on Base Sepolia and one on Solana Devnet, as the official SDKs' messages.

use x402_svm::{Address, Asset, Extensions, Mint, TokenProgram};

/// When the payment was valid.
pub const NOW: u64 = 1_795_210_300;

/// The payer.
pub const PAYER: [u8; 20] = [
    0x70, 0x99, 0x79, 0x70, 0xc5, 0x18, 0x12, 0xdc, 0x3a, 0x01, 0x0c, 0x7d, 0x01, 0xb5, 0x0e, 0x0d,
    0x17, 0xdc, 0x79, 0xc8,
];

/// The payee.
pub const PAYEE: &str = "0x90F79bf6EB2c4f870365E785982E1f101E93b906";

macro_rules! offer {
    () => {
        r#"{"scheme":"exact","network":"eip155:84532","amount":"10000","asset":"0x036CbD53842c5426634e7929541eC2318f3dCF7e","payTo":"0x90F79bf6EB2c4f870365E785982E1f101E93b906","maxTimeoutSeconds":300,"extra":{"name":"USDC","version":"2"}}"#
    };
}

macro_rules! payment {
    () => {
        concat!(
            r#"{"x402Version":2,"payload":{"authorization":{"from":"0x70997970C51812dc3A010C7d01b50e0d17dc79C8","to":"0x90F79bf6EB2c4f870365E785982E1f101E93b906","value":"10000","validAfter":"0","validBefore":"1795210513","nonce":"0xde2684839ab0540bb51ca64fc3c67d1bcdde478c9d121b698127904f271cdfe3"},"signature":"0xcf26b1f56dd9e68bb3be3357b5c51273c2238bc063c4555228b65cb8bae4eecd3c311e03fc54ccca42d066a6b7430b5c2a10ea4d2ac2f7be99447cafcc7f0a491c"},"resource":{"url":"http://127.0.0.1:14020/evm/eip3009","description":"EVM exact EIP-3009","mimeType":"application/json"},"accepted":"#,
            offer!(),
            "}"
        )
    };
}

/// The offer.
pub const OFFER: &[u8] = offer!().as_bytes();

/// The challenge.
pub const CHALLENGE: &[u8] = concat!(
    r#"{"x402Version":2,"error":"Payment required","resource":{"url":"http://127.0.0.1/"},"accepts":["#,
    offer!(),
    "]}"
)
.as_bytes();

/// The payment.
pub const PAYMENT: &[u8] = payment!().as_bytes();

/// A server's request to its facilitator.
pub const REQUEST: &[u8] = concat!(
    r#"{"x402Version":2,"paymentPayload":"#,
    payment!(),
    r#","paymentRequirements":"#,
    offer!(),
    "}"
)
.as_bytes();

/// The receipt.
pub const RECEIPT: &[u8] =
    br#"{"success":true,"transaction":"0x01","network":"eip155:84532","amount":"10000"}"#;

macro_rules! svm_offer {
    () => {
        r#"{"scheme":"exact","network":"solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1","asset":"4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU","amount":"1000","payTo":"GyGKxMyg1p9SsHfm15MkNUu1u9TN2JtTspcdmrtGUdse","maxTimeoutSeconds":300,"extra":{"feePayer":"AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9"}}"#
    };
}

/// The payer on Solana.
pub const SVM_PAYER: Address = Address([
    0x81, 0x39, 0x77, 0x0e, 0xa8, 0x7d, 0x17, 0x5f, 0x56, 0xa3, 0x54, 0x66, 0xc3, 0x4c, 0x7e, 0xcc,
    0xcb, 0x8d, 0x8a, 0x91, 0xb4, 0xee, 0x37, 0xa2, 0x5d, 0xf6, 0x0f, 0x5b, 0x8f, 0xc9, 0xb3, 0x94,
]);

/// The payee there.
pub const SVM_PAYEE: &str = "GyGKxMyg1p9SsHfm15MkNUu1u9TN2JtTspcdmrtGUdse";

/// The fee payer there.
pub const SVM_FEE_PAYER: Address = Address([
    0x8a, 0x88, 0xe3, 0xdd, 0x74, 0x09, 0xf1, 0x95, 0xfd, 0x52, 0xdb, 0x2d, 0x3c, 0xba, 0x5d, 0x72,
    0xca, 0x67, 0x09, 0xbf, 0x1d, 0x94, 0x12, 0x1b, 0xf3, 0x74, 0x88, 0x01, 0xb4, 0x0f, 0x6f, 0x5c,
]);

/// A token that somebody vouches for.
pub const SVM_ASSET: Asset<'_> = Asset {
    network: "EtWTRABZaYq6iMfeYKouRu166VU2xqa1",
    symbol: "USDC",
    address: Address([
        0x3b, 0x44, 0x2c, 0xb3, 0x91, 0x21, 0x57, 0xf1, 0x3a, 0x93, 0x3d, 0x01, 0x34, 0x28, 0x2d,
        0x03, 0x2b, 0x5f, 0xfe, 0xcd, 0x01, 0xa2, 0xdb, 0xf1, 0xb7, 0x79, 0x06, 0x08, 0xdf, 0x00,
        0x2e, 0xa7,
    ]),
    mint: Mint { program: TokenProgram::Token, decimals: 6, extensions: Extensions::NONE },
};

/// The offer on Solana Devnet.
pub const SVM_OFFER: &[u8] = svm_offer!().as_bytes();

/// A server's request to its facilitator about it.
pub const SVM_REQUEST: &[u8] = concat!(
    r#"{"x402Version":2,"paymentPayload":{"x402Version":2,"payload":{"transaction":"AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAC+PTxbOVVZCZZVtYY0OGnU5Cn2Va+TT+dmkKT9nGocQgUm7vG2Ly/3GY+/ixLTUbY0bLTvWUMzxT+xQVihTQYCgAIBBAiKiOPddAnxlf1S2y08ul1yymcJvx2UEhvzdIgBtA9vXIE5dw6ofRdfVqNUZsNMfszLjYqRtO43ol32D1uPybOUVfrYUDwcTMIz1rajclqlUU/uq3ieryKWb3Ki2UMxyVvtrxucFh9taYpGubB4CaShjb9TxDK2okvxsQiD/MsimAMGRm/lIRcy/+ytunLDm+e8jOW7xfcSayxDmzpAAAAABUpTWpkpIQZNJOhxYNo4fHw1td28kruB5B+oQEEFRI0G3fbh12Whk9nL4UbO63msHLSF7V9bN5E6jPWFfv8AqTtELLORIVfxOpM9ATQoLQMrX/7NAaLb8bd5BgjfAC6nsAO8wYP66uq7TWX/tik2KvG2pkZaRLdp/pXPY8ceI+kEBAAFAiBOAAAEAAkDAQAAAAAAAAAGBAMHAgEKDOgDAAAAAAAABgUAIGM3NzMxYWI2NmUzMjU0MmY4YzczMDRmNzNmZDJjNDZiAA=="},"accepted":"#,
    svm_offer!(),
    r#","resource":{"url":"http://127.0.0.1:16060/svm/exact","description":"","mimeType":""}},"paymentRequirements":"#,
    svm_offer!(),
    "}"
)
.as_bytes();

//! Inputs: one purchase on Base Sepolia, as the official SDK's messages.

/// When the payment was valid.
pub const NOW: u64 = 1_795_210_300;

/// Who pays.
pub const PAYER: [u8; 20] = [
    0x70, 0x99, 0x79, 0x70, 0xc5, 0x18, 0x12, 0xdc, 0x3a, 0x01, 0x0c, 0x7d, 0x01, 0xb5, 0x0e, 0x0d,
    0x17, 0xdc, 0x79, 0xc8,
];

/// Who is paid.
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

/// What a server asks its facilitator.
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

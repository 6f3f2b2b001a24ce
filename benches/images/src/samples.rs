//! The inputs: a purchase on Base Sepolia and one on Solana Devnet, recorded between the official
//! SDKs (`evm-exact-eip3009` and `py-httpx__fastapi+ts-fac__svm-exact` among the vectors of
//! x402-core). The official clients made the signed data and the signatures; messages that this
//! library writes are in its order of fields. One thing was added: on Solana the offer brings the
//! blockhash that was signed.

/// When the EVM payment was made.
pub const NOW: u64 = 1_795_210_213;

/// The payer's key on EVM networks (the second key of anvil's mnemonic).
pub static EVM_SECRET: [u8; 32] = [
    0x59, 0xc6, 0x99, 0x5e, 0x99, 0x8f, 0x97, 0xa5, 0xa0, 0x04, 0x49, 0x66, 0xf0, 0x94, 0x53, 0x89,
    0xdc, 0x9e, 0x86, 0xda, 0xe8, 0x8c, 0x7a, 0x84, 0x12, 0xf4, 0x60, 0x3b, 0x6b, 0x78, 0x69, 0x0d,
];

/// The payer, as a compressed point.
pub static EVM_PUBLIC: [u8; 33] = [
    0x02, 0xba, 0x57, 0x34, 0xd8, 0xf7, 0x09, 0x17, 0x19, 0x47, 0x1e, 0x7f, 0x7e, 0xd6, 0xb9, 0xdf,
    0x17, 0x0d, 0xc7, 0x0c, 0xc6, 0x61, 0xca, 0x05, 0xe6, 0x88, 0x60, 0x1a, 0xd9, 0x84, 0xf0, 0x68,
    0xb0,
];

/// The nonce of the EVM payment.
pub static EVM_NONCE: [u8; 32] = [
    0xde, 0x26, 0x84, 0x83, 0x9a, 0xb0, 0x54, 0x0b, 0xb5, 0x1c, 0xa6, 0x4f, 0xc3, 0xc6, 0x7d, 0x1b,
    0xcd, 0xde, 0x47, 0x8c, 0x9d, 0x12, 0x1b, 0x69, 0x81, 0x27, 0x90, 0x4f, 0x27, 0x1c, 0xdf, 0xe3,
];

/// The signed digest.
pub static EVM_DIGEST: [u8; 32] = [
    0x52, 0x1c, 0xb9, 0xf2, 0xee, 0x4a, 0x1d, 0x83, 0x7a, 0x7a, 0xbf, 0x6b, 0xd5, 0x1b, 0x33, 0xb5,
    0x7a, 0xa0, 0x4c, 0xa8, 0x04, 0xa7, 0x73, 0x6b, 0x30, 0x9c, 0x2c, 0xad, 0x87, 0x81, 0xbe, 0x91,
];

/// `r` and `s`; the point's y is odd.
pub static EVM_SIGNATURE: [u8; 64] = [
    0xcf, 0x26, 0xb1, 0xf5, 0x6d, 0xd9, 0xe6, 0x8b, 0xb3, 0xbe, 0x33, 0x57, 0xb5, 0xc5, 0x12, 0x73,
    0xc2, 0x23, 0x8b, 0xc0, 0x63, 0xc4, 0x55, 0x52, 0x28, 0xb6, 0x5c, 0xb8, 0xba, 0xe4, 0xee, 0xcd,
    0x3c, 0x31, 0x1e, 0x03, 0xfc, 0x54, 0xcc, 0xca, 0x42, 0xd0, 0x66, 0xa6, 0xb7, 0x43, 0x0b, 0x5c,
    0x2a, 0x10, 0xea, 0x4d, 0x2a, 0xc2, 0xf7, 0xbe, 0x99, 0x44, 0x7c, 0xaf, 0xcc, 0x7f, 0x0a, 0x49,
];

macro_rules! evm_offer {
    () => {
        r#"{"scheme":"exact","network":"eip155:84532","amount":"10000","asset":"0x036CbD53842c5426634e7929541eC2318f3dCF7e","payTo":"0x90F79bf6EB2c4f870365E785982E1f101E93b906","maxTimeoutSeconds":300,"extra":{"name":"USDC","version":"2"}}"#
    };
}

macro_rules! evm_payload {
    () => {
        r#"{"authorization":{"from":"0x70997970C51812dc3A010C7d01b50e0d17dc79C8","to":"0x90F79bf6EB2c4f870365E785982E1f101E93b906","value":"10000","validAfter":"0","validBefore":"1795210513","nonce":"0xde2684839ab0540bb51ca64fc3c67d1bcdde478c9d121b698127904f271cdfe3"},"signature":"0xcf26b1f56dd9e68bb3be3357b5c51273c2238bc063c4555228b65cb8bae4eecd3c311e03fc54ccca42d066a6b7430b5c2a10ea4d2ac2f7be99447cafcc7f0a491c"}"#
    };
}

macro_rules! evm_payment {
    () => {
        concat!(
            r#"{"x402Version":2,"resource":{"url":"http://127.0.0.1:14020/evm/eip3009","description":"EVM exact EIP-3009","mimeType":"application/json"},"accepted":"#,
            evm_offer!(),
            r#","payload":"#,
            evm_payload!(),
            "}"
        )
    };
}

macro_rules! evm_challenge {
    () => {
        "eyJ4NDAyVmVyc2lvbiI6MiwiZXJyb3IiOiJQYXltZW50IHJlcXVpcmVkIiwicmVzb3VyY2UiOnsidXJsIjoiaHR0cDovLzEyNy4wLjAuMToxNDAyMC9ldm0vZWlwMzAwOSIsImRlc2NyaXB0aW9uIjoiRVZNIGV4YWN0IEVJUC0zMDA5IiwibWltZVR5cGUiOiJhcHBsaWNhdGlvbi9qc29uIn0sImFjY2VwdHMiOlt7InNjaGVtZSI6ImV4YWN0IiwibmV0d29yayI6ImVpcDE1NTo4NDUzMiIsImFtb3VudCI6IjEwMDAwIiwiYXNzZXQiOiIweDAzNkNiRDUzODQyYzU0MjY2MzRlNzkyOTU0MWVDMjMxOGYzZENGN2UiLCJwYXlUbyI6IjB4OTBGNzliZjZFQjJjNGY4NzAzNjVFNzg1OTgyRTFmMTAxRTkzYjkwNiIsIm1heFRpbWVvdXRTZWNvbmRzIjozMDAsImV4dHJhIjp7Im5hbWUiOiJVU0RDIiwidmVyc2lvbiI6IjIifX1dfQ=="
    };
}

macro_rules! evm_header {
    () => {
        "eyJ4NDAyVmVyc2lvbiI6MiwicmVzb3VyY2UiOnsidXJsIjoiaHR0cDovLzEyNy4wLjAuMToxNDAyMC9ldm0vZWlwMzAwOSIsImRlc2NyaXB0aW9uIjoiRVZNIGV4YWN0IEVJUC0zMDA5IiwibWltZVR5cGUiOiJhcHBsaWNhdGlvbi9qc29uIn0sImFjY2VwdGVkIjp7InNjaGVtZSI6ImV4YWN0IiwibmV0d29yayI6ImVpcDE1NTo4NDUzMiIsImFtb3VudCI6IjEwMDAwIiwiYXNzZXQiOiIweDAzNkNiRDUzODQyYzU0MjY2MzRlNzkyOTU0MWVDMjMxOGYzZENGN2UiLCJwYXlUbyI6IjB4OTBGNzliZjZFQjJjNGY4NzAzNjVFNzg1OTgyRTFmMTAxRTkzYjkwNiIsIm1heFRpbWVvdXRTZWNvbmRzIjozMDAsImV4dHJhIjp7Im5hbWUiOiJVU0RDIiwidmVyc2lvbiI6IjIifX0sInBheWxvYWQiOnsiYXV0aG9yaXphdGlvbiI6eyJmcm9tIjoiMHg3MDk5Nzk3MEM1MTgxMmRjM0EwMTBDN2QwMWI1MGUwZDE3ZGM3OUM4IiwidG8iOiIweDkwRjc5YmY2RUIyYzRmODcwMzY1RTc4NTk4MkUxZjEwMUU5M2I5MDYiLCJ2YWx1ZSI6IjEwMDAwIiwidmFsaWRBZnRlciI6IjAiLCJ2YWxpZEJlZm9yZSI6IjE3OTUyMTA1MTMiLCJub25jZSI6IjB4ZGUyNjg0ODM5YWIwNTQwYmI1MWNhNjRmYzNjNjdkMWJjZGRlNDc4YzlkMTIxYjY5ODEyNzkwNGYyNzFjZGZlMyJ9LCJzaWduYXR1cmUiOiIweGNmMjZiMWY1NmRkOWU2OGJiM2JlMzM1N2I1YzUxMjczYzIyMzhiYzA2M2M0NTU1MjI4YjY1Y2I4YmFlNGVlY2QzYzMxMWUwM2ZjNTRjY2NhNDJkMDY2YTZiNzQzMGI1YzJhMTBlYTRkMmFjMmY3YmU5OTQ0N2NhZmNjN2YwYTQ5MWMifX0="
    };
}

/// The offer.
pub static EVM_OFFER: &str = evm_offer!();

/// The signed payload.
pub static EVM_PAYLOAD: &str = evm_payload!();

/// The payment.
pub static EVM_PAYMENT: &str = evm_payment!();

/// The challenge, as a header.
pub static EVM_CHALLENGE: &str = evm_challenge!();

/// The same, decoded.
pub static EVM_REQUIRED: &str = concat!(
    r#"{"x402Version":2,"error":"Payment required","resource":{"url":"http://127.0.0.1:14020/evm/eip3009","description":"EVM exact EIP-3009","mimeType":"application/json"},"accepts":["#,
    evm_offer!(),
    "]}"
);

/// The payment, as a header.
pub static EVM_HEADER: &str = evm_header!();

/// The first answer to the buyer.
pub static EVM_402: &str = concat!(
    "HTTP/1.1 402 Payment Required\r\n",
    "X-Powered-By: Express\r\n",
    "Content-Type: application/json; charset=utf-8\r\n",
    "PAYMENT-REQUIRED: ",
    evm_challenge!(),
    "\r\n",
    "Cache-Control: no-store\r\n",
    "Content-Length: 2\r\n",
    "ETag: W/\"2-vyGp6PvFo4RvsFtPoIWeCReyIC8\"\r\n",
    "Date: Fri, 20 Nov 2026 21:30:13 GMT\r\n",
    "Connection: keep-alive\r\n",
    "Keep-Alive: timeout=5\r\n",
    "\r\n",
    "{}",
);

/// The second.
pub static EVM_200: &str = concat!(
    "HTTP/1.1 200 OK\r\n",
    "X-Powered-By: Express\r\n",
    "Content-Type: application/json; charset=utf-8\r\n",
    "Content-Length: 46\r\n",
    "ETag: W/\"2e-R2M2YrLL0mHmgHGzJ/Apea/1MyU\"\r\n",
    "PAYMENT-RESPONSE: ",
    "eyJzdWNjZXNzIjp0cnVlLCJwYXllciI6IjB4NzA5OTc5NzBDNTE4MTJkYzNBMDEwQzdkMDFiNTBlMGQxN2RjNzlDOCIsInRyYW5zYWN0aW9uIjoiMHhjM2VmY2QwMDQ1ZGI5ZjQzMGQ5NjcwNTU0MzY4NzFlMDlhMTY3NWZmM2IzOTg4YmNkZGQxZDdjYjcwMTAxMDFhIiwibmV0d29yayI6ImVpcDE1NTo4NDUzMiJ9",
    "\r\n",
    "Cache-Control: private\r\n",
    "Date: Fri, 20 Nov 2026 21:30:13 GMT\r\n",
    "Connection: keep-alive\r\n",
    "Keep-Alive: timeout=5\r\n",
    "\r\n",
    "{\"ok\":true,\"route\":\"/evm/eip3009\",\"echo\":null}",
);

/// The request that is paid.
pub static EVM_PAID: &str = concat!(
    "GET /evm/eip3009 HTTP/1.1\r\n",
    "host: 127.0.0.1:14020\r\n",
    "connection: keep-alive\r\n",
    "PAYMENT-SIGNATURE: ",
    evm_header!(),
    "\r\n",
    "accept: */*\r\n",
    "accept-language: *\r\n",
    "sec-fetch-mode: cors\r\n",
    "user-agent: node\r\n",
    "accept-encoding: gzip, deflate\r\n",
    "\r\n"
);

/// The request to the facilitator.
pub static EVM_SETTLE: &str = concat!(
    r#"{"x402Version":2,"paymentPayload":"#,
    evm_payment!(),
    r#","paymentRequirements":"#,
    evm_offer!(),
    "}"
);

/// Its answer.
pub static EVM_SETTLED: &str = concat!(
    "HTTP/1.1 200 OK\r\n",
    "X-Powered-By: Express\r\n",
    "Content-Type: application/json; charset=utf-8\r\n",
    "Content-Length: 177\r\n",
    "ETag: W/\"b1-G0rsCxoj/H/1YI8fxaaUIrDsius\"\r\n",
    "Date: Fri, 20 Nov 2026 21:30:13 GMT\r\n",
    "Connection: keep-alive\r\n",
    "Keep-Alive: ",
    "timeout=5",
    "\r\n",
    "\r\n",
    "{\"success\":true,\"transaction\":\"0xc3efcd0045db9f430d967055436871e09a1675ff3b3988bcddd1d7cb7010101a\",\"network\":\"eip155:84532\",\"payer\":\"0x70997970C51812dc3A010C7d01b50e0d17dc79C8\"}",
);

/// The transaction it names.
pub static EVM_TRANSACTION: &str =
    "0xc3efcd0045db9f430d967055436871e09a1675ff3b3988bcddd1d7cb7010101a";

/// The payer's key on Solana: the seed.
pub static SVM_SEED: [u8; 32] = [2; 32];

/// The payer's address on Solana.
pub static SVM_PUBLIC: [u8; 32] = [
    0x81, 0x39, 0x77, 0x0e, 0xa8, 0x7d, 0x17, 0x5f, 0x56, 0xa3, 0x54, 0x66, 0xc3, 0x4c, 0x7e, 0xcc,
    0xcb, 0x8d, 0x8a, 0x91, 0xb4, 0xee, 0x37, 0xa2, 0x5d, 0xf6, 0x0f, 0x5b, 0x8f, 0xc9, 0xb3, 0x94,
];

/// The nonce of the Solana payment, its memo.
pub static SVM_NONCE: [u8; 16] = [
    0xc7, 0x73, 0x1a, 0xb6, 0x6e, 0x32, 0x54, 0x2f, 0x8c, 0x73, 0x04, 0xf7, 0x3f, 0xd2, 0xc4, 0x6b,
];

/// The signed message.
pub static SVM_MESSAGE: [u8; 367] = [
    0x80, 0x02, 0x01, 0x04, 0x08, 0x8a, 0x88, 0xe3, 0xdd, 0x74, 0x09, 0xf1, 0x95, 0xfd, 0x52, 0xdb,
    0x2d, 0x3c, 0xba, 0x5d, 0x72, 0xca, 0x67, 0x09, 0xbf, 0x1d, 0x94, 0x12, 0x1b, 0xf3, 0x74, 0x88,
    0x01, 0xb4, 0x0f, 0x6f, 0x5c, 0x81, 0x39, 0x77, 0x0e, 0xa8, 0x7d, 0x17, 0x5f, 0x56, 0xa3, 0x54,
    0x66, 0xc3, 0x4c, 0x7e, 0xcc, 0xcb, 0x8d, 0x8a, 0x91, 0xb4, 0xee, 0x37, 0xa2, 0x5d, 0xf6, 0x0f,
    0x5b, 0x8f, 0xc9, 0xb3, 0x94, 0x55, 0xfa, 0xd8, 0x50, 0x3c, 0x1c, 0x4c, 0xc2, 0x33, 0xd6, 0xb6,
    0xa3, 0x72, 0x5a, 0xa5, 0x51, 0x4f, 0xee, 0xab, 0x78, 0x9e, 0xaf, 0x22, 0x96, 0x6f, 0x72, 0xa2,
    0xd9, 0x43, 0x31, 0xc9, 0x5b, 0xed, 0xaf, 0x1b, 0x9c, 0x16, 0x1f, 0x6d, 0x69, 0x8a, 0x46, 0xb9,
    0xb0, 0x78, 0x09, 0xa4, 0xa1, 0x8d, 0xbf, 0x53, 0xc4, 0x32, 0xb6, 0xa2, 0x4b, 0xf1, 0xb1, 0x08,
    0x83, 0xfc, 0xcb, 0x22, 0x98, 0x03, 0x06, 0x46, 0x6f, 0xe5, 0x21, 0x17, 0x32, 0xff, 0xec, 0xad,
    0xba, 0x72, 0xc3, 0x9b, 0xe7, 0xbc, 0x8c, 0xe5, 0xbb, 0xc5, 0xf7, 0x12, 0x6b, 0x2c, 0x43, 0x9b,
    0x3a, 0x40, 0x00, 0x00, 0x00, 0x05, 0x4a, 0x53, 0x5a, 0x99, 0x29, 0x21, 0x06, 0x4d, 0x24, 0xe8,
    0x71, 0x60, 0xda, 0x38, 0x7c, 0x7c, 0x35, 0xb5, 0xdd, 0xbc, 0x92, 0xbb, 0x81, 0xe4, 0x1f, 0xa8,
    0x40, 0x41, 0x05, 0x44, 0x8d, 0x06, 0xdd, 0xf6, 0xe1, 0xd7, 0x65, 0xa1, 0x93, 0xd9, 0xcb, 0xe1,
    0x46, 0xce, 0xeb, 0x79, 0xac, 0x1c, 0xb4, 0x85, 0xed, 0x5f, 0x5b, 0x37, 0x91, 0x3a, 0x8c, 0xf5,
    0x85, 0x7e, 0xff, 0x00, 0xa9, 0x3b, 0x44, 0x2c, 0xb3, 0x91, 0x21, 0x57, 0xf1, 0x3a, 0x93, 0x3d,
    0x01, 0x34, 0x28, 0x2d, 0x03, 0x2b, 0x5f, 0xfe, 0xcd, 0x01, 0xa2, 0xdb, 0xf1, 0xb7, 0x79, 0x06,
    0x08, 0xdf, 0x00, 0x2e, 0xa7, 0xb0, 0x03, 0xbc, 0xc1, 0x83, 0xfa, 0xea, 0xea, 0xbb, 0x4d, 0x65,
    0xff, 0xb6, 0x29, 0x36, 0x2a, 0xf1, 0xb6, 0xa6, 0x46, 0x5a, 0x44, 0xb7, 0x69, 0xfe, 0x95, 0xcf,
    0x63, 0xc7, 0x1e, 0x23, 0xe9, 0x04, 0x04, 0x00, 0x05, 0x02, 0x20, 0x4e, 0x00, 0x00, 0x04, 0x00,
    0x09, 0x03, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x06, 0x04, 0x03, 0x07, 0x02, 0x01,
    0x0a, 0x0c, 0xe8, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x06, 0x05, 0x00, 0x20, 0x63, 0x37,
    0x37, 0x33, 0x31, 0x61, 0x62, 0x36, 0x36, 0x65, 0x33, 0x32, 0x35, 0x34, 0x32, 0x66, 0x38, 0x63,
    0x37, 0x33, 0x30, 0x34, 0x66, 0x37, 0x33, 0x66, 0x64, 0x32, 0x63, 0x34, 0x36, 0x62, 0x00,
];

/// Its signature.
pub static SVM_SIGNATURE: [u8; 64] = [
    0xbe, 0x3d, 0x3c, 0x5b, 0x39, 0x55, 0x59, 0x09, 0x96, 0x55, 0xb5, 0x86, 0x34, 0x38, 0x69, 0xd4,
    0xe4, 0x29, 0xf6, 0x55, 0xaf, 0x93, 0x4f, 0xe7, 0x66, 0x90, 0xa4, 0xfd, 0x9c, 0x6a, 0x1c, 0x42,
    0x05, 0x26, 0xee, 0xf1, 0xb6, 0x2f, 0x2f, 0xf7, 0x19, 0x8f, 0xbf, 0x8b, 0x12, 0xd3, 0x51, 0xb6,
    0x34, 0x6c, 0xb4, 0xef, 0x59, 0x43, 0x33, 0xc5, 0x3f, 0xb1, 0x41, 0x58, 0xa1, 0x4d, 0x06, 0x02,
];

macro_rules! svm_offer {
    () => {
        r#"{"scheme":"exact","network":"solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1","amount":"1000","asset":"4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU","payTo":"GyGKxMyg1p9SsHfm15MkNUu1u9TN2JtTspcdmrtGUdse","maxTimeoutSeconds":300,"extra":{"feePayer":"AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9","recentBlockhash":"Cr64VEg56tAEcBu3MAx15Ka2439Sv6mgCzfgJUGZg7dr"}}"#
    };
}

macro_rules! svm_payload {
    () => {
        r#"{"transaction":"AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAC+PTxbOVVZCZZVtYY0OGnU5Cn2Va+TT+dmkKT9nGocQgUm7vG2Ly/3GY+/ixLTUbY0bLTvWUMzxT+xQVihTQYCgAIBBAiKiOPddAnxlf1S2y08ul1yymcJvx2UEhvzdIgBtA9vXIE5dw6ofRdfVqNUZsNMfszLjYqRtO43ol32D1uPybOUVfrYUDwcTMIz1rajclqlUU/uq3ieryKWb3Ki2UMxyVvtrxucFh9taYpGubB4CaShjb9TxDK2okvxsQiD/MsimAMGRm/lIRcy/+ytunLDm+e8jOW7xfcSayxDmzpAAAAABUpTWpkpIQZNJOhxYNo4fHw1td28kruB5B+oQEEFRI0G3fbh12Whk9nL4UbO63msHLSF7V9bN5E6jPWFfv8AqTtELLORIVfxOpM9ATQoLQMrX/7NAaLb8bd5BgjfAC6nsAO8wYP66uq7TWX/tik2KvG2pkZaRLdp/pXPY8ceI+kEBAAFAiBOAAAEAAkDAQAAAAAAAAAGBAMHAgEKDOgDAAAAAAAABgUAIGM3NzMxYWI2NmUzMjU0MmY4YzczMDRmNzNmZDJjNDZiAA=="}"#
    };
}

/// The offer.
pub static SVM_OFFER: &str = svm_offer!();

/// The signed payload.
pub static SVM_PAYLOAD: &str = svm_payload!();

/// The payment.
pub static SVM_PAYMENT: &str = concat!(
    r#"{"x402Version":2,"resource":{"url":"http://127.0.0.1:16060/svm/exact","description":"","mimeType":""},"accepted":"#,
    svm_offer!(),
    r#","payload":"#,
    svm_payload!(),
    "}"
);

/// The payment, as a header.
pub static SVM_HEADER: &str = "eyJ4NDAyVmVyc2lvbiI6MiwicmVzb3VyY2UiOnsidXJsIjoiaHR0cDovLzEyNy4wLjAuMToxNjA2MC9zdm0vZXhhY3QiLCJkZXNjcmlwdGlvbiI6IiIsIm1pbWVUeXBlIjoiIn0sImFjY2VwdGVkIjp7InNjaGVtZSI6ImV4YWN0IiwibmV0d29yayI6InNvbGFuYTpFdFdUUkFCWmFZcTZpTWZlWUtvdVJ1MTY2VlUyeHFhMSIsImFtb3VudCI6IjEwMDAiLCJhc3NldCI6IjR6TU1DOXNydDVSaTVYMTRHQWdYaGFIaWkzR25QQUVFUllQSmdaSkRuY0RVIiwicGF5VG8iOiJHeUdLeE15ZzFwOVNzSGZtMTVNa05VdTF1OVROMkp0VHNwY2RtcnRHVWRzZSIsIm1heFRpbWVvdXRTZWNvbmRzIjozMDAsImV4dHJhIjp7ImZlZVBheWVyIjoiQUtuTDROTmYzREdXWkpTNmNQa25CdUVHblZzVjRBNG01dGdlYkxIYVJTWjkiLCJyZWNlbnRCbG9ja2hhc2giOiJDcjY0VkVnNTZ0QUVjQnUzTUF4MTVLYTI0MzlTdjZtZ0N6ZmdKVUdaZzdkciJ9fSwicGF5bG9hZCI6eyJ0cmFuc2FjdGlvbiI6IkFnQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQytQVHhiT1ZWWkNaWlZ0WVkwT0duVTVDbjJWYStUVCtkbWtLVDluR29jUWdVbTd2RzJMeS8zR1krL2l4TFRVYlkwYkxUdldVTXp4VCt4UVZpaFRRWUNnQUlCQkFpS2lPUGRkQW54bGYxUzJ5MDh1bDF5eW1jSnZ4MlVFaHZ6ZElnQnRBOXZYSUU1ZHc2b2ZSZGZWcU5VWnNOTWZzekxqWXFSdE80M29sMzJEMXVQeWJPVVZmcllVRHdjVE1JejFyYWpjbHFsVVUvdXEzaWVyeUtXYjNLaTJVTXh5VnZ0cnh1Y0ZoOXRhWXBHdWJCNENhU2hqYjlUeERLMm9rdnhzUWlEL01zaW1BTUdSbS9sSVJjeS8reXR1bkxEbStlOGpPVzd4ZmNTYXl4RG16cEFBQUFBQlVwVFdwa3BJUVpOSk9oeFlObzRmSHcxdGQyOGtydUI1QitvUUVFRlJJMEczZmJoMTJXaGs5bkw0VWJPNjNtc0hMU0Y3VjliTjVFNmpQV0ZmdjhBcVR0RUxMT1JJVmZ4T3BNOUFUUW9MUU1yWC83TkFhTGI4YmQ1QmdqZkFDNm5zQU84d1lQNjZ1cTdUV1gvdGlrMkt2RzJwa1phUkxkcC9wWFBZOGNlSStrRUJBQUZBaUJPQUFBRUFBa0RBUUFBQUFBQUFBQUdCQU1IQWdFS0RPZ0RBQUFBQUFBQUJnVUFJR00zTnpNeFlXSTJObVV6TWpVME1tWTRZemN6TURSbU56Tm1aREpqTkRaaUFBPT0ifX0=";

/// The first answer to the buyer.
pub static SVM_402: &str = concat!(
    "HTTP/1.1 402 Payment Required\r\n",
    "date: Fri, 20 Nov 2026 21:31:05 GMT\r\n",
    "server: uvicorn\r\n",
    "content-type: application/json\r\n",
    "payment-required: ",
    "eyJ4NDAyVmVyc2lvbiI6MiwiZXJyb3IiOiJQYXltZW50IHJlcXVpcmVkIiwicmVzb3VyY2UiOnsidXJsIjoiaHR0cDovLzEyNy4wLjAuMToxNjA2MC9zdm0vZXhhY3QiLCJkZXNjcmlwdGlvbiI6IiIsIm1pbWVUeXBlIjoiIn0sImFjY2VwdHMiOlt7InNjaGVtZSI6ImV4YWN0IiwibmV0d29yayI6InNvbGFuYTpFdFdUUkFCWmFZcTZpTWZlWUtvdVJ1MTY2VlUyeHFhMSIsImFtb3VudCI6IjEwMDAiLCJhc3NldCI6IjR6TU1DOXNydDVSaTVYMTRHQWdYaGFIaWkzR25QQUVFUllQSmdaSkRuY0RVIiwicGF5VG8iOiJHeUdLeE15ZzFwOVNzSGZtMTVNa05VdTF1OVROMkp0VHNwY2RtcnRHVWRzZSIsIm1heFRpbWVvdXRTZWNvbmRzIjozMDAsImV4dHJhIjp7ImZlZVBheWVyIjoiQUtuTDROTmYzREdXWkpTNmNQa25CdUVHblZzVjRBNG01dGdlYkxIYVJTWjkiLCJyZWNlbnRCbG9ja2hhc2giOiJDcjY0VkVnNTZ0QUVjQnUzTUF4MTVLYTI0MzlTdjZtZ0N6ZmdKVUdaZzdkciJ9fV19",
    "\r\n",
    "cache-control: no-store\r\n",
    "content-length: 2\r\n",
    "\r\n",
    "{}",
);

/// The second.
pub static SVM_200: &str = concat!(
    "HTTP/1.1 200 OK\r\n",
    "date: Fri, 20 Nov 2026 21:31:05 GMT\r\n",
    "server: uvicorn\r\n",
    "content-length: 14\r\n",
    "content-type: application/json\r\n",
    "payment-response: ",
    "eyJzdWNjZXNzIjogdHJ1ZSwgInBheWVyIjogIjloU1I2UzdXUHR4bVRvamdvNkdHM2s0eURQZWNnSlkyOTJqN3hyc1VHV0J1IiwgInRyYW5zYWN0aW9uIjogIjNFb0VFMkN2ZVZtOENlU3h5aFNMTEJub3F4Qm90WjlleDFjZVY4UEhuWlVGUmVHc2txcWhNYldCZ1k2TVNEcUxLRXZSRThSd0pnSndlcVJWa3Y5cEE0R1kiLCAibmV0d29yayI6ICJzb2xhbmE6RXRXVFJBQlphWXE2aU1mZVlLb3VSdTE2NlZVMnhxYTEifQ==",
    "\r\n",
    "cache-control: private\r\n",
    "\r\n",
    "{\"ok\":\"exact\"}",
);

/// All of them, so that every image has them: they are not what is measured.
pub static ALL: [&[u8]; 28] = [
    &EVM_SECRET,
    &EVM_PUBLIC,
    &EVM_NONCE,
    &EVM_DIGEST,
    &EVM_SIGNATURE,
    EVM_OFFER.as_bytes(),
    EVM_PAYLOAD.as_bytes(),
    EVM_PAYMENT.as_bytes(),
    EVM_CHALLENGE.as_bytes(),
    EVM_REQUIRED.as_bytes(),
    EVM_HEADER.as_bytes(),
    EVM_402.as_bytes(),
    EVM_200.as_bytes(),
    EVM_PAID.as_bytes(),
    EVM_SETTLE.as_bytes(),
    EVM_SETTLED.as_bytes(),
    EVM_TRANSACTION.as_bytes(),
    &SVM_SEED,
    &SVM_PUBLIC,
    &SVM_NONCE,
    &SVM_MESSAGE,
    &SVM_SIGNATURE,
    SVM_OFFER.as_bytes(),
    SVM_PAYLOAD.as_bytes(),
    SVM_PAYMENT.as_bytes(),
    SVM_HEADER.as_bytes(),
    SVM_402.as_bytes(),
    SVM_200.as_bytes(),
];

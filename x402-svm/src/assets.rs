//! The tokens this library knows on Solana.
//!
//! Source: the default assets of `@x402/svm` 2.27. All of them have six decimals.

use crate::Address;

/// The program a token belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenProgram {
    /// SPL Token.
    Token,
    /// Token-2022, whose mints may have extensions that change what a transfer does.
    Token2022,
}

use TokenProgram::{Token, Token2022};

/// A known stablecoin.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    /// Reference of the CAIP-2 network (`solana:` left out).
    pub network: &'static str,
    /// Ticker, for people.
    pub symbol: &'static str,
    /// Mint, in base58.
    pub mint: &'static str,
    /// Decimals.
    pub decimals: u8,
    /// The program it belongs to.
    pub token_program: TokenProgram,
}

/// The known token of a mint, on the network with this CAIP-2 reference.
pub fn find(network: &str, mint: Address) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.network == network && Address::parse(asset.mint) == Some(mint))
}

/// Every known token.
#[rustfmt::skip]
pub static ASSETS: &[Asset] = &[
    asset("5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "USDC", "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v", Token),
    asset("5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "USDT", "Es9vMFrzaCERmJfrF4H2FYD4KCoNkY11McCe8BenwNYB", Token),
    asset("5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "USDG", "2u1tszSeqZ3qBWF3uNGPFc8TzMk2tdiwknnRMWGWjGWH", Token2022),
    asset("5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "PYUSD", "2b1kV6DkPAnxd5ixfnxCpjxmKwqjjaYmCZfHsFu24GXo", Token2022),
    asset("5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "CASH", "CASHx9KJUStyftLFWGvEVf59SGeG9sh5FfcnZMVPCASH", Token2022),
    asset("EtWTRABZaYq6iMfeYKouRu166VU2xqa1", "USDC", "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU", Token),
    asset("EtWTRABZaYq6iMfeYKouRu166VU2xqa1", "USDG", "4F6PM96JJxngmHnZLBh9n58RH4aTVNWvDs2nuwrT5BP7", Token2022),
    asset("EtWTRABZaYq6iMfeYKouRu166VU2xqa1", "PYUSD", "CXk2AMBfi3TwaEL2468s6zP8xq9NxTXjp9gjMgzeUynM", Token2022),
    asset("4uhcVJyU9pJkvQyS88uRDiswHXSCkY3z", "USDC", "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU", Token),
    asset("4uhcVJyU9pJkvQyS88uRDiswHXSCkY3z", "USDG", "4F6PM96JJxngmHnZLBh9n58RH4aTVNWvDs2nuwrT5BP7", Token2022),
    asset("4uhcVJyU9pJkvQyS88uRDiswHXSCkY3z", "PYUSD", "CXk2AMBfi3TwaEL2468s6zP8xq9NxTXjp9gjMgzeUynM", Token2022),
];

const fn asset(
    network: &'static str,
    symbol: &'static str,
    mint: &'static str,
    token_program: TokenProgram,
) -> Asset {
    Asset { network, symbol, mint, decimals: 6, token_program }
}

#[cfg(test)]
mod tests {
    use super::*;
    use x402_core::Network;

    #[test]
    fn table() {
        for (at, asset) in ASSETS.iter().enumerate() {
            let mint = Address::parse(asset.mint).unwrap();
            assert!(Network::parse(&std::format!("solana:{}", asset.network)).is_ok());
            let found = find(asset.network, mint).unwrap();
            assert!(core::ptr::eq(found, ASSETS.get(at).unwrap()), "{asset:?} twice");
        }
        let mainnet = Network::parse("solana").unwrap().solana().unwrap();
        assert_eq!(ASSETS.first().unwrap().network, mainnet);
    }
}

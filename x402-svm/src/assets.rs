//! The tokens this library knows on Solana.
//!
//! Source: the default assets of `@x402/svm` 2.27. All of them have six decimals.

use crate::programs::literal;
use crate::{Address, Extensions, Mint, TokenProgram};

/// A stablecoin: one of [`ASSETS`], or one the caller vouches for.
#[derive(Clone, Copy, Debug)]
pub struct Asset<'a> {
    /// Reference of the CAIP-2 network (`solana:` left out), such as [`MAINNET`].
    pub network: &'a str,
    /// Ticker, for people.
    pub symbol: &'a str,
    /// Address of the mint.
    pub address: Address,
    /// The mint account's data.
    pub mint: Mint,
}

/// Returns the known token of a mint, on the network with this CAIP-2 reference.
pub fn find(network: &str, address: Address) -> Option<&'static Asset<'static>> {
    ASSETS.iter().find(|asset| asset.network == network && asset.address == address)
}

/// Returns the first known token of a network with this symbol, in any letter case.
pub fn by_symbol(network: &str, symbol: &str) -> Option<&'static Asset<'static>> {
    let mut here = ASSETS.iter().filter(|asset| asset.network == network);
    here.find(|asset| asset.symbol.eq_ignore_ascii_case(symbol))
}

/// Returns the default token for prices on a network.
pub fn default_of(network: &str) -> Option<&'static Asset<'static>> {
    ASSETS.iter().find(|asset| asset.network == network)
}

/// Reference of Solana's main network.
pub const MAINNET: &str = "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp";
/// Reference of its network for developers.
pub const DEVNET: &str = "EtWTRABZaYq6iMfeYKouRu166VU2xqa1";
/// Reference of its network for validators.
pub const TESTNET: &str = "4uhcVJyU9pJkvQyS88uRDiswHXSCkY3z";

/// Every known token; the first of a network is its default.
///
/// The Token-2022 ones have extensions for which an unlisted mint is refused. They are listed
/// because the official SDK lists them. Their issuers can seize tokens, and could set a fee or a
/// hook program; none has. Sources: for PYUSD and USDG on mainnet their account data of June 2026,
/// for the others publications of third parties.
#[rustfmt::skip]
pub static ASSETS: &[Asset<'static>] = &[
    spl(MAINNET, "USDC", "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"),
    spl(MAINNET, "USDT", "Es9vMFrzaCERmJfrF4H2FYD4KCoNkY11McCe8BenwNYB"),
    token_2022(MAINNET, "USDG", "2u1tszSeqZ3qBWF3uNGPFc8TzMk2tdiwknnRMWGWjGWH", PAXOS),
    token_2022(MAINNET, "PYUSD", "2b1kV6DkPAnxd5ixfnxCpjxmKwqjjaYmCZfHsFu24GXo", PAXOS),
    token_2022(MAINNET, "CASH", "CASHx9KJUStyftLFWGvEVf59SGeG9sh5FfcnZMVPCASH", CASH),
    spl(DEVNET, "USDC", "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU"),
    token_2022(DEVNET, "USDG", "4F6PM96JJxngmHnZLBh9n58RH4aTVNWvDs2nuwrT5BP7", PAXOS),
    token_2022(DEVNET, "PYUSD", "CXk2AMBfi3TwaEL2468s6zP8xq9NxTXjp9gjMgzeUynM", PAXOS),
    spl(TESTNET, "USDC", "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU"),
    token_2022(TESTNET, "USDG", "4F6PM96JJxngmHnZLBh9n58RH4aTVNWvDs2nuwrT5BP7", PAXOS),
    token_2022(TESTNET, "PYUSD", "CXk2AMBfi3TwaEL2468s6zP8xq9NxTXjp9gjMgzeUynM", PAXOS),
];

/// Its accounts have a default state, which is not "frozen".
const CASH: Extensions = Extensions::CLOSE_AUTHORITY
    .with(Extensions::PERMANENT_DELEGATE)
    .with(Extensions::CONFIDENTIAL_TRANSFER)
    .with(Extensions::TRANSFER_HOOK)
    .with(Extensions::METADATA_POINTER)
    .with(Extensions::METADATA);

const PAXOS: Extensions = Extensions::CLOSE_AUTHORITY
    .with(Extensions::PERMANENT_DELEGATE)
    .with(Extensions::TRANSFER_FEE)
    .with(Extensions::CONFIDENTIAL_TRANSFER)
    .with(Extensions::CONFIDENTIAL_TRANSFER_FEE)
    .with(Extensions::TRANSFER_HOOK)
    .with(Extensions::METADATA_POINTER)
    .with(Extensions::METADATA);

const fn spl(network: &'static str, symbol: &'static str, address: &str) -> Asset<'static> {
    let mint = Mint { program: TokenProgram::Token, decimals: 6, extensions: Extensions::NONE };
    Asset { network, symbol, address: literal(address), mint }
}

const fn token_2022(
    network: &'static str,
    symbol: &'static str,
    address: &str,
    extensions: Extensions,
) -> Asset<'static> {
    let mint = Mint { program: TokenProgram::Token2022, decimals: 6, extensions };
    Asset { network, symbol, address: literal(address), mint }
}

#[cfg(test)]
mod tests {
    use super::*;
    use x402_core::Network;

    #[test]
    fn table() {
        for (at, asset) in ASSETS.iter().enumerate() {
            assert!(Network::parse(&std::format!("solana:{}", asset.network)).is_ok());
            let found = find(asset.network, asset.address).unwrap();
            assert!(core::ptr::eq(found, ASSETS.get(at).unwrap()), "{asset:?} twice");
        }
        let mainnet = Network::parse("solana").unwrap().solana().unwrap();
        assert_eq!(default_of(mainnet).unwrap().symbol, "USDC");
        assert_eq!(
            std::format!("{}", default_of(mainnet).unwrap().address),
            "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"
        );
    }
}

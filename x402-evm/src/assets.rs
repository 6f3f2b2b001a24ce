//! The tokens this library knows: what each calls itself in EIP-712, and how it is paid with.
//!
//! Source: the default assets of the official SDKs (`@x402/evm` 2.27, `x402` 1.2 for networks
//! only v1 had, PyPI `x402` 2.25 for the last three). A token's EIP-712 name and version differ
//! from chain to chain, so they are facts to keep, not to guess.

use crate::Address;

/// How a token can be paid with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssetTransferMethod {
    /// The token implements EIP-3009.
    Eip3009,
    /// Through the Permit2 contract.
    Permit2,
}

use AssetTransferMethod::{Eip3009, Permit2};

/// A known stablecoin.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    /// Chain id (`eip155`).
    pub chain_id: u64,
    /// Contract.
    pub address: Address,
    /// Ticker, for people.
    pub symbol: &'static str,
    /// EIP-712 name.
    pub name: &'static str,
    /// EIP-712 version.
    pub version: &'static str,
    /// Decimals.
    pub decimals: u8,
    /// How it is paid with.
    pub transfer_method: AssetTransferMethod,
}

/// The known token at an address.
pub fn find(chain_id: u64, address: Address) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.chain_id == chain_id && asset.address == address)
}

/// The token in which a price in money is asked on a chain: the first known one.
pub fn default_of(chain_id: u64) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.chain_id == chain_id)
}

/// Every known token.
#[rustfmt::skip]
pub static ASSETS: &[Asset] = &[
    asset(8453, "833589fcd6edb6e08f4c7c32d4f71b54bda02913", "USDC", "USD Coin", "2", 6, Eip3009),
    asset(84532, "036cbd53842c5426634e7929541ec2318f3dcf7e", "USDC", "USDC", "2", 6, Eip3009),
    asset(1, "a0b86991c6218b36c1d19d4a2e9eb0ce3606eb48", "USDC", "USD Coin", "2", 6, Eip3009),
    asset(43114, "b97ef9ef8734c71904d8002f8b6bc66dd9c48a6e", "USDC", "USD Coin", "2", 6, Eip3009),
    asset(4326, "fafddbb3fc7688494971a79cc65dca3ef82079e7", "MegaUSD", "MegaUSD", "1", 18, Permit2),
    asset(143, "754704bc059f8c67012fed69bc8a327a5aafb603", "USDC", "USDC", "2", 6, Eip3009),
    asset(988, "779ded0c9e1022225f8e0630b35a9b54be713736", "USDT0", "USDT0", "1", 6, Eip3009),
    asset(2201, "78cf24370174180738c5b8e352b6d14c83a6c9a9", "USDT0", "USDT0", "1", 6, Eip3009),
    asset(137, "3c499c542cef5e3811e1192ce70d8cc03d5c3359", "USDC", "USD Coin", "2", 6, Eip3009),
    asset(42161, "af88d065e77c8cc2239327c5edb3a432268e5831", "USDC", "USD Coin", "2", 6, Eip3009),
    asset(421614, "75faf114eafb1bdbe2f0316df893fd58ce46aa4d", "USDC", "USD Coin", "2", 6, Eip3009),
    asset(31612, "dd468a1ddc392dcdbef6db6e34e89aa338f9f186", "mUSD", "Mezo USD", "1", 18, Permit2),
    asset(31611, "118917a40faf1cd7a13db0ef56c86de7973ac503", "mUSD", "Mezo USD", "1", 18, Permit2),
    asset(723487, "33ad9e4bd16b69b5bfded37d8b5d9ff9aba014fb", "SBC", "Stable Coin", "1", 6, Permit2),
    asset(72344, "33ad9e4bd16b69b5bfded37d8b5d9ff9aba014fb", "SBC", "Stable Coin", "1", 6, Permit2),
    asset(36900, "9cb8142aebbcdc60af7c97af897a67a8f3ca71c2", "USDC.e", "USDC.e", "2", 6, Eip3009),
    asset(190415, "401ecb1d350407f13ba348573e5630b83638e30d", "USDC.e", "Bridged USDC", "2", 6, Eip3009),
    asset(181228, "401ecb1d350407f13ba348573e5630b83638e30d", "USDC.e", "Bridged USDC", "2", 6, Eip3009),
    asset(50, "fa2958cb79b0491cc627c1557f441ef849ca8eb1", "USDC", "USDC", "2", 6, Eip3009),
    asset(51, "b5ab69f7bbada22b28e79c8ffaece55ef1c771d4", "USDC", "USDC", "2", 6, Eip3009),
    asset(38833, "a5b8bf902b2844da17d4506cc827f7f1681735e7", "USDC", "USDC", "1", 6, Permit2),
    asset(14, "e7cd86e13ac4309349f30b3435a9d337750fc82d", "USDT0", "USD₮0", "1", 6, Eip3009),
    asset(42220, "ceba9300f2b948710d2653dd7b07f33a8b32118c", "USDC", "USDC", "2", 6, Eip3009),
    asset(42220, "48065fbbe25f71c9282ddf5e1cd6d6a887483d5e", "USDT", "Tether USD", "1", 6, Eip3009),
    asset(42220, "d2ab3c9a02dbbab236bfec45d1d755df4267f771", "USAT", "Tether America USD", "1", 6, Eip3009),
    asset(11142220, "01c5c0122039549ad1493b8220cabedd739bc44e", "USDC", "USDC", "2", 6, Eip3009),
    asset(1329, "e15fc38f6d8c56af07bbcbe3baf5708a2bf42392", "USDC", "USDC", "2", 6, Eip3009),
    asset(1328, "4fcf1784b31630811181f670aea7a7bef803eaed", "USDC", "USDC", "2", 6, Eip3009),
    asset(1514, "f1815bd50389c46847f0bda824ec8da914045d14", "USDC", "Bridged USDC", "2", 6, Eip3009),
    asset(2741, "84a71ccd554cc1b02749b35d22f684cc8ec987e1", "USDC", "Bridged USDC", "2", 6, Eip3009),
    asset(3338, "bba60da06c2c5424f03f7434542280fcad453d10", "USDC", "USDC", "2", 6, Eip3009),
    asset(4689, "cdf79194c6c285077a58da47641d4dbe51f63542", "USDC", "Bridged USDC", "2", 6, Eip3009),
    asset(11124, "e4c7fbb0a626ed208021ccaba6be1566905e2dfc", "USDC", "Bridged USDC", "2", 6, Eip3009),
    asset(41923, "12a272a581fee5577a5dfa371afeb4b2f3a8c2f8", "USDC", "Bridged USDC (Stargate)", "2", 6, Eip3009),
    asset(43113, "5425890298aed601595a70ab815c96711a31bc65", "USDC", "USD Coin", "2", 6, Eip3009),
    asset(80002, "41e94eb019c0762f9bfcf9fb1e58725bfb0e7582", "USDC", "USDC", "2", 6, Eip3009),
    asset(324705682, "2e08028e3c4c2356572e096d8ef835cd5c6030bd", "USDC", "Bridged USDC (SKALE Bridge)", "2", 6, Eip3009),
    asset(10143, "534b2f3a21130d7a60830c2df862319e593943a3", "USDC", "USDC", "2", 6, Eip3009),
    asset(5042, "3600000000000000000000000000000000000000", "USDC", "USDC", "2", 6, Eip3009),
    asset(5042002, "3600000000000000000000000000000000000000", "USDC", "USDC", "2", 6, Eip3009),
];

const fn asset(
    chain_id: u64,
    address: &str,
    symbol: &'static str,
    name: &'static str,
    version: &'static str,
    decimals: u8,
    transfer_method: AssetTransferMethod,
) -> Asset {
    let address = Address(literal(address.as_bytes()));
    Asset { chain_id, address, symbol, name, version, decimals, transfer_method }
}

/// Runs at compile time only, where a wrong digit or length fails the build.
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic)]
const fn literal(digits: &[u8]) -> [u8; 20] {
    assert!(digits.len() == 40);
    let mut bytes = [0; 20];
    let mut at = 0;
    while at < 40 {
        let digit = match digits[at] {
            digit @ b'0'..=b'9' => digit - b'0',
            digit @ b'a'..=b'f' => digit - b'a' + 10,
            _ => panic!("lower-case hexadecimal expected"),
        };
        bytes[at / 2] = bytes[at / 2] << 4 | digit;
        at += 1;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        for (at, asset) in ASSETS.iter().enumerate() {
            let same =
                |other: &&Asset| (other.chain_id, other.address) == (asset.chain_id, asset.address);
            assert_eq!(ASSETS.iter().position(|other| same(&other)), Some(at), "{asset:?}");
        }
        let sei = default_of(1329).unwrap();
        assert_eq!(std::format!("{}", sei.address), "0xe15fC38F6D8c56aF07bbCBe3BAf5708A2Bf42392");
        let testnet = default_of(1328).unwrap();
        assert_eq!(
            std::format!("{}", testnet.address),
            "0x4fCF1784B31630811181f670Aea7A7bEF803eaED"
        );
        let flare = default_of(14).unwrap();
        assert_eq!(flare.name, "USD\u{20ae}0");
        assert_eq!(default_of(84532).unwrap().name, "USDC");
        assert_eq!(default_of(8453).unwrap().name, "USD Coin");
        assert!(default_of(2).is_none());
    }
}

//! The tokens this library knows: their EIP-712 names, and how they are paid with.
//!
//! Source: the default assets of the official SDKs (`@x402/evm` 2.27, `x402` 1.2 for networks
//! only v1 had, PyPI `x402` 2.25 for the last three). A token's EIP-712 name and version differ
//! from chain to chain, so they are facts to keep, not to guess.

use crate::Address;

/// How a token can be paid with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
    /// Its EIP-712 domain separator, which follows from the rest and would take four hashes.
    pub domain_separator: [u8; 32],
}

/// Returns the known token at an address.
pub fn find(chain_id: u64, address: Address) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.chain_id == chain_id && asset.address == address)
}

/// Returns the first known token of a chain with this symbol, in any letter case.
pub fn by_symbol(chain_id: u64, symbol: &str) -> Option<&'static Asset> {
    let mut here = ASSETS.iter().filter(|asset| asset.chain_id == chain_id);
    here.find(|asset| asset.symbol.eq_ignore_ascii_case(symbol))
}

/// Returns the token in which a price in money is asked on a chain: the first known one.
pub fn default_of(chain_id: u64) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.chain_id == chain_id)
}

/// Every known token.
#[rustfmt::skip]
pub static ASSETS: &[Asset] = &[
    asset(8453, "833589fcd6edb6e08f4c7c32d4f71b54bda02913", "USDC", "USD Coin", "2", 6, Eip3009,
        "02fa7265e7c5d81118673727957699e4d68f74cd74b7db77da710fe8a2c7834f"),
    asset(84532, "036cbd53842c5426634e7929541ec2318f3dcf7e", "USDC", "USDC", "2", 6, Eip3009,
        "71f17a3b2ff373b803d70a5a07c046c1a2bc8e89c09ef722fcb047abe94c9818"),
    asset(1, "a0b86991c6218b36c1d19d4a2e9eb0ce3606eb48", "USDC", "USD Coin", "2", 6, Eip3009,
        "06c37168a7db5138defc7866392bb87a741f9b3d104deb5094588ce041cae335"),
    asset(43114, "b97ef9ef8734c71904d8002f8b6bc66dd9c48a6e", "USDC", "USD Coin", "2", 6, Eip3009,
        "bbea200329a938bc3438984a49cb0732e66d66d7bd59c127abacc1710e77f7b3"),
    asset(4326, "fafddbb3fc7688494971a79cc65dca3ef82079e7", "MegaUSD", "MegaUSD", "1", 18, Permit2,
        "26e1aa8b35bf8653b60726926f670a6ec590674f00b149826914c480d0e798bd"),
    asset(143, "754704bc059f8c67012fed69bc8a327a5aafb603", "USDC", "USDC", "2", 6, Eip3009,
        "fe22123edc0dd4aeb912eb7948c5f0e531592c2053b3067612f427db342c93c6"),
    asset(988, "779ded0c9e1022225f8e0630b35a9b54be713736", "USDT0", "USDT0", "1", 6, Eip3009,
        "f21cc02b28f1a6c8d5ae07aaf9d8954535a11acbaf36923aef1b21d0fc27b221"),
    asset(2201, "78cf24370174180738c5b8e352b6d14c83a6c9a9", "USDT0", "USDT0", "1", 6, Eip3009,
        "8ab6d6926f29d5cf5137b569b2033492d332e54bfc801640d48745da4ab8c1fe"),
    asset(137, "3c499c542cef5e3811e1192ce70d8cc03d5c3359", "USDC", "USD Coin", "2", 6, Eip3009,
        "caa2ce1a5703ccbe253a34eb3166df60a705c561b44b192061e28f2a985be2ca"),
    asset(42161, "af88d065e77c8cc2239327c5edb3a432268e5831", "USDC", "USD Coin", "2", 6, Eip3009,
        "08d11903f8419e68b1b8721bcbe2e9fc68569122a77ef18c216f10b3b5112c78"),
    asset(421614, "75faf114eafb1bdbe2f0316df893fd58ce46aa4d", "USDC", "USD Coin", "2", 6, Eip3009,
        "85944e1292d007732838d6eadfa67589b78ffcededbd4df60488d0af251308bb"),
    asset(31612, "dd468a1ddc392dcdbef6db6e34e89aa338f9f186", "mUSD", "Mezo USD", "1", 18, Permit2,
        "0a43819914359cf08d7ef52ccb53aadf5478d3d2fc676003ccb84491d09a3e93"),
    asset(31611, "118917a40faf1cd7a13db0ef56c86de7973ac503", "mUSD", "Mezo USD", "1", 18, Permit2,
        "6f9f5c5d441374bdc3939f5da85a145469d7ffbc96bfe0cce59e5de7d8f1474f"),
    asset(723487, "33ad9e4bd16b69b5bfded37d8b5d9ff9aba014fb", "SBC", "Stable Coin", "1", 6, Permit2,
        "ad9d505934aea9cff020dd1fe24aafd01930aed2b6a477d2cd73d55d6f45cc27"),
    asset(72344, "33ad9e4bd16b69b5bfded37d8b5d9ff9aba014fb", "SBC", "Stable Coin", "1", 6, Permit2,
        "153e02f2c4163dc3c9109ee8a3e7adb2a19e6071115ec74f8573c6638068081d"),
    asset(36900, "9cb8142aebbcdc60af7c97af897a67a8f3ca71c2", "USDC.e", "USDC.e", "2", 6, Eip3009,
        "4369b2ef8a73be962c9aaf8dcddc38d022dca40af0729d7e4c80a3b44f6698fa"),
    asset(190415, "401ecb1d350407f13ba348573e5630b83638e30d", "USDC.e", "Bridged USDC", "2", 6, Eip3009,
        "ec205e80d13812cd615a90f0751d6abc05df7ebcbb86c5c50e6abb874d53df6a"),
    asset(181228, "401ecb1d350407f13ba348573e5630b83638e30d", "USDC.e", "Bridged USDC", "2", 6, Eip3009,
        "770326a81f629cc1072c47674445f4894838dbc10fb9e90abbb0f05c105ba4f2"),
    asset(50, "fa2958cb79b0491cc627c1557f441ef849ca8eb1", "USDC", "USDC", "2", 6, Eip3009,
        "e3bb44ae105af7e23bb39b117e22bbcbf435066554f45b3a9bbcba42c80fe56d"),
    asset(51, "b5ab69f7bbada22b28e79c8ffaece55ef1c771d4", "USDC", "USDC", "2", 6, Eip3009,
        "3835afe643ce123f3bc71a8e3123e24651d2d4309bbf3ba58329a1db60b9b2c3"),
    asset(38833, "a5b8bf902b2844da17d4506cc827f7f1681735e7", "USDC", "USDC", "1", 6, Permit2,
        "28bce74a6cc06fa84b1d62e091fdd53d7c119236fce935685def34d844802e8f"),
    asset(14, "e7cd86e13ac4309349f30b3435a9d337750fc82d", "USDT0", "USD₮0", "1", 6, Eip3009,
        "4c53d754dcb2f406ecf83695856d8c10b13296a318d9a481043412bf253d43ae"),
    asset(42220, "ceba9300f2b948710d2653dd7b07f33a8b32118c", "USDC", "USDC", "2", 6, Eip3009,
        "b2ce31d2838445fa765a491f550e7c78ac7280ab0f3bc9d6063a86df9c3fb578"),
    asset(42220, "48065fbbe25f71c9282ddf5e1cd6d6a887483d5e", "USDT", "Tether USD", "1", 6, Eip3009,
        "bcb4d62e4834b598d0eacecd84c0b397a0254e077c41cf2143e394d5701d1088"),
    asset(42220, "d2ab3c9a02dbbab236bfec45d1d755df4267f771", "USAT", "Tether America USD", "1", 6, Eip3009,
        "e6bbb7920a85afd44befe87c998da24b8b655c972faf8a8acbdf38c829ff8bf2"),
    asset(11142220, "01c5c0122039549ad1493b8220cabedd739bc44e", "USDC", "USDC", "2", 6, Eip3009,
        "23f491197bb8c5ea4fe8dd4c2293b600f073553f9814015e7a5eb57724df9578"),
    asset(1329, "e15fc38f6d8c56af07bbcbe3baf5708a2bf42392", "USDC", "USDC", "2", 6, Eip3009,
        "0a19136106ae98d2c245cbbd451f3cb2bbbb1670e1ee191abacb5a5e255c0255"),
    asset(1328, "4fcf1784b31630811181f670aea7a7bef803eaed", "USDC", "USDC", "2", 6, Eip3009,
        "154bb5980ce1d584a1067dc67730720e6046d0364a2ade0b692dd488e71fe653"),
    asset(1514, "f1815bd50389c46847f0bda824ec8da914045d14", "USDC", "Bridged USDC", "2", 6, Eip3009,
        "cf460508a5f26d4cd19bd32040fa1942a8a3edb15d1cf92d9d5d971618b3d105"),
    asset(2741, "84a71ccd554cc1b02749b35d22f684cc8ec987e1", "USDC", "Bridged USDC", "2", 6, Eip3009,
        "f97688ce434ffe15ef6e8ade86818441dad8435de52cf7cd454fb9e71fe71da2"),
    asset(3338, "bba60da06c2c5424f03f7434542280fcad453d10", "USDC", "USDC", "2", 6, Eip3009,
        "a7d03bc6a028c2db6a63276917c088f148317e450676587d0832046fd959f2ca"),
    asset(4689, "cdf79194c6c285077a58da47641d4dbe51f63542", "USDC", "Bridged USDC", "2", 6, Eip3009,
        "1fe7a84df16e817c1ad4382cf5e2ae126022a073a3d547352184405dcb4943bf"),
    asset(11124, "e4c7fbb0a626ed208021ccaba6be1566905e2dfc", "USDC", "Bridged USDC", "2", 6, Eip3009,
        "24182604958ec086dc72cef93bb634012f105d9f11d2d0b7ddee93f388cdc91a"),
    asset(41923, "12a272a581fee5577a5dfa371afeb4b2f3a8c2f8", "USDC", "Bridged USDC (Stargate)", "2", 6, Eip3009,
        "d75f4fd044c684299c0aa1c289a66c1912ca50570f70e73c4f99922699c4ee58"),
    asset(43113, "5425890298aed601595a70ab815c96711a31bc65", "USDC", "USD Coin", "2", 6, Eip3009,
        "fe9fa105a0e9629446730e544caa6b8d05d8d4fc93451750dc50e2ddd6d374b3"),
    asset(80002, "41e94eb019c0762f9bfcf9fb1e58725bfb0e7582", "USDC", "USDC", "2", 6, Eip3009,
        "5cddc98319864e897e4469bd1d13c2288c677047b54b8cca12bd342adb6be9eb"),
    asset(324705682, "2e08028e3c4c2356572e096d8ef835cd5c6030bd", "USDC", "Bridged USDC (SKALE Bridge)", "2", 6, Eip3009,
        "9c66d10c4bfde137b77b28f21e155cb5aa5acec7c1ae89d30a5467e11a74fc86"),
    asset(10143, "534b2f3a21130d7a60830c2df862319e593943a3", "USDC", "USDC", "2", 6, Eip3009,
        "f1090f5a61ddee19528cecc447be0f91c7205fc2b34dd271fc0de87809a0a48d"),
    asset(5042, "3600000000000000000000000000000000000000", "USDC", "USDC", "2", 6, Eip3009,
        "940506929bba468048a19b567f4f0d534714bc06604b5c3017e5d16785ccdf84"),
    asset(5042002, "3600000000000000000000000000000000000000", "USDC", "USDC", "2", 6, Eip3009,
        "361191522483d32a83e70ae7183b4b9629442c13a78bc9921d6f707911c8c6b0"),
];

#[allow(clippy::too_many_arguments)] // the columns of the table
const fn asset(
    chain_id: u64,
    address: &str,
    symbol: &'static str,
    name: &'static str,
    version: &'static str,
    decimals: u8,
    transfer_method: AssetTransferMethod,
    domain_separator: &str,
) -> Asset {
    let address = Address(literal(address.as_bytes()));
    let domain_separator = literal(domain_separator.as_bytes());
    Asset { chain_id, address, symbol, name, version, decimals, transfer_method, domain_separator }
}

/// Runs at compile time only, where a wrong digit or length fails the build.
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic)]
const fn literal<const N: usize>(digits: &[u8]) -> [u8; N] {
    assert!(digits.len() == 2 * N);
    let mut bytes = [0; N];
    let mut at = 0;
    while at < 2 * N {
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
    use crate::eip712::domain_separator;

    #[test]
    #[cfg_attr(miri, ignore = "hundreds of hashes")]
    fn table() {
        for (at, asset) in ASSETS.iter().enumerate() {
            let same =
                |other: &&Asset| (other.chain_id, other.address) == (asset.chain_id, asset.address);
            assert_eq!(ASSETS.iter().position(|other| same(&other)), Some(at), "{asset:?}");
            let Asset { name, version, chain_id, address, .. } = *asset;
            let separator = domain_separator(name, version, chain_id, address);
            assert_eq!(asset.domain_separator, separator, "{asset:?}");
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

//! Offers as people know them: tokens, chains, explorers.

use std::borrow::Cow;

use serde_json::{Value, json};
use x402_core::buyer::Wallet as _;
use x402_evm::ExactEvmWallet;
use x402_svm::message::MessageVersion;
use x402_svm::{ExactSvmWallet, assets};

use crate::message::PaymentRequirements;

/// An offer in a known token.
pub(super) struct Known {
    pub(super) symbol: &'static str,
    pub(super) decimals: u8,
    pub(super) name: Cow<'static, str>,
    pub(super) is_test: bool,
    pub(super) payable: bool,
    pub(super) more: Value,
}

/// A chain as people and wallets know it.
pub(super) struct Chain {
    pub(super) id: u64,
    pub(super) name: &'static str,
    pub(super) is_test: bool,
    /// A public node.
    pub(super) rpc: &'static str,
    /// The explorer, without a slash at its end.
    pub(super) explorer: &'static str,
    /// Symbol of the coin that pays for gas; it has 18 decimals.
    pub(super) coin: &'static str,
}

/// Source: the chains' own pages for wallets.
#[rustfmt::skip]
pub(super) const CHAINS: [Chain; 10] = [
    Chain { id: 1329, name: "Sei", is_test: false, rpc: "https://evm-rpc.sei-apis.com", explorer: "https://seiscan.io", coin: "SEI" },
    Chain { id: 1328, name: "Sei Testnet", is_test: true, rpc: "https://evm-rpc-testnet.sei-apis.com", explorer: "https://testnet.seiscan.io", coin: "SEI" },
    Chain { id: 8453, name: "Base", is_test: false, rpc: "https://mainnet.base.org", explorer: "https://basescan.org", coin: "ETH" },
    Chain { id: 84532, name: "Base Sepolia", is_test: true, rpc: "https://sepolia.base.org", explorer: "https://sepolia.basescan.org", coin: "ETH" },
    Chain { id: 1, name: "Ethereum", is_test: false, rpc: "https://ethereum-rpc.publicnode.com", explorer: "https://etherscan.io", coin: "ETH" },
    Chain { id: 137, name: "Polygon", is_test: false, rpc: "https://polygon-rpc.com", explorer: "https://polygonscan.com", coin: "POL" },
    Chain { id: 42161, name: "Arbitrum One", is_test: false, rpc: "https://arb1.arbitrum.io/rpc", explorer: "https://arbiscan.io", coin: "ETH" },
    Chain { id: 43114, name: "Avalanche C-Chain", is_test: false, rpc: "https://api.avax.network/ext/bc/C/rpc", explorer: "https://snowtrace.io", coin: "AVAX" },
    Chain { id: 43113, name: "Avalanche Fuji", is_test: true, rpc: "https://api.avax-test.network/ext/bc/C/rpc", explorer: "https://testnet.snowtrace.io", coin: "AVAX" },
    Chain { id: 42220, name: "Celo", is_test: false, rpc: "https://forno.celo.org", explorer: "https://celoscan.io", coin: "CELO" },
];

pub(super) fn on_evm(offer: &PaymentRequirements, id: u64) -> Option<Known> {
    let (view, wallet) = (offer.as_view(), ExactEvmWallet);
    let asset = x402_evm::assets::find(id, x402_evm::Address::parse(&offer.asset)?)?;
    let chain = CHAINS.iter().find(|chain| chain.id == id);
    let add = chain.map(|Chain { name, rpc, explorer, coin, .. }| {
        json!({
            "chainName": name,
            "rpcUrls": [rpc],
            "blockExplorerUrls": [explorer],
            "nativeCurrency": { "name": coin, "symbol": coin, "decimals": 18 },
        })
    });
    let name = chain.map_or_else(|| format!("eip155:{id}").into(), |chain| chain.name.into());
    Some(Known {
        symbol: asset.symbol,
        decimals: asset.decimals,
        name,
        is_test: chain.is_some_and(|chain| chain.is_test),
        payable: wallet.pays(&view) && wallet.pays_to(&view),
        more: json!({
            "family": "evm",
            "chainId": id,
            "add": add,
            "explorer": chain.map(|chain| format!("{}/tx/{{}}", chain.explorer)),
        }),
    })
}

pub(super) fn on_solana(offer: &PaymentRequirements, reference: &str) -> Option<Known> {
    let (name, chain, cluster, rpc) = match reference {
        assets::MAINNET => ("Solana", "solana:mainnet", "", "https://api.mainnet-beta.solana.com/"),
        assets::DEVNET => {
            ("Solana Devnet", "solana:devnet", "?cluster=devnet", "https://api.devnet.solana.com/")
        }
        assets::TESTNET => (
            "Solana Testnet",
            "solana:testnet",
            "?cluster=testnet",
            "https://api.testnet.solana.com/",
        ),
        _ => return None,
    };
    let (view, wallet) = (offer.as_view(), ExactSvmWallet::default());
    let asset = assets::find(reference, x402_svm::Address::parse(&offer.asset)?)?;
    let is_v0 = wallet.message_version(&view) == Some(MessageVersion::V0);
    Some(Known {
        symbol: asset.symbol,
        decimals: asset.mint.decimals,
        name: name.into(),
        is_test: reference != assets::MAINNET,
        payable: is_v0 && wallet.pays(&view) && wallet.pays_to(&view),
        more: json!({
            "family": "svm",
            "chain": chain,
            "program": asset.mint.program.address().to_string(),
            "rpc": rpc,
            "explorer": format!("https://explorer.solana.com/tx/{{}}{cluster}"),
        }),
    })
}

use std::fmt;

use x402_core::wire::PaymentRequirements;
use x402_core::{Amount, Money, Network, Reason};

use crate::message::NetworkId;

/// The payments that a facilitator accepts: payees, tokens, and the least amount.
///
/// Every settlement costs the facilitator a fee, and runs the token's code. Without rules, every caller
/// chooses both.
#[derive(Clone, Debug, Default)]
pub struct Acceptance {
    payees: Option<Vec<Payee>>,
    assets: Assets,
    least: Option<Least>,
}

/// A token on a network, as `eip155:8453/0x8335...:6` or `solana:5eyk.../EPjF...:6`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedAsset {
    network: NetworkId,
    address: Account,
    /// The known token's decimals; for other tokens, as written.
    decimals: Option<u8>,
}

/// An accepted payee, on EVM networks or on Solana.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payee(Account);

/// The least value of a payment.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Least {
    /// This many units of any token.
    Units(Amount),
    /// This much money, in tokens whose decimals are known; other tokens are then refused.
    Money(Money),
}

/// The reason for which a payment is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotAccepted {
    /// No token of the network is accepted.
    Network,
    /// The payee is not among the accepted ones.
    Payee,
    /// The token is not among the accepted ones.
    Asset,
    /// The amount is less than the least.
    Amount,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Account {
    Evm(x402_evm::Address),
    Svm(x402_svm::Address),
}

#[derive(Clone, Debug, Default)]
enum Assets {
    #[default]
    Known,
    Any,
    Only {
        known: bool,
        listed: Vec<AcceptedAsset>,
    },
}

impl Acceptance {
    /// Accepts payments to any payee, of any amount, in the tokens that this library knows.
    pub fn known() -> Self {
        Self::default()
    }

    /// Accepts payments to any payee, of any amount, in any token. It is for tests, and for facilitators that
    /// only their owner's sellers can reach.
    pub fn any() -> Self {
        Self::default().with_any_asset()
    }

    /// Accepts payments in any token.
    pub fn with_any_asset(self) -> Self {
        Self { assets: Assets::Any, ..self }
    }

    /// Accepts only payments to these payees.
    pub fn with_payees(self, payees: impl IntoIterator<Item = Payee>) -> Self {
        Self { payees: Some(payees.into_iter().collect()), ..self }
    }

    /// Accepts only payments in these tokens and, with `known`, in those that this library knows.
    pub fn with_assets(self, known: bool, listed: impl IntoIterator<Item = AcceptedAsset>) -> Self {
        Self { assets: Assets::Only { known, listed: listed.into_iter().collect() }, ..self }
    }

    /// Accepts only payments of at least this much.
    pub fn with_least(self, least: Least) -> Self {
        Self { least: Some(least), ..self }
    }

    /// Checks whether payments by these requirements are accepted.
    ///
    /// # Errors
    /// [`NotAccepted`], for the first broken rule.
    pub fn check(&self, offer: &PaymentRequirements<'_>) -> Result<(), NotAccepted> {
        let network = offer.network;
        if !self.serves(network) {
            return Err(NotAccepted::Network);
        }
        let read = |text: x402_core::json::JsonStr<'_>| Account::read(network, text.as_str()?);
        if let Some(payees) = &self.payees {
            let payee = read(offer.pay_to).map(Payee).ok_or(NotAccepted::Payee)?;
            if !payees.contains(&payee) {
                return Err(NotAccepted::Payee);
            }
        }
        let asset = read(offer.asset);
        let known = asset.and_then(|asset| asset.decimals(network));
        let (listed, takes_known, takes_any) = match &self.assets {
            Assets::Known => (&[][..], true, false),
            Assets::Any => (&[][..], true, true),
            Assets::Only { known, listed } => (&listed[..], *known, false),
        };
        let listed = listed.iter().find(|listed| {
            Some(listed.address) == asset && listed.network.as_view().is_same(network)
        });
        if listed.is_none() && !takes_any && !(takes_known && known.is_some()) {
            return Err(NotAccepted::Asset);
        }
        let decimals = known.or(listed.and_then(|listed| listed.decimals));
        let enough = match self.least {
            None => true,
            Some(Least::Units(least)) => offer.amount >= least,
            Some(Least::Money(least)) => {
                let decimals = decimals.ok_or(NotAccepted::Asset)?;
                match least.to_units(decimals) {
                    Ok(least) => offer.amount >= least,
                    Err(_) => !least.covers(offer.amount, decimals),
                }
            }
        };
        if enough { Ok(()) } else { Err(NotAccepted::Amount) }
    }

    /// Returns whether any token on this network is accepted.
    pub fn serves(&self, network: Network<'_>) -> bool {
        let known = match (network.eip155(), network.solana()) {
            (Some(chain_id), _) => x402_evm::assets::default_of(chain_id).is_some(),
            (_, Some(reference)) => x402_svm::assets::default_of(reference).is_some(),
            _ => false,
        };
        match &self.assets {
            Assets::Any => true,
            Assets::Known => known,
            Assets::Only { known: takes_known, listed } => {
                let is_here = |listed: &AcceptedAsset| listed.network.as_view().is_same(network);
                (*takes_known && known) || listed.iter().any(is_here)
            }
        }
    }
}

impl Account {
    /// Reads an address as the network writes it, in any letter case on EVM networks.
    fn read(network: Network<'_>, text: &str) -> Option<Self> {
        match network.solana() {
            Some(_) => x402_svm::Address::parse(text).map(Self::Svm),
            None => x402_evm::Address::parse(text).map(Self::Evm),
        }
    }

    /// Reads an address as people type it: a checksum in it must be right.
    fn typed(text: &str) -> Option<Self> {
        let evm = x402_evm::Address::parse_typed(text).map(Self::Evm);
        evm.or_else(|| x402_svm::Address::parse(text).map(Self::Svm))
    }

    /// Returns the decimals of a known token at this address.
    fn decimals(self, network: Network<'_>) -> Option<u8> {
        match self {
            Self::Evm(address) => {
                x402_evm::assets::find(network.eip155()?, address).map(|asset| asset.decimals)
            }
            Self::Svm(address) => {
                x402_svm::assets::find(network.solana()?, address).map(|asset| asset.mint.decimals)
            }
        }
    }
}

impl AcceptedAsset {
    /// Reads `NETWORK/ADDRESS` and `NETWORK/ADDRESS:DECIMALS`. CAIP-19's namespace before an address
    /// (`erc20:`, `token:`) is allowed. Returns `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (network, asset) = text.split_once('/')?;
        let network = Network::parse(network).ok()?;
        let namespace = if network.solana().is_some() { "token:" } else { "erc20:" };
        let asset = asset.strip_prefix(namespace).unwrap_or(asset);
        let (address, decimals) = match asset.split_once(':') {
            None => (asset, None),
            Some((address, decimals)) => {
                let plain = decimals.bytes().all(|byte| byte.is_ascii_digit());
                (address, Some(decimals.parse().ok().filter(|decimals| plain && *decimals <= 77)?))
            }
        };
        let address = Account::typed(address)?;
        if matches!(address, Account::Svm(_)) != network.solana().is_some() {
            return None;
        }
        let known = address.decimals(network);
        // Other decimals mean another token.
        if known.is_some() && decimals.is_some() && known != decimals {
            return None;
        }
        let network = NetworkId::from(network);
        Some(Self { network, address, decimals: known.or(decimals) })
    }

    /// Returns its decimals, if they are known or written.
    pub const fn decimals(&self) -> Option<u8> {
        self.decimals
    }
}

impl Payee {
    /// Reads an address of EVM networks or of Solana; a checksum in it must be right. Returns `None` for
    /// anything else.
    pub fn parse(text: &str) -> Option<Self> {
        Account::typed(text).map(Self)
    }
}

impl NotAccepted {
    /// Returns the reason code. It blames the requirements, because every payment by them would be refused.
    pub const fn reason(self) -> Reason {
        match self {
            Self::Network => Reason::InvalidNetwork,
            Self::Payee | Self::Asset | Self::Amount => Reason::InvalidPaymentRequirements,
        }
    }
}

impl fmt::Display for NotAccepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Network => "network: this facilitator accepts no token of it",
            Self::Payee => "payTo: this facilitator does not work for this payee",
            Self::Asset => "asset: this facilitator does not accept this token",
            Self::Amount => "amount: less than this facilitator settles",
        })
    }
}

impl std::error::Error for NotAccepted {}

#[cfg(test)]
mod tests {
    use super::*;

    const USDC: &str = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913";
    const OTHER: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
    const MINT: &str = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v";
    const OWNER: &str = "9hSR6S7WPtxmTojgo6GG3k4yDPecgJY292j7xrsUGWBu";
    const SOLANA: &str = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp";

    fn offer(
        network: &str,
        asset: &str,
        pay_to: &str,
        amount: u64,
    ) -> crate::message::PaymentRequirements {
        let json = format!(
            r#"{{"scheme":"exact","network":"{network}","amount":"{amount}","asset":"{asset}",
                "payTo":"{pay_to}","maxTimeoutSeconds":60}}"#
        );
        crate::message::PaymentRequirements::from_json(json.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_taken_on() {
        use NotAccepted::{Amount as Little, Asset, Payee as Who};
        let asset = |text: &str| AcceptedAsset::parse(text).unwrap();
        let payee = |text: &str| Payee::parse(text).unwrap();
        let known = Acceptance::known;
        let money = |text: &str| Least::Money(Money::parse(text).unwrap());
        let own = || asset(&format!("eip155:8453/{OTHER}:2"));
        let bare = || asset(&format!("eip155:8453/{OTHER}"));
        let lower = USDC.to_lowercase();
        let mine = || known().with_payees([payee(OTHER), payee(OWNER)]);
        let cases = [
            (known(), ("eip155:8453", USDC, OTHER, 1), Ok(())),
            (known(), ("eip155:8453", &*lower, OTHER, 1), Ok(())),
            (known(), (SOLANA, MINT, OWNER, 1), Ok(())),
            (known(), ("eip155:8453", OTHER, OTHER, 1), Err(Asset)),
            (known(), ("eip155:2", OTHER, OTHER, 1), Err(NotAccepted::Network)),
            // Known, but on another network.
            (known(), ("eip155:1", USDC, OTHER, 1), Err(Asset)),
            (known(), (SOLANA, OWNER, OWNER, 1), Err(Asset)),
            (known(), ("eip155:8453", MINT, OTHER, 1), Err(Asset)),
            (Acceptance::any(), ("eip155:2", OTHER, OTHER, 1), Ok(())),
            (mine(), ("eip155:8453", USDC, &*OTHER.to_lowercase(), 1), Ok(())),
            (mine(), (SOLANA, MINT, OWNER, 1), Ok(())),
            (mine(), ("eip155:8453", USDC, USDC, 1), Err(Who)),
            (mine(), (SOLANA, MINT, MINT, 1), Err(Who)),
            (mine(), ("eip155:8453", USDC, "nobody", 1), Err(Who)),
            (known().with_payees([]), ("eip155:8453", USDC, OTHER, 1), Err(Who)),
            (known().with_assets(false, [own()]), ("eip155:8453", OTHER, OTHER, 1), Ok(())),
            (
                known().with_assets(false, [own()]),
                ("eip155:1", OTHER, OTHER, 1),
                Err(NotAccepted::Network),
            ),
            (known().with_assets(false, [own()]), ("eip155:8453", USDC, OTHER, 1), Err(Asset)),
            (known().with_assets(true, [own()]), ("eip155:8453", USDC, OTHER, 1), Ok(())),
            (known().with_least(money("$0.001")), ("eip155:8453", USDC, OTHER, 1000), Ok(())),
            (known().with_least(money("$0.001")), ("eip155:8453", USDC, OTHER, 999), Err(Little)),
            (known().with_least(money("$0.0000001")), ("eip155:8453", USDC, OTHER, 0), Err(Little)),
            (known().with_least(money("$0.0000001")), ("eip155:8453", USDC, OTHER, 1), Ok(())),
            (
                known().with_assets(true, [own()]).with_least(money("$0.50")),
                ("eip155:8453", OTHER, OTHER, 49),
                Err(Little),
            ),
            (
                known().with_assets(true, [bare()]).with_least(money("$0.50")),
                ("eip155:8453", OTHER, OTHER, 999_999),
                Err(Asset),
            ),
            (Acceptance::any().with_least(money("$1")), ("eip155:2", OTHER, OTHER, 9), Err(Asset)),
            (
                Acceptance::any().with_least(Least::Units(Amount::from(5))),
                ("eip155:2", OTHER, OTHER, 4),
                Err(Little),
            ),
        ];
        for (acceptance, (network, asset, pay_to, amount), expected) in cases {
            let offer = offer(network, asset, pay_to, amount);
            let found = acceptance.check(&offer.as_view());
            assert_eq!(found, expected, "{acceptance:?} {network} {asset} {pay_to} {amount}");
        }
    }

    #[test]
    fn tokens_are_written_in_one_way() {
        for (text, decimals) in [
            (format!("eip155:8453/{USDC}"), Some(Some(6))),
            (format!("base/{USDC}:6"), Some(Some(6))),
            (format!("eip155:8453/erc20:{USDC}"), Some(Some(6))),
            (format!("{SOLANA}/token:{MINT}"), Some(Some(6))),
            (format!("eip155:8453/{OTHER}"), Some(None)),
            (format!("eip155:8453/{OTHER}:18"), Some(Some(18))),
            (format!("eip155:8453/{USDC}:18"), None),
            (format!("eip155:8453/{MINT}"), None),
            (format!("{SOLANA}/{USDC}"), None),
            (format!("eip155:8453/{OTHER}:"), None),
            (format!("eip155:8453/{OTHER}:+6"), None),
            (format!("eip155:8453/{OTHER}:78"), None),
            (format!("eip155:8453/{}", OTHER.replace('C', "c")), None),
            (USDC.into(), None),
            (String::new(), None),
        ] {
            let found = AcceptedAsset::parse(&text).map(|asset| asset.decimals());
            assert_eq!(found, decimals, "{text}");
        }
    }
}

use std::collections::BTreeSet;
use std::net::SocketAddr;

use clap::Args;
use x402_std::core::{Amount, Money, Network};
use x402_std::evm::{Address, assets};
use x402_std::facilitator::{LocalFacilitator, router};
use x402_std::ledger::{Ledger, SimulatedLedger};

use crate::{Failure, Outcome, listen};

/// Serves a facilitator: POST /verify, POST /settle, GET /supported.
#[derive(Args)]
pub(crate) struct Facilitator {
    /// Settles in a ledger in memory: no chain, no money
    #[arg(long)]
    simulated: bool,
    /// Where to listen
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:4022")]
    listen: SocketAddr,
    /// Gives an account of the simulated ledger units of the default token, or money ($1); may be
    /// repeated
    #[arg(long, value_name = "ADDR=AMOUNT", value_parser = Fund::parse)]
    fund: Vec<Fund>,
    /// Network to give it on, may be repeated [default: all]
    #[arg(long = "network", value_name = "NETWORK", value_parser = chain_id)]
    networks: Vec<u64>,
}

impl Facilitator {
    pub(crate) async fn run(&self) -> Outcome {
        if !self.simulated {
            return Err(Failure::unusable("not supported yet: only --simulated is"));
        }
        let facilitator = simulated(&self.networks, &self.fund)?;
        listen::serve(router(facilitator), self.listen).await
    }
}

/// A balance to begin with.
#[derive(Clone)]
pub(crate) struct Fund {
    account: Address,
    amount: Balance,
}

#[derive(Clone, Copy)]
enum Balance {
    Units(Amount),
    Money(Money),
}

impl Fund {
    /// Reads `0x...=1000000` or `0x...=$1`.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let (account, amount) = text.split_once('=').ok_or("not ADDR=AMOUNT")?;
        let account = Address::parse(account).ok_or("not an address")?;
        let balance = if amount.starts_with('$') {
            Money::parse(amount).map(Balance::Money)
        } else {
            Amount::parse(amount).map(Balance::Units)
        };
        Ok(Self { account, amount: balance.map_err(|_| "not an amount")? })
    }
}

/// The chain id of a network that is written as CAIP-2 id or v1 name.
fn chain_id(text: &str) -> Result<u64, &'static str> {
    Network::parse(text).ok().and_then(Network::eip155).ok_or("not an EVM network")
}

/// A facilitator over a simulated ledger with these balances on these chains; on all it serves if
/// none is named.
pub(crate) fn simulated(
    chains: &[u64],
    funds: &[Fund],
) -> Result<LocalFacilitator<SimulatedLedger>, Failure> {
    let ledger = SimulatedLedger::new();
    // Networks are listed once for each version.
    let served: BTreeSet<u64> =
        ledger.kinds().iter().filter_map(|kind| kind.network.view().eip155()).collect();
    if chains.iter().any(|chain| !served.contains(chain)) {
        return Err(Failure::unusable("the simulated ledger does not serve this network"));
    }
    let chains = if chains.is_empty() { served } else { chains.iter().copied().collect() };
    for chain in chains {
        let Some(token) = assets::default_of(chain) else { continue };
        for fund in funds {
            let amount = match fund.amount {
                Balance::Units(units) => Ok(units),
                Balance::Money(money) => money.to_units(token.decimals),
            };
            let amount =
                amount.map_err(|error| Failure::unusable(format_args!("--fund: {error}")))?;
            ledger
                .fund(chain, token.address, fund.account, amount)
                .map_err(|_| Failure::unusable("--fund: too much"))?;
        }
    }
    Ok(LocalFacilitator::new(ledger))
}

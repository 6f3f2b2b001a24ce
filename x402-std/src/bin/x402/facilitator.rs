use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use x402_std::core::{Amount, Money, Network};
use x402_std::facilitator::ledger::{Networks, SimulatedLedger};
use x402_std::facilitator::{Callers, Hosts, LocalFacilitator, Service};
use x402_std::message::NetworkId;
use x402_std::{evm, svm};

use crate::config::{Config, FILE_BYTES};
use crate::key::KeySource;
use crate::listen::Listen;
use crate::log::{self, Format};
use crate::{Failure, Outcome, input, settle};

/// Serves a facilitator: POST /verify, POST /settle, GET /supported, GET /settlements/{id}.
///
/// With --config it settles on chains, and serves GET /healthz, /readyz and /metrics too.
#[derive(Args)]
pub(crate) struct Facilitator {
    /// Settles on chains, as this TOML file configures; x402-std/examples/service has examples and all
    /// settings
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["simulated", "listen", "fund", "networks", "hosts"]
    )]
    config: Option<PathBuf>,
    /// Checks the file, prints every mistake, and settles nothing
    #[arg(long, requires = "config")]
    check: bool,
    /// Settles in a ledger in memory: no chain, no money
    #[arg(long)]
    simulated: bool,
    /// Where to listen
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:4022")]
    listen: SocketAddr,
    /// Gives an address, EVM or Solana, a balance in the simulated ledger: units of the default
    /// tokens, or money ($1); may be repeated
    #[arg(long, value_name = "ADDR=AMOUNT", value_parser = Fund::parse)]
    fund: Vec<Fund>,
    /// Name of this service in requests, besides localhost and the address of --listen; may be
    /// repeated. Requests to other names are refused, so that no website can reach it through a browser
    #[arg(long = "host", value_name = "NAME")]
    hosts: Vec<String>,
    /// Network of --fund; may be repeated [default: all]
    #[arg(long = "network", value_name = "NETWORK", value_parser = network)]
    networks: Vec<NetworkId>,
    /// Format of lines on stderr: text for people, or JSON objects. With --config, the file sets it
    #[arg(
        long,
        value_name = "FORMAT",
        value_enum,
        default_value = "text",
        conflicts_with = "config"
    )]
    log: Format,
}

impl Facilitator {
    pub(crate) async fn run(&self) -> Outcome {
        if let Some(path) = &self.config {
            let text = input::file(path, FILE_BYTES)?;
            let text = String::from_utf8(text)
                .map_err(|_| Failure::unusable("--config: the file is not UTF-8 text"))?;
            let config = Config::read(&text).map_err(settle::mistakes)?;
            return settle::run(config, self.check).await;
        }
        if !self.simulated {
            return Err(Failure::unusable(
                "no ledger: give --config FILE to settle on chains, or --simulated",
            ));
        }
        log::write_as(self.log);
        log::start(None);
        let hosts = self.hosts.iter().try_fold(Hosts::of(self.listen), |hosts, name| {
            hosts.with(name).ok_or_else(|| Failure::unusable("--host: not a name without port"))
        })?;
        let callers = Callers::default().with_hosts(hosts);
        let service = Service::new(simulated(&self.networks, &self.fund)?).with_callers(callers);
        Listen::new(self.listen).serve(service.router(), service.finish()).await
    }
}

/// A balance to begin with.
#[derive(Clone)]
pub(crate) struct Fund {
    account: Account,
    amount: Balance,
}

#[derive(Clone, Copy)]
enum Account {
    Evm(evm::Address),
    Svm(svm::Address),
    /// The addresses of the keys in the environment.
    Own(Option<evm::Address>, Option<svm::Address>),
}

#[derive(Clone, Copy)]
enum Balance {
    Units(Amount),
    Money(Money),
}

impl Fund {
    /// Reads `ADDR=1000000` or `ADDR=$1`, or `1000000` or `$1` for the keys in the environment.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let (account, amount) = match text.split_once('=') {
            Some((account, amount)) => {
                let evm = evm::Address::parse(account).map(Account::Evm);
                let account = evm.or_else(|| svm::Address::parse(account).map(Account::Svm));
                (account.ok_or("not an address: `x402 key address` shows your own")?, amount)
            }
            None => {
                let own = KeySource::default().read_any().ok().flatten();
                let none =
                    "without ADDR= it is for your own keys: set X402_EVM_KEY or X402_SVM_KEY";
                let (svm, evm) = own.ok_or(none)?;
                let addresses = (evm.map(|it| it.address()), svm.map(|it| it.address()));
                (Account::Own(addresses.0, addresses.1), text)
            }
        };
        let balance = if amount.starts_with('$') {
            Money::parse(amount).map(Balance::Money)
        } else {
            Amount::parse(amount).map(Balance::Units)
        };
        Ok(Self {
            account,
            amount: balance.map_err(|_| "not an amount: write units, or money such as $1")?,
        })
    }

    /// Gives the balance on one network; `false` if its addresses are of another kind.
    fn give(&self, ledger: &SimulatedLedger, network: Network<'_>) -> Result<bool, Failure> {
        let too_much = || Failure::unusable("--fund: the balance is too large: give less");
        let account = match self.account {
            Account::Own(evm, svm) => {
                let evm = evm.filter(|_| network.eip155().is_some()).map(Account::Evm);
                let Some(own) = evm.or(svm.map(Account::Svm)) else { return Ok(false) };
                own
            }
            named => named,
        };
        match account {
            Account::Own(..) => return Ok(false),
            Account::Evm(account) => {
                let Some(chain_id) = network.eip155() else { return Ok(false) };
                let Some(token) = evm::assets::default_of(chain_id) else { return Ok(false) };
                let units = self.units(token.decimals)?;
                ledger.fund(chain_id, token.address, account, units).map_err(|_| too_much())?;
            }
            Account::Svm(owner) => {
                let Some(reference) = network.solana() else { return Ok(false) };
                let Some(token) = svm::assets::default_of(reference) else { return Ok(false) };
                let units = self.units(token.mint.decimals)?.as_u64().ok_or_else(too_much)?;
                ledger.fund_svm(token, owner, units).map_err(|_| too_much())?;
            }
        }
        Ok(true)
    }

    fn units(&self, decimals: u8) -> Result<Amount, Failure> {
        let units = match self.amount {
            Balance::Units(units) => Ok(units),
            Balance::Money(money) => money.to_units(decimals),
        };
        units.map_err(|error| Failure::unusable(format_args!("--fund: {error}")))
    }
}

/// A network that is written as CAIP-2 id or v1 name.
fn network(text: &str) -> Result<NetworkId, &'static str> {
    let network = Network::parse(text).ok();
    let known = network.filter(|network| network.eip155().is_some() || network.solana().is_some());
    known.map(NetworkId::from).ok_or("not an EVM or Solana network, such as eip155:84532")
}

/// A facilitator over a simulated ledger with these balances on these networks, or on all if none is
/// named.
pub(crate) fn simulated(
    networks: &[NetworkId],
    funds: &[Fund],
) -> Result<LocalFacilitator<SimulatedLedger>, Failure> {
    let ledger = SimulatedLedger::new();
    // Networks are listed once for each version.
    let kinds = ledger.kinds().into_iter().filter(|kind| kind.x402_version == 2);
    let served: Vec<NetworkId> = kinds.map(|kind| kind.network).collect();
    let among = |all: &[NetworkId], one: &NetworkId| {
        all.iter().any(|network| network.as_view().is_same(one.as_view()))
    };
    if !networks.iter().all(|network| among(&served, network)) {
        return Err(Failure::unusable(
            "--network: the simulated ledger does not serve this network: choose another one",
        ));
    }
    for fund in funds {
        let mut given = false;
        for network in &served {
            if networks.is_empty() || among(networks, network) {
                given |= fund.give(&ledger, network.as_view())?;
            }
        }
        if !given {
            return Err(Failure::unusable(
                "--fund: the address is of another kind than the networks",
            ));
        }
    }
    Ok(LocalFacilitator::new(ledger))
}

//! An MCP server that buys for a model, within a budget.

use std::env;
use std::fs::DirBuilder;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use x402_std::buyer::budget::{Limit, Most, Per, Scope, SqliteBudget};
use x402_std::buyer::{Asset, Buyer, Policy};
use x402_std::clock::SystemClock;
use x402_std::core::Money;
use x402_std::message::NetworkId;
use x402_std::store::OpenError;
use x402_std::{evm, svm};

use crate::key::KeySource;
use crate::listen::Stop;
use crate::log;
use crate::{Failure, Outcome};

mod approval;
mod descriptions;
mod discovery;
mod progress;
mod reach;
mod recent;
mod request;
mod response;
mod text;
mod tools;

use super::over_stdio;
use discovery::{Listing, Listings};
use reach::{Named, Reach};
use tools::Tools;

#[derive(Args)]
pub(crate) struct Agent {
    #[command(flatten)]
    key: KeySource,
    /// Most for one payment [default: $1]
    #[arg(long, value_name = "MONEY", value_parser = Money::parse)]
    max: Option<Money>,
    /// Limit on the sum of payments: '$5 per day', '$20' (for ever), '$0.05 per payment', '$1 per day
    /// each host', '$2 per day host api.example.com', '$1 each payee', '$0.50 per day payee ADDRESS',
    /// '2500000 of NETWORK/TOKEN per day'; may be repeated, and all hold. 'each host' counts each name
    /// by itself, and the owner of a domain has many. '$5 per day' holds too, unless a limit is in
    /// money, per day or for ever, and on all payments
    #[arg(long = "limit", value_name = "LIMIT")]
    limits: Vec<Limit>,
    /// Price above which a person is asked before a payment is signed, through the MCP client
    /// (elicitation); a client that cannot ask pays nothing
    #[arg(long, value_name = "MONEY", value_parser = Money::parse)]
    ask_above: Option<Money>,
    /// Host that may be requested and paid, over https, with its port unless that is 80 or 443; may be
    /// repeated. http://HOST allows plain http too; 127.0.0.1:PORT and localhost:PORT need no http://.
    /// Without one: https to public addresses only, neither this machine nor private networks, without
    /// a proxy, and without headers that carry rights. With --upstream and --listen: name of this
    /// server in HTTP requests, besides localhost and the address of --listen; requests to other names
    /// are refused, so that no website can reach it through a browser
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
    /// Network to pay on, such as eip155:8453 or solana; may be repeated. Without one, all networks
    /// with a key. With --upstream: network of the payment, in its default stablecoin; may be repeated
    /// for as many offers, each with its own --pay-to in the same order
    #[arg(long = "network", value_name = "NETWORK")]
    networks: Vec<String>,
    /// Token to pay with besides the known stablecoins, on EVM networks: it counts as a stablecoin;
    /// may be repeated
    #[arg(long = "asset", value_name = "NETWORK/ADDRESS:DECIMALS", value_parser = asset)]
    assets: Vec<Asset>,
    /// Address that may be paid; may be repeated. Without one, all
    #[arg(long = "payee", value_name = "ADDRESS", value_parser = payee)]
    payees: Vec<String>,
    /// File for purchases (SQLite): limits hold over crashes and between all processes that use it
    /// [default: x402/budget.db in $XDG_STATE_HOME or ~/.local/state]
    #[arg(long, value_name = "FILE")]
    budget: Option<PathBuf>,
    /// Listing of things to buy: a Bazaar, or a store like 1ly's, with 1ly: before its URL; may be
    /// repeated
    #[arg(long = "discover", value_name = "[1ly:|bazaar:]URL", value_parser = discovery::listing)]
    listings: Vec<Arc<dyn Listing>>,
}

impl Agent {
    pub(crate) async fn run(self) -> Outcome {
        let hosts = self.hosts()?;
        let policy = self.policy(&hosts)?;
        // Without a key, the tools' errors explain what to do.
        let wallet = self.key.read_any()?.unwrap_or((None, None));
        let budget = match &self.budget {
            Some(path) => open(path)?,
            None => open(&default_file("budget.db")?)?,
        };
        let buyer = Buyer::with_parts(wallet, policy, SystemClock).with_budget(budget);
        let reach = Reach::new(some(hosts)).map_err(Failure::refused)?;
        let listings = Listings::new(self.listings).map_err(Failure::refused)?;
        log::start(None);
        let shop = Tools::new(buyer, reach, listings);
        let stop = Stop::new().map_err(Failure::refused)?;
        over_stdio(shop.clone(), stop, || shop.finish()).await
    }

    fn hosts(&self) -> Result<Vec<Named>, Failure> {
        let named = self.hosts.iter().map(|text| Named::parse(text));
        named.collect::<Result<_, _>>().map_err(|error| Failure::unusable(error).about("--host"))
    }

    fn policy(&self, hosts: &[Named]) -> Result<Policy, Failure> {
        let networks = self.networks.iter().map(|text| {
            network(text).ok_or_else(|| {
                Failure::unusable("--network: not an EVM or Solana network, such as solana")
            })
        });
        let mut limits = self.limits.clone();
        let is_total = |limit: &Limit| {
            matches!(limit.most, Most::Money(_))
                && limit.per != Per::Payment
                && limit.scope == Scope::All
        };
        if !limits.iter().any(is_total) {
            limits.push(Limit::money(five_dollars(), Per::Day));
        }
        let default = Policy::default();
        Ok(Policy {
            max: self.max.unwrap_or(default.max),
            limits,
            ask_above: self.ask_above,
            hosts: some(hosts.iter().map(|named| named.host.clone()).collect()),
            networks: some(networks.collect::<Result<_, _>>()?),
            assets: self.assets.clone(),
            payees: some(self.payees.clone()),
        })
    }
}

pub(crate) fn open(path: &Path) -> Result<SqliteBudget, Failure> {
    SqliteBudget::open(path).map_err(|error| {
        Failure::refused(match error {
            OpenError::Exposed(exposed) => {
                return Failure::unusable(exposed).about("--budget");
            }
            OpenError::Foreign => "--budget: not a budget: give another file",
            OpenError::Newer => "--budget: written by a newer x402: update this one",
            _ => "--budget: the file cannot be opened: check its path and rights",
        })
    })
}

/// The path of a default file in the user's state directory, which is made, for its owner only.
pub(crate) fn default_file(name: &str) -> Result<PathBuf, Failure> {
    let absolute =
        |variable| env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .ok_or_else(|| Failure::unusable("no file for purchases: give --budget, or set HOME"))?;
    let directory = state.join("x402");
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&directory).map_err(|error| {
        Failure::refused(format_args!("cannot make the directory for --budget: {error}"))
    })?;
    Ok(directory.join(name))
}

/// An empty list allows all.
fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn five_dollars() -> Money {
    Money::parse("$5").unwrap_or(Money::ONE)
}

/// Reads a network that a wallet can pay on. Any other is a mistake.
fn network(text: &str) -> Option<NetworkId> {
    let network: NetworkId = text.parse().ok()?;
    let view = network.as_view();
    (view.eip155().is_some() || view.solana().is_some()).then_some(network)
}

fn asset(text: &str) -> Result<Asset, &'static str> {
    let parts = text.rsplit_once(':').and_then(|(rest, decimals)| {
        let (network, address) = rest.split_once('/')?;
        let network = network.parse().ok()?;
        evm::Address::parse(address)?;
        Some(Asset { network, address: address.into(), decimals: decimals.parse().ok()? })
    });
    parts.filter(|asset| asset.network.as_view().eip155().is_some()).ok_or(
        "not NETWORK/ADDRESS:DECIMALS, such as \
         eip155:84532/0x036CbD53842c5426634e7929541eC2318f3dCF7e:6",
    )
}

fn payee(text: &str) -> Result<String, &'static str> {
    let is_address = evm::Address::parse(text).is_some() || svm::Address::parse(text).is_some();
    if is_address { Ok(text.into()) } else { Err("not an EVM or Solana address") }
}

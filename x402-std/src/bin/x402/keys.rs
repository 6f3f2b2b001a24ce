//! Keys for people: made, shown by their addresses, and what these have.

use std::env;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use serde_json::value::RawValue;
use x402_std::core::crypto::Signer;
use x402_std::core::crypto::ed25519::{self, Dalek};
use x402_std::core::crypto::secp256k1;
use x402_std::core::{Amount, Money, Network};
use x402_std::message::NetworkId;
use x402_std::rpc::{Nodes, RpcError};
use x402_std::{evm, svm};
use zeroize::Zeroizing;

use crate::key::KeySource;
use crate::{Exit, Failure, Outcome, print, talk};

/// The variable for the URL of a node.
const RPC: &str = "X402_RPC";

/// Makes keys, and shows their addresses and what these have.
#[derive(Args)]
pub(crate) struct Key {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    New(New),
    Address(Address),
    Balance(Balance),
}

/// Makes a key, and writes it to a new file that nobody but its owner can read. Prints {"file","address"}.
///
/// The file is what --key-file or --svm-key-file takes. Whoever has it has the money: there is no copy.
#[derive(Args)]
struct New {
    /// For EVM networks or for Solana
    #[arg(value_enum)]
    kind: Kind,
    /// The file, which must not be there yet
    file: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Evm,
    Solana,
}

/// Prints the addresses of the keys there are: {"evm","solana"}.
#[derive(Args)]
struct Address {
    #[command(flatten)]
    key: KeySource,
}

/// Asks a node what an address has of a network's default stablecoin. Prints
/// {"network","address","token","units","balance"}.
#[derive(Args)]
struct Balance {
    /// The network, such as eip155:84532 or solana-devnet
    #[arg(long, value_name = "NETWORK")]
    network: NetworkId,
    /// URL of a node of the network; without it, X402_RPC is the URL
    #[arg(long, value_name = "URL")]
    rpc: Option<String>,
    /// The address [default: that of the key for the network]
    #[arg(long, value_name = "ADDR")]
    address: Option<String>,
    #[command(flatten)]
    key: KeySource,
}

impl Key {
    pub(crate) async fn run(&self) -> Outcome {
        match &self.what {
            What::New(new) => new.run(),
            What::Address(address) => address.run(),
            What::Balance(balance) => balance.run().await,
        }
    }
}

impl New {
    fn run(&self) -> Outcome {
        let mut seed = Zeroizing::new([0; 32]);
        let random = |seed: &mut [u8; 32]| {
            getrandom::fill(seed).map_err(|_| Failure::refused("the system gives no random bytes"))
        };
        random(&mut seed)?;
        let (text, address, option) = match self.kind {
            Kind::Evm => {
                let key = loop {
                    // Almost every 32 bytes are a key.
                    match secp256k1::LocalKey::from_bytes(&seed) {
                        Some(key) => break key,
                        None => random(&mut seed)?,
                    }
                };
                let text = Zeroizing::new(format!(
                    "0x{}\n",
                    Zeroizing::new(hex::encode(seed.as_slice())).as_str()
                ));
                (text, evm::Address(Signer::public(&key)).to_string(), "--key-file")
            }
            Kind::Solana => {
                let public = Signer::public(&ed25519::LocalKey::from_seed(&seed));
                // As the Solana CLI writes it.
                let mut text = Zeroizing::new(String::with_capacity(512));
                for (place, byte) in seed.iter().chain(&public).enumerate() {
                    text.push(if place == 0 { '[' } else { ',' });
                    text.push_str(&byte.to_string());
                }
                text.push_str("]\n");
                (text, svm::Address(public).to_string(), "--svm-key-file")
            }
        };
        write_new(&self.file, text.as_bytes()).map_err(|error| {
            let text = match error.kind() {
                io::ErrorKind::AlreadyExists => {
                    "the file is there already: give another name".into()
                }
                _ => format!("cannot write the file: {error}"),
            };
            Failure::refused(text)
        })?;
        print(json!({ "file": self.file.display().to_string(), "address": address }))?;
        talk(format_args!(
            "pay with it by {option} FILE; keep a copy of the file, and show it to nobody"
        ));
        Ok(Exit::Yes)
    }
}

/// Writes a file that was not there, for its owner alone.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

impl Address {
    fn run(&self) -> Outcome {
        let (svm, evm) = self.key.read()?;
        let evm = evm.map(|wallet| wallet.address().to_string());
        let svm = svm.map(|wallet| wallet.address().to_string());
        print(json!({ "evm": evm, "solana": svm }))?;
        Ok(Exit::Yes)
    }
}

impl Balance {
    async fn run(&self) -> Outcome {
        let network = self.network.view();
        let address = match &self.address {
            Some(address) => address.clone(),
            None => {
                let (svm, evm) = self.key.read()?;
                let own = match network.solana().is_some() {
                    true => svm.map(|wallet| wallet.address().to_string()),
                    false => evm.map(|wallet| wallet.address().to_string()),
                };
                own.ok_or_else(|| Failure::unusable("no key for this network: give --address"))?
            }
        };
        let url = match &self.rpc {
            Some(url) => url.clone(),
            None => env::var(RPC).ok().filter(|url| !url.is_empty()).ok_or_else(|| {
                Failure::unusable(format_args!("no node to ask: give --rpc or set {RPC}"))
            })?,
        };
        let nodes = Nodes::new([url]).map_err(|error| Failure::unusable(error).about("--rpc"))?;
        let (symbol, decimals, units) = match (network.eip155(), network.solana()) {
            (Some(chain), _) => on_evm(&nodes, chain, &address).await?,
            (_, Some(reference)) => on_solana(&nodes, reference, &address).await?,
            _ => return Err(Failure::unusable("--network: not an EVM or Solana network")),
        };
        let balance = Money::from_units(units, decimals).map(|money| money.to_string());
        print(json!({
            "network": caip2(network),
            "address": address,
            "token": symbol,
            "units": units.to_string(),
            "balance": balance,
        }))?;
        Ok(Exit::Yes)
    }
}

fn caip2(network: Network<'_>) -> &str {
    network.caip2().map_or(network.as_str(), Network::as_str)
}

type Held = (&'static str, u8, Amount);

async fn on_evm(nodes: &Nodes, chain: u64, address: &str) -> Result<Held, Failure> {
    let owner = evm::Address::parse(address)
        .ok_or_else(|| Failure::unusable("--address: not an address of an EVM network"))?;
    let token = evm::assets::default_of(chain)
        .ok_or_else(|| Failure::unusable("--network: no stablecoin is known on it"))?;
    let id = number(&ask(nodes, "eth_chainId", &json!([])).await?)?;
    if id.as_u64() != Some(chain) {
        let text = format_args!("the node is one of chain {id}, not of {chain}: check its URL");
        return Err(Failure::refused(text).about("--rpc"));
    }
    // balanceOf(address)
    let data = format!("0x70a08231{:0>64}", hex::encode(owner.0));
    let call = json!([{ "to": token.address.to_string(), "data": data }, "latest"]);
    let units = number(&ask(nodes, "eth_call", &call).await?)?;
    Ok((token.symbol, token.decimals, units))
}

async fn on_solana(nodes: &Nodes, reference: &str, address: &str) -> Result<Held, Failure> {
    let owner = svm::Address::parse(address)
        .ok_or_else(|| Failure::unusable("--address: not an address of Solana"))?;
    let token = svm::assets::default_of(reference)
        .ok_or_else(|| Failure::unusable("--network: no stablecoin is known on it"))?;
    let hash: String = read(&ask(nodes, "getGenesisHash", &json!([])).await?)?;
    if !hash.starts_with(reference) {
        return Err(
            Failure::refused("the node is one of another cluster: check its URL").about("--rpc")
        );
    }
    let program = token.mint.program;
    let account = svm::associated_token_address(&Dalek, owner, program, token.address);
    let account = account.ok_or_else(|| Failure::refused("the address has no token account"))?;
    let options = json!([account.to_string(), { "commitment": "confirmed" }]);
    let units = match nodes.ask("getTokenAccountBalance", &options).await {
        Ok(answer) => {
            let answer: serde_json::Value = read(&answer)?;
            let amount = answer["value"]["amount"].as_str().and_then(|it| Amount::parse(it).ok());
            amount.ok_or_else(no_balance)?
        }
        // There is no such account yet.
        Err(RpcError::Refused { code: -32602, .. }) => Amount::ZERO,
        Err(error) => return Err(Failure::refused(error).about("--rpc")),
    };
    Ok((token.symbol, token.mint.decimals, units))
}

async fn ask(
    nodes: &Nodes,
    method: &str,
    params: &serde_json::Value,
) -> Result<Box<RawValue>, Failure> {
    nodes.ask(method, params).await.map_err(|error| Failure::refused(error).about("--rpc"))
}

fn read<T: serde::de::DeserializeOwned>(answer: &RawValue) -> Result<T, Failure> {
    serde_json::from_str(answer.get()).map_err(|_| no_balance())
}

/// A number as nodes of EVM chains write it.
fn number(answer: &RawValue) -> Result<Amount, Failure> {
    let text: String = read(answer)?;
    let digits = text.strip_prefix("0x").filter(|digits| (1..=64).contains(&digits.len()));
    let mut bytes = [0; 32];
    let padded = digits.map(|digits| format!("{digits:0>64}"));
    let padded = padded.ok_or_else(no_balance)?;
    hex::decode_to_slice(padded, &mut bytes).map_err(|_| no_balance())?;
    Ok(Amount::from_be_bytes(&bytes))
}

fn no_balance() -> Failure {
    Failure::refused("the node's answer cannot be read").about("--rpc")
}

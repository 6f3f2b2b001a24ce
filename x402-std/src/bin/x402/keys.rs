//! Keys for people: makes them, and shows their addresses and balances.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use x402_std::core::crypto::Signer;
use x402_std::core::crypto::ed25519;
use x402_std::core::crypto::secp256k1;
use x402_std::core::{Amount, Money, Network};
use x402_std::message::NetworkId;
use x402_std::rpc::{BalanceError, EvmRpc, RpcUrlError, SvmRpc};
use x402_std::{evm, svm};
use zeroize::Zeroizing;

use crate::key::{EVM_RPC, KeySource, SVM_RPC, evm_nodes, svm_node};
use crate::{Exit, Failure, Outcome, print, talk};

/// Makes keys, and shows their addresses and balances.
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

/// Makes a key, and writes it to a new file that only its owner can read. Prints {"file","address"}.
///
/// Give the file to --key-file or --svm-key-file. The holder of the file has the money: there is no copy.
#[derive(Args)]
struct New {
    /// Family of networks that the key is for
    #[arg(value_enum)]
    kind: Kind,
    /// New file to write; a file that exists is never replaced
    file: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Evm,
    Solana,
}

/// Prints the addresses of the given keys: {"evm","solana"}.
#[derive(Args)]
struct Address {
    #[command(flatten)]
    key: KeySource,
}

/// Asks a node for the balance of an address in a network's default stablecoin. Prints
/// {"network","address","token","units","balance"}.
#[derive(Args)]
struct Balance {
    /// The network, such as eip155:84532 or solana-devnet
    #[arg(long, value_name = "NETWORK")]
    network: NetworkId,
    /// URL of a node of the network; without it, X402_EVM_RPC or X402_SVM_RPC is used
    #[arg(long, value_name = "URL")]
    rpc: Option<String>,
    /// The address [default: the one of the key for the network]
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
            getrandom::fill(seed)
                .map_err(|_| Failure::refused("the system gives no random bytes: try again"))
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
                (text, evm::Address(Signer::public_key(&key)).to_string(), "--key-file")
            }
            Kind::Solana => {
                let public = Signer::public_key(&ed25519::LocalKey::from_seed(&seed));
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
                io::ErrorKind::AlreadyExists => "the file exists already: give another name".into(),
                _ => format!("cannot write the file: {error}"),
            };
            Failure::refused(text)
        })?;
        print(json!({ "file": self.file.display().to_string(), "address": address }))?;
        talk(format_args!(
            "to pay with it, give {option} FILE; keep a copy of the file, and keep it secret"
        ));
        Ok(Exit::Yes)
    }
}

/// Writes a new file, readable to its owner only.
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
        let network = self.network.as_view();
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
        let (symbol, decimals, units) = match (network.eip155(), network.solana()) {
            (Some(chain), _) => {
                let nodes = match &self.rpc {
                    Some(url) => Some(EvmRpc::new([url]).map_err(|it| about_rpc(&it))?),
                    None => evm_nodes()?,
                };
                let nodes = nodes.ok_or_else(|| nobody(EVM_RPC))?;
                on_evm(&nodes, chain, &address).await?
            }
            (_, Some(reference)) => {
                let node = match &self.rpc {
                    Some(url) => Some(SvmRpc::new(url).map_err(|it| about_rpc(&it))?),
                    None => svm_node()?,
                };
                let node = node.ok_or_else(|| nobody(SVM_RPC))?;
                on_solana(&node, reference, &address).await?
            }
            _ => {
                return Err(Failure::unusable(
                    "--network: not an EVM or Solana network, such as eip155:84532",
                ));
            }
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

async fn on_evm(nodes: &EvmRpc, chain: u64, address: &str) -> Result<Held, Failure> {
    let owner = evm::Address::parse(address).ok_or_else(|| {
        Failure::unusable("--address: not an EVM address: write 0x and 40 hexadecimal digits")
    })?;
    let token = evm::assets::default_of(chain).ok_or_else(no_stablecoin)?;
    let units = nodes.balance_of(chain, token.address, owner).await.map_err(unknown)?;
    Ok((token.symbol, token.decimals, units))
}

async fn on_solana(node: &SvmRpc, reference: &str, address: &str) -> Result<Held, Failure> {
    let owner = svm::Address::parse(address).ok_or_else(|| {
        Failure::unusable("--address: not a Solana address: write 32 bytes in base58")
    })?;
    let token = svm::assets::default_of(reference).ok_or_else(no_stablecoin)?;
    let units = node.balance_of(reference, token, owner).await.map_err(unknown)?;
    Ok((token.symbol, token.mint.decimals, units))
}

fn nobody(variable: &str) -> Failure {
    Failure::unusable(format_args!("no RPC node to ask: give --rpc or set {variable}"))
}

fn no_stablecoin() -> Failure {
    Failure::unusable("--network: no stablecoin of this network is known: choose another one")
}

fn about_rpc(error: &RpcUrlError) -> Failure {
    Failure::unusable(error).about("--rpc")
}

fn unknown(error: BalanceError) -> Failure {
    Failure::refused(error).about("--rpc")
}

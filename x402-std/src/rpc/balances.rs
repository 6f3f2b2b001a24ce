//! Balances of accounts, read from nodes.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use x402_core::crypto::ed25519::Dalek;
use x402_core::{Amount, Network};
use x402_svm::associated_token_address;

use super::{Nodes, RpcError, RpcUrlError, SvmRpc};
use crate::buyer::wallet::Balances;
use crate::message::{NetworkId, PaymentRequirements};

/// Longest wait for a node that is asked for a balance.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Why a balance is not known.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum BalanceError {
    /// The node reports this network: its URL is wrong.
    OtherNetwork(String),
    /// The address, the token or the network cannot be asked for.
    Unknown,
    /// There is no answer.
    Rpc(RpcError),
}

impl fmt::Display for BalanceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherNetwork(network) => {
                write!(f, "RPC node reports {network}: check its URL")
            }
            Self::Unknown => {
                f.write_str("the address or the token is not one of the network: check both")
            }
            Self::Rpc(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BalanceError {}

impl From<RpcError> for BalanceError {
    fn from(error: RpcError) -> Self {
        Self::Rpc(error)
    }
}

/// An account's balance in a network's default stablecoin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balance {
    /// The network.
    pub network: NetworkId,
    /// The account.
    pub owner: String,
    /// The token's symbol.
    pub symbol: &'static str,
    /// The token's decimals.
    pub decimals: u8,
    /// The balance, in units of the token.
    pub units: Amount,
}

/// Nodes of EVM chains, each used for the chain that it reports.
///
/// URLs are secrets, since many have a key in them. Requests go over TLS or to this machine only.
#[derive(Clone)]
pub struct EvmRpc(Arc<[EvmNode]>);

struct EvmNode {
    nodes: Nodes,
    chain_id: OnceLock<u64>,
}

impl fmt::Debug for EvmRpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EvmRpc")
    }
}

impl EvmRpc {
    /// The nodes at these URLs, of any chains.
    ///
    /// # Errors
    /// [`RpcUrlError`].
    pub fn new<U: AsRef<str>>(urls: impl IntoIterator<Item = U>) -> Result<Self, RpcUrlError> {
        let nodes = urls.into_iter().map(|url| {
            let nodes = Nodes::new([url])?.with_timeout(TIMEOUT).with_attempts(1);
            Ok(EvmNode { nodes, chain_id: OnceLock::new() })
        });
        let nodes: Arc<[EvmNode]> = nodes.collect::<Result<_, _>>()?;
        if nodes.is_empty() { Err(RpcUrlError) } else { Ok(Self(nodes)) }
    }

    /// The balance of an account, in units of a token.
    ///
    /// # Errors
    /// [`BalanceError`].
    pub async fn balance_of(
        &self,
        chain_id: u64,
        token: x402_evm::Address,
        owner: x402_evm::Address,
    ) -> Result<Amount, BalanceError> {
        let mut last = BalanceError::Unknown;
        for node in self.0.iter() {
            last = match node.chain_id().await {
                Ok(id) if id == chain_id => match node.balance_of(token, owner).await {
                    Ok(units) => return Ok(units),
                    Err(error) => error.into(),
                },
                Ok(id) => BalanceError::OtherNetwork(format!("chain {id}")),
                Err(error) => error.into(),
            };
        }
        Err(last)
    }

    /// The balances of an account in the default stablecoin of each chain with a node. Silent nodes are left
    /// out.
    pub async fn balances(&self, owner: x402_evm::Address) -> Vec<Balance> {
        let mut all: Vec<Balance> = Vec::new();
        for node in self.0.iter() {
            let Ok(id) = node.chain_id().await else { continue };
            let network = format!("eip155:{id}").parse::<NetworkId>();
            let (Some(token), Ok(network)) = (x402_evm::assets::default_of(id), network) else {
                continue;
            };
            if all.iter().any(|known| known.network == network) {
                continue;
            }
            let Ok(units) = node.balance_of(token.address, owner).await else { continue };
            let (symbol, decimals) = (token.symbol, token.decimals);
            all.push(Balance { network, owner: owner.to_string(), symbol, decimals, units });
        }
        all
    }
}

impl EvmNode {
    async fn chain_id(&self) -> Result<u64, RpcError> {
        if let Some(id) = self.chain_id.get() {
            return Ok(*id);
        }
        let no_params: [(); 0] = [];
        let id = quantity(&self.nodes.ask("eth_chainId", &no_params).await?)?;
        let id = id.as_u64().ok_or(RpcError::BadAnswer)?;
        Ok(*self.chain_id.get_or_init(|| id))
    }

    async fn balance_of(
        &self,
        token: x402_evm::Address,
        owner: x402_evm::Address,
    ) -> Result<Amount, RpcError> {
        // balanceOf(address)
        let data = format!("0x70a08231{:0>64}", hex::encode(owner.0));
        let call = json!([{ "to": token.to_string(), "data": data }, "latest"]);
        quantity(&self.nodes.ask("eth_call", &call).await?)
    }
}

/// Reads a number as nodes of EVM chains write it.
fn quantity(answer: &RawValue) -> Result<Amount, RpcError> {
    let text: String = read(answer)?;
    let digits = text.strip_prefix("0x").filter(|digits| (1..=64).contains(&digits.len()));
    let padded = digits.map(|digits| format!("{digits:0>64}")).ok_or(RpcError::BadAnswer)?;
    let mut bytes = [0; 32];
    hex::decode_to_slice(padded, &mut bytes).map_err(|_| RpcError::BadAnswer)?;
    Ok(Amount::from_be_bytes(&bytes))
}

fn read<T: DeserializeOwned>(answer: &RawValue) -> Result<T, RpcError> {
    serde_json::from_str(answer.get()).map_err(|_| RpcError::BadAnswer)
}

impl Balances for EvmRpc {
    async fn balance(&self, offer: &PaymentRequirements, owner: &str) -> Option<Amount> {
        let address = x402_evm::Address::parse;
        let (token, owner) = address(&offer.asset).zip(address(owner))?;
        self.balance_of(offer.network.as_view().eip155()?, token, owner).await.ok()
    }
}

impl SvmRpc {
    /// The cluster that the node reports: the first 32 characters of its genesis hash, as in CAIP-2 ids.
    ///
    /// # Errors
    /// [`RpcError`].
    pub async fn cluster(&self) -> Result<String, RpcError> {
        if let Some(known) = self.cluster.get() {
            return Ok(known.clone());
        }
        let no_params: [(); 0] = [];
        let hash: String = read(&self.nodes.ask("getGenesisHash", &no_params).await?)?;
        let reference = hash.get(..32).ok_or(RpcError::BadAnswer)?;
        Ok(self.cluster.get_or_init(|| reference.into()).clone())
    }

    /// The balance of an account, in units of a token, on the cluster with this CAIP-2 reference.
    ///
    /// # Errors
    /// [`BalanceError`].
    pub async fn balance_of(
        &self,
        reference: &str,
        token: &x402_svm::Asset<'_>,
        owner: x402_svm::Address,
    ) -> Result<Amount, BalanceError> {
        let cluster = self.cluster().await?;
        if cluster != reference {
            return Err(BalanceError::OtherNetwork(format!("cluster solana:{cluster}")));
        }
        let program = token.mint.program;
        let account = associated_token_address(&Dalek, owner, program, token.address);
        let account = account.ok_or(BalanceError::Unknown)?;
        let options = json!([account.to_string(), { "commitment": "confirmed" }]);
        match self.nodes.ask("getTokenAccountBalance", &options).await {
            Ok(answer) => {
                let answer: Value = read(&answer)?;
                let units = answer.pointer("/value/amount").and_then(Value::as_str);
                let units = units.and_then(|units| Amount::parse(units).ok());
                units.ok_or(BalanceError::Rpc(RpcError::BadAnswer))
            }
            // The token account does not exist yet.
            Err(RpcError::Refused { code: -32602, .. }) => Ok(Amount::ZERO),
            Err(error) => Err(error.into()),
        }
    }

    /// An account's balance in the cluster's default stablecoin, if the node answers.
    pub async fn default_balance(&self, owner: x402_svm::Address) -> Option<Balance> {
        let cluster = self.cluster().await.ok()?;
        let token = x402_svm::assets::default_of(&cluster)?;
        let units = self.balance_of(&cluster, token, owner).await.ok()?;
        Some(Balance {
            network: format!("solana:{cluster}").parse().ok()?,
            owner: owner.to_string(),
            symbol: token.symbol,
            decimals: token.mint.decimals,
            units,
        })
    }
}

impl Balances for SvmRpc {
    async fn balance(&self, offer: &PaymentRequirements, owner: &str) -> Option<Amount> {
        let address = x402_svm::Address::parse;
        let (mint, owner) = address(&offer.asset).zip(address(owner))?;
        let network: Network<'_> = offer.network.as_view();
        let reference = network.solana()?;
        let token = x402_svm::assets::find(reference, mint)?;
        self.balance_of(reference, token, owner).await.ok()
    }
}

//! Keys that pay.

use std::env::{self, VarError};
use std::path::{Path, PathBuf};

use clap::Args;
use x402_std::buyer::wallet::{EvmWallet, KeyError, SvmWallet, evm_key, svm_key};
use x402_std::core::Network;
use x402_std::core::crypto::{ed25519, secp256k1};
use x402_std::exposed;
use x402_std::rpc::{EvmRpc, SvmRpc};
use zeroize::{Zeroize, Zeroizing};

use crate::{Failure, input};

/// Environment variables of the keys, used where no file is given.
const EVM_KEY: &str = "X402_EVM_KEY";
const SVM_KEY: &str = "X402_SVM_KEY";

/// Environment variable of the node that returns recent blockhashes and balances on Solana.
pub(crate) const SVM_RPC: &str = "X402_SVM_RPC";

/// Environment variable of the nodes that return balances on EVM networks.
pub(crate) const EVM_RPC: &str = "X402_EVM_RPC";

/// Most bytes that are read of a key file: white space may surround the key, and be in it.
const FILE_BYTES: usize = 1024;

const NOT_EVM: &str =
    "not a private key of 64 hexadecimal digits: give a Solana key with --svm-key-file";
const NOT_SVM: &str =
    "not a Solana key: base58 of 64 or 32 bytes, an array of 64 numbers, or a file with one";
const NO_EVM: &str = "neither 64 hexadecimal digits nor the path of a file that can be read";
const NO_SVM: &str = "neither base58 of 64 or 32 bytes, nor an array of 64 numbers, nor the path of a file \
                      that can be read";

#[derive(Args, Default)]
pub(crate) struct KeySource {
    /// File with the private key for EVM networks in hexadecimal. Without it, the environment
    /// variable X402_EVM_KEY is the key or the path of such a file. `x402 key new` makes one.
    /// X402_EVM_RPC has URLs of nodes of any chains, separated by white space or commas: they are
    /// asked for the key's balance before anything is signed
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// File with the key for Solana, in base58 or as the Solana CLI writes it. Without it,
    /// X402_SVM_KEY is the key or the path of such a file. X402_SVM_RPC is the URL of a node: it is
    /// asked for the key's balance, and for a blockhash where an offer gives none
    #[arg(long, value_name = "FILE")]
    svm_key_file: Option<PathBuf>,
}

/// The wallets for which there are keys.
pub(crate) type Wallet = (
    Option<SvmWallet<ed25519::LocalKey, Option<SvmRpc>>>,
    Option<EvmWallet<secp256k1::LocalKey, Option<EvmRpc>>>,
);

/// Whether there is a key for payments on this network.
pub(crate) fn has_key(wallet: &Wallet, network: Network<'_>) -> bool {
    let (svm, evm) = wallet;
    if network.solana().is_some() { svm.is_some() } else { evm.is_some() }
}

impl KeySource {
    /// A wallet with at least one key.
    pub(crate) fn read(&self) -> Result<Wallet, Failure> {
        self.read_any()?.ok_or_else(|| {
            Failure::unusable(format_args!(
                "no key: give --key-file or --svm-key-file, or set {EVM_KEY} or {SVM_KEY}"
            ))
        })
    }

    /// A wallet, if there is a key at all.
    pub(crate) fn read_any(&self) -> Result<Option<Wallet>, Failure> {
        let svm = match self.svm_key()? {
            Some(key) => Some(SvmWallet::new(key).with_blockhashes(svm_node()?)),
            None => None,
        };
        let evm = match self.evm_key()? {
            Some(key) => Some(EvmWallet::new(key).with_balances(evm_nodes()?)),
            None => None,
        };
        Ok((svm.is_some() || evm.is_some()).then_some((svm, evm)))
    }

    fn evm_key(&self) -> Result<Option<secp256k1::LocalKey>, Failure> {
        let text = match &self.key_file {
            Some(path) => Some(contents(path, NOT_EVM).map_err(|it| it.about("--key-file"))?),
            None => variable(EVM_KEY)?
                .map(|text| evm_text(text).map_err(|it| it.about(EVM_KEY)))
                .transpose()?,
        };
        let Some(text) = text else { return Ok(None) };
        let from = if self.key_file.is_some() { "--key-file" } else { EVM_KEY };
        evm(&text).ok_or_else(|| Failure::unusable(NOT_EVM).about(from)).map(Some)
    }

    fn svm_key(&self) -> Result<Option<ed25519::LocalKey>, Failure> {
        let text = match &self.svm_key_file {
            Some(path) => contents(path, NOT_SVM).map_err(|it| it.about("--svm-key-file"))?,
            None => match variable(SVM_KEY)? {
                None => return Ok(None),
                Some(text) => svm_text(text).map_err(|it| it.about(SVM_KEY))?,
            },
        };
        svm(&text).map(Some)
    }
}

/// Returns the key in a text: the text itself, or the contents of the file whose path it is.
fn given(
    text: Zeroizing<String>,
    is_key: bool,
    [wrong, none]: [&str; 2],
) -> Result<Zeroizing<String>, Failure> {
    if is_key {
        return Ok(text);
    }
    let path = Path::new(text.trim());
    contents(path, wrong).map_err(|_| match exposed::check(path, true) {
        Err(exposed) => Failure::unusable(exposed),
        Ok(()) => Failure::unusable(none),
    })
}

/// [`given`], of a key for EVM networks.
pub(crate) fn evm_text(text: Zeroizing<String>) -> Result<Zeroizing<String>, Failure> {
    let is_key = evm(&text).is_some();
    given(text, is_key, [NOT_EVM, NO_EVM])
}

/// [`given`], of a key for Solana.
pub(crate) fn svm_text(text: Zeroizing<String>) -> Result<Zeroizing<String>, Failure> {
    let is_key = svm(&text).is_ok();
    given(text, is_key, [NOT_SVM, NO_SVM])
}

/// A key for EVM networks.
pub(crate) fn evm(text: &str) -> Option<secp256k1::LocalKey> {
    evm_key(text).ok()
}

/// A key for Solana.
pub(crate) fn svm(text: &str) -> Result<ed25519::LocalKey, Failure> {
    svm_key(text).map_err(|error| match error {
        KeyError::OtherHalf => Failure::unusable(error),
        _ => Failure::unusable(NOT_SVM),
    })
}

fn contents(path: &Path, otherwise: &str) -> Result<Zeroizing<String>, Failure> {
    exposed::check(path, true).map_err(Failure::unusable)?;
    let mut bytes = input::secret_file(path, FILE_BYTES)?;
    String::from_utf8(std::mem::take(&mut *bytes)).map(Zeroizing::new).map_err(|error| {
        error.into_bytes().zeroize();
        Failure::unusable(otherwise)
    })
}

/// Reads a variable. The environment keeps its own copy of it.
fn variable(name: &str) -> Result<Option<Zeroizing<String>>, Failure> {
    match env::var(name) {
        // Empty is unset.
        Ok(text) => Ok(Some(Zeroizing::new(text)).filter(|text| !text.trim().is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        // It is set: nothing else may be used in its place.
        Err(VarError::NotUnicode(_)) => {
            Err(Failure::unusable(format_args!("{name}: not UTF-8: set it again")))
        }
    }
}

/// The nodes of EVM chains, if some are set.
pub(crate) fn evm_nodes() -> Result<Option<EvmRpc>, Failure> {
    let Some(urls) = variable(EVM_RPC)? else { return Ok(None) };
    let urls = urls.split(|next: char| next.is_whitespace() || next == ',');
    let nodes = EvmRpc::new(urls.filter(|url| !url.is_empty()));
    nodes.map(Some).map_err(|error| Failure::unusable(error).about(EVM_RPC))
}

/// The node of a Solana cluster, if one is set.
pub(crate) fn svm_node() -> Result<Option<SvmRpc>, Failure> {
    let url = variable(SVM_RPC)?;
    let node = url.as_deref().map(String::as_str).map(SvmRpc::new).transpose();
    node.map_err(|error| Failure::unusable(format_args!("{SVM_RPC}: {error}")))
}

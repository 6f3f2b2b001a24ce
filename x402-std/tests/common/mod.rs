//! A buyer with money on a simulated ledger, and a facilitator that can be made to misbehave.
#![allow(dead_code, unreachable_pub)] // each test uses a part

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use x402_core::crypto::ed25519;
use x402_core::crypto::secp256k1::LocalKey;
use x402_core::{Amount, Version};
use x402_evm::{Address, assets};
use x402_std::buyer::Buyer;
use x402_std::buyer::wallet::{EvmWallet, SvmWallet};
use x402_std::facilitator::ledger::SimulatedLedger;
use x402_std::facilitator::{Facilitator, FacilitatorError, LocalFacilitator};
use x402_std::message::{
    PaymentRequired, SettleResponse, SupportedResponse, VerifyRequest, VerifyResponse,
};
use x402_std::scheme::Exact;
use x402_std::svm;
use x402_std::transport::PaymentText;

pub const NETWORK: &str = "eip155:84532";
pub const CHAIN_ID: u64 = 84532;
pub const SELLER: &str = "0x90F79bf6EB2c4f870365E785982E1f101E93b906";

pub fn usdc() -> Address {
    assets::default_of(CHAIN_ID).unwrap().address
}

pub fn wallet() -> EvmWallet<LocalKey> {
    EvmWallet::new(LocalKey::from_bytes(&[7; 32]).unwrap())
}

pub fn buyer() -> Buyer<EvmWallet<LocalKey>> {
    Buyer::new(wallet())
}

pub const SVM_NETWORK: &str = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1";
pub const SVM_SELLER: &str = "GyGKxMyg1p9SsHfm15MkNUu1u9TN2JtTspcdmrtGUdse";

pub fn svm_usdc() -> &'static svm::Asset<'static> {
    svm::assets::default_of("EtWTRABZaYq6iMfeYKouRu166VU2xqa1").unwrap()
}

pub fn svm_wallet() -> SvmWallet<ed25519::LocalKey> {
    SvmWallet::new(ed25519::LocalKey::from_seed(&[2; 32]))
}

/// A dollar for the buyer on each network.
pub fn ledger() -> SimulatedLedger {
    let ledger = SimulatedLedger::new();
    ledger.fund(CHAIN_ID, usdc(), wallet().address(), Amount::from(1_000_000)).unwrap();
    ledger.fund_svm(svm_usdc(), svm_wallet().address(), 1_000_000).unwrap();
    ledger
}

/// What the scripted facilitator does instead of answering.
#[derive(Clone)]
pub enum Act {
    /// The call never arrives.
    Lose,
    /// The call arrives and is done, but its answer is lost.
    LoseAnswer,
    /// This answer to `/settle`, without asking the ledger.
    Settle(Box<SettleResponse>),
    /// This answer to `/verify`.
    Verify(bool),
    /// Something else happens first; then the ledger is asked.
    After(Arc<dyn Fn() + Send + Sync>),
}

impl std::fmt::Debug for Act {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Lose => "Lose",
            Self::LoseAnswer => "LoseAnswer",
            Self::Settle(_) => "Settle",
            Self::Verify(_) => "Verify",
            Self::After(_) => "After",
        })
    }
}

/// A local facilitator whose next calls can be scripted.
#[derive(Clone)]
pub struct Scripted {
    pub inner: Arc<LocalFacilitator<SimulatedLedger>>,
    pub verify: Arc<Mutex<VecDeque<Act>>>,
    pub settle: Arc<Mutex<VecDeque<Act>>>,
    pub calls: Arc<Mutex<Vec<&'static str>>>,
    /// How often it was asked what it supports, and whether it answers.
    pub supported: Arc<Mutex<(usize, bool)>>,
}

impl Scripted {
    pub fn new() -> Self {
        let inner = Arc::new(LocalFacilitator::new(ledger()));
        let (verify, settle, calls) = Default::default();
        Self { inner, verify, settle, calls, supported: Arc::new(Mutex::new((0, true))) }
    }

    pub fn paid(&self) -> u64 {
        let seller = Address::parse(SELLER).unwrap();
        self.inner.ledger().balance(CHAIN_ID, usdc(), seller).as_u64().unwrap()
    }

    pub fn paid_svm(&self) -> u64 {
        let seller = svm::Address::parse(SVM_SELLER).unwrap();
        self.inner.ledger().balance_svm(svm_usdc(), seller)
    }

    pub fn next_settle(&self, act: Act) {
        self.settle.lock().unwrap().push_back(act);
    }

    pub fn next_verify(&self, act: Act) {
        self.verify.lock().unwrap().push_back(act);
    }

    pub fn calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }
}

impl Facilitator for Scripted {
    type Scheme = Exact;

    fn scheme(&self) -> &Exact {
        self.inner.scheme()
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<VerifyResponse, FacilitatorError> {
        self.calls.lock().unwrap().push("verify");
        let act = self.verify.lock().unwrap().pop_front();
        match act {
            None => self.inner.verify(request).await,
            Some(Act::Verify(is_valid)) => {
                Ok(VerifyResponse { is_valid, ..VerifyResponse::default() })
            }
            Some(_) => Err(FacilitatorError::Unreachable),
        }
    }

    async fn settle(&self, request: &VerifyRequest) -> Result<SettleResponse, FacilitatorError> {
        self.calls.lock().unwrap().push("settle");
        let act = self.settle.lock().unwrap().pop_front();
        match act {
            None => self.inner.settle(request).await,
            Some(Act::Lose | Act::Verify(_)) => Err(FacilitatorError::TimedOut),
            Some(Act::LoseAnswer) => {
                self.inner.settle(request).await?;
                Err(FacilitatorError::TimedOut)
            }
            Some(Act::Settle(answer)) => Ok(*answer),
            Some(Act::After(happen)) => {
                happen();
                self.inner.settle(request).await
            }
        }
    }

    async fn supported(&self) -> Result<SupportedResponse, FacilitatorError> {
        let answers = {
            let mut supported = self.supported.lock().unwrap();
            supported.0 += 1;
            supported.1
        };
        if answers { self.inner.supported().await } else { Err(FacilitatorError::Unreachable) }
    }
}

/// Signs the first offer of a challenge.
pub async fn sign(challenge: &PaymentRequired) -> PaymentText {
    buyer().sign(challenge, 0).await.unwrap()
}

/// The header a payment travels in.
pub fn header(payment: &PaymentText) -> (&'static str, String) {
    let value = x402_std::message::encode_header(payment.json.as_bytes());
    (Version::payment_header(payment.version), value)
}

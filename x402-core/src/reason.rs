//! Reason codes: why a payment was refused, in the words the official SDKs use.
//!
//! The strings are the interop surface: facilitators, servers and buyers compare them. Source:
//! specification section 9, `@x402/core`, `@x402/evm` and `@x402/svm` 2.27, PyPI `x402` 2.25.

use core::fmt;

/// A buyer's way out of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Retry {
    /// Nothing: the payment has been made already, or one like it will be refused again.
    Never,
    /// This payment is stale; a new one, from a new challenge, may pass. The refusal is the other
    /// side's word: until this payment has expired, it may be settled all the same. Sign anew once
    /// only: an empty account on Solana is refused with the same code.
    SignAnew,
    /// Present the very same payment again, later: it may have been made already.
    SameAgain,
}

macro_rules! reasons {
    ($($variant:ident = $code:literal, $status:literal, $retry:ident;)*) => {
        /// Why a payment was refused.
        ///
        /// Official SDKs send no other code for a scheme this library knows; a message keeps such a code
        /// as text. Schemes from elsewhere have [`Reason::Own`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Reason {
            $(#[doc = concat!("`", $code, "`")] $variant,)*
            /// A reason of a scheme from elsewhere: [`Scheme::own_reason`](crate::Scheme::own_reason)
            /// has its code. The buyer has no remedy.
            Own(u8),
        }

        impl Reason {
            /// Every reason but those of schemes from elsewhere.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant,)*];

            /// Returns the code; for [`Reason::Own`], whose code the scheme knows, `own_reason`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $code,)*
                    Self::Own(_) => "own_reason",
                }
            }

            /// Returns the HTTP status to refuse with. It is 400 for an unreadable payment, 402 for
            /// a refused one, 412 for a missing allowance, and 5xx for a fault other than the
            /// buyer's.
            pub const fn status(self) -> u16 {
                match self {
                    $(Self::$variant => $status,)*
                    Self::Own(_) => 402,
                }
            }

            /// Returns a buyer's way out of it.
            pub const fn retry(self) -> Retry {
                match self {
                    $(Self::$variant => Retry::$retry,)*
                    Self::Own(_) => Retry::Never,
                }
            }
        }
    };
}

reasons! {
    // Server
    ExtensionEchoMismatch = "extension_echo_mismatch", 402, Never;
    // Specification v1 and v2, section 9
    InsufficientFunds = "insufficient_funds", 402, Never;
    InvalidExactEvmPayloadAuthorizationValidAfter = "invalid_exact_evm_payload_authorization_valid_after", 402, SameAgain;
    InvalidExactEvmPayloadAuthorizationValidBefore = "invalid_exact_evm_payload_authorization_valid_before", 402, SignAnew;
    InvalidExactEvmPayloadAuthorizationValue = "invalid_exact_evm_payload_authorization_value", 402, Never;
    InvalidExactEvmPayloadAuthorizationValueMismatch = "invalid_exact_evm_payload_authorization_value_mismatch", 402, Never;
    InvalidExactEvmPayloadRecipientMismatch = "invalid_exact_evm_payload_recipient_mismatch", 402, Never;
    InvalidExactEvmPayloadSignature = "invalid_exact_evm_payload_signature", 402, Never;
    InvalidNetwork = "invalid_network", 400, Never;
    InvalidPayload = "invalid_payload", 400, Never;
    InvalidPaymentRequirements = "invalid_payment_requirements", 402, SignAnew;
    InvalidScheme = "invalid_scheme", 400, Never;
    InvalidTransactionState = "invalid_transaction_state", 402, SignAnew;
    InvalidX402Version = "invalid_x402_version", 400, Never;
    UnexpectedSettleError = "unexpected_settle_error", 502, SameAgain;
    UnexpectedVerifyError = "unexpected_verify_error", 502, SameAgain;
    UnsupportedScheme = "unsupported_scheme", 402, Never;
    // `exact` on EVM
    AssetNotDeployedContract = "asset_not_deployed_contract", 402, Never;
    Eip6492FactoryNotAllowed = "eip6492_factory_not_allowed", 402, Never;
    InvalidExactEvmAuthorizationValue = "invalid_exact_evm_authorization_value", 402, Never;
    InvalidExactEvmEip3009NotSupported = "invalid_exact_evm_eip3009_not_supported", 402, Never;
    InvalidExactEvmFailedToParseSignature = "invalid_exact_evm_failed_to_parse_signature", 402, Never;
    InvalidExactEvmInsufficientBalance = "invalid_exact_evm_insufficient_balance", 402, Never;
    InvalidExactEvmMissingEip712Domain = "invalid_exact_evm_missing_eip712_domain", 402, Never;
    InvalidExactEvmNetworkMismatch = "invalid_exact_evm_network_mismatch", 402, Never;
    InvalidExactEvmNonceAlreadyUsed = "invalid_exact_evm_nonce_already_used", 402, Never;
    InvalidExactEvmRecipientMismatch = "invalid_exact_evm_recipient_mismatch", 402, Never;
    InvalidExactEvmScheme = "invalid_exact_evm_scheme", 402, Never;
    InvalidExactEvmSignature = "invalid_exact_evm_signature", 402, Never;
    InvalidExactEvmTokenNameMismatch = "invalid_exact_evm_token_name_mismatch", 402, Never;
    InvalidExactEvmTokenVersionMismatch = "invalid_exact_evm_token_version_mismatch", 402, Never;
    InvalidExactEvmTransactionFailed = "invalid_exact_evm_transaction_failed", 402, SignAnew;
    InvalidExactEvmTransactionSimulationFailed = "invalid_exact_evm_transaction_simulation_failed", 402, SignAnew;
    InvalidExactEvmTransferEventMismatch = "invalid_exact_evm_transfer_event_mismatch", 402, Never;
    SettlementPending = "settlement_pending", 402, SameAgain;
    SmartWalletDeploymentFailed = "smart_wallet_deployment_failed", 402, SignAnew;
    UnknownSettlementError = "unknown_settlement_error", 502, SameAgain;
    UnsupportedPayloadType = "unsupported_payload_type", 400, Never;
    // Permit2 and gas sponsoring
    Eip2612AssetMismatch = "eip2612_asset_mismatch", 402, Never;
    Eip2612DeadlineExpired = "eip2612_deadline_expired", 402, SignAnew;
    Eip2612FromMismatch = "eip2612_from_mismatch", 402, Never;
    Eip2612SpenderNotPermit2 = "eip2612_spender_not_permit2", 402, Never;
    Erc20ApprovalAssetMismatch = "erc20_approval_asset_mismatch", 402, Never;
    Erc20ApprovalBroadcastFailed = "erc20_approval_broadcast_failed", 402, SignAnew;
    Erc20ApprovalFromMismatch = "erc20_approval_from_mismatch", 402, Never;
    Erc20ApprovalSpenderNotPermit2 = "erc20_approval_spender_not_permit2", 402, Never;
    Erc20ApprovalTxFailed = "erc20_approval_tx_failed", 402, SignAnew;
    Erc20ApprovalTxInvalidCalldata = "erc20_approval_tx_invalid_calldata", 402, Never;
    Erc20ApprovalTxInvalidSignature = "erc20_approval_tx_invalid_signature", 402, Never;
    Erc20ApprovalTxParseFailed = "erc20_approval_tx_parse_failed", 402, Never;
    Erc20ApprovalTxSignerMismatch = "erc20_approval_tx_signer_mismatch", 402, Never;
    Erc20ApprovalTxWrongSelector = "erc20_approval_tx_wrong_selector", 402, Never;
    Erc20ApprovalTxWrongSpender = "erc20_approval_tx_wrong_spender", 402, Never;
    Erc20ApprovalTxWrongTarget = "erc20_approval_tx_wrong_target", 402, Never;
    InvalidEip2612ExtensionFormat = "invalid_eip2612_extension_format", 402, Never;
    InvalidErc20ApprovalExtensionFormat = "invalid_erc20_approval_extension_format", 402, Never;
    InvalidPermit2RecipientMismatch = "invalid_permit2_recipient_mismatch", 402, Never;
    InvalidPermit2Signature = "invalid_permit2_signature", 402, Never;
    InvalidPermit2Spender = "invalid_permit2_spender", 402, Never;
    Permit22612AmountMismatch = "permit2_2612_amount_mismatch", 402, Never;
    Permit2AllowanceRequired = "permit2_allowance_required", 412, Never;
    Permit2AmountMismatch = "permit2_amount_mismatch", 402, Never;
    Permit2DeadlineExpired = "permit2_deadline_expired", 402, SignAnew;
    Permit2InsufficientBalance = "permit2_insufficient_balance", 402, Never;
    Permit2InvalidAmount = "permit2_invalid_amount", 402, Never;
    Permit2InvalidDestination = "permit2_invalid_destination", 402, Never;
    Permit2InvalidNonce = "permit2_invalid_nonce", 402, SignAnew;
    Permit2InvalidOwner = "permit2_invalid_owner", 402, Never;
    Permit2NotYetValid = "permit2_not_yet_valid", 402, SameAgain;
    Permit2PaymentTooEarly = "permit2_payment_too_early", 402, SameAgain;
    Permit2ProxyNotDeployed = "permit2_proxy_not_deployed", 402, Never;
    Permit2SimulationFailed = "permit2_simulation_failed", 402, SignAnew;
    Permit2TokenMismatch = "permit2_token_mismatch", 402, Never;
    // `upto` on EVM
    InvalidUptoEvmNetworkMismatch = "invalid_upto_evm_network_mismatch", 402, Never;
    InvalidUptoEvmPayloadSettlementExceedsAmount = "invalid_upto_evm_payload_settlement_exceeds_amount", 402, Never;
    InvalidUptoEvmScheme = "invalid_upto_evm_scheme", 402, Never;
    InvalidUptoEvmTransactionFailed = "invalid_upto_evm_transaction_failed", 402, SignAnew;
    UptoAmountExceedsPermitted = "upto_amount_exceeds_permitted", 402, Never;
    UptoFacilitatorMismatch = "upto_facilitator_mismatch", 402, Never;
    UptoUnauthorizedFacilitator = "upto_unauthorized_facilitator", 402, Never;
    // `exact` on Solana
    DuplicateSettlement = "duplicate_settlement", 402, Never;
    FeePayerNotManagedByFacilitator = "fee_payer_not_managed_by_facilitator", 402, Never;
    InvalidExactSvmFeePayerMismatch = "invalid_exact_svm_fee_payer_mismatch", 402, Never;
    InvalidExactSvmFeePayerNotManagedByFacilitator = "invalid_exact_svm_fee_payer_not_managed_by_facilitator", 402, Never;
    InvalidExactSvmNetworkMismatch = "invalid_exact_svm_network_mismatch", 402, Never;
    InvalidExactSvmPayloadAmountMismatch = "invalid_exact_svm_payload_amount_mismatch", 402, Never;
    InvalidExactSvmPayloadExcessiveSigners = "invalid_exact_svm_payload_excessive_signers", 402, Never;
    InvalidExactSvmPayloadMemoCount = "invalid_exact_svm_payload_memo_count", 402, Never;
    InvalidExactSvmPayloadMemoMismatch = "invalid_exact_svm_payload_memo_mismatch", 402, Never;
    InvalidExactSvmPayloadMintMismatch = "invalid_exact_svm_payload_mint_mismatch", 402, Never;
    InvalidExactSvmPayloadMissingFeePayer = "invalid_exact_svm_payload_missing_fee_payer", 402, Never;
    InvalidExactSvmPayloadNoTransferInstruction = "invalid_exact_svm_payload_no_transfer_instruction", 402, Never;
    InvalidExactSvmPayloadRecipientMismatch = "invalid_exact_svm_payload_recipient_mismatch", 402, Never;
    InvalidExactSvmPayloadSignatureInvalid = "invalid_exact_svm_payload_signature_invalid", 402, Never;
    InvalidExactSvmPayloadTransaction = "invalid_exact_svm_payload_transaction", 402, Never;
    InvalidExactSvmPayloadTransactionCouldNotBeDecoded = "invalid_exact_svm_payload_transaction_could_not_be_decoded", 402, Never;
    InvalidExactSvmPayloadTransactionFeePayerTransferringFunds = "invalid_exact_svm_payload_transaction_fee_payer_transferring_funds", 402, Never;
    InvalidExactSvmPayloadTransactionInstructionsComputeLimitInstruction = "invalid_exact_svm_payload_transaction_instructions_compute_limit_instruction", 402, Never;
    InvalidExactSvmPayloadTransactionInstructionsComputeLimitInstructionTooHigh = "invalid_exact_svm_payload_transaction_instructions_compute_limit_instruction_too_high", 402, Never;
    InvalidExactSvmPayloadTransactionInstructionsComputePriceInstruction = "invalid_exact_svm_payload_transaction_instructions_compute_price_instruction", 402, Never;
    InvalidExactSvmPayloadTransactionInstructionsComputePriceInstructionTooHigh = "invalid_exact_svm_payload_transaction_instructions_compute_price_instruction_too_high", 402, Never;
    InvalidExactSvmPayloadTransactionInstructionsLength = "invalid_exact_svm_payload_transaction_instructions_length", 402, Never;
    InvalidExactSvmPayloadUnknownFifthInstruction = "invalid_exact_svm_payload_unknown_fifth_instruction", 402, Never;
    InvalidExactSvmPayloadUnknownFourthInstruction = "invalid_exact_svm_payload_unknown_fourth_instruction", 402, Never;
    InvalidExactSvmPayloadUnknownOptionalInstruction = "invalid_exact_svm_payload_unknown_optional_instruction", 402, Never;
    InvalidExactSvmPayloadUnknownSeventhInstruction = "invalid_exact_svm_payload_unknown_seventh_instruction", 402, Never;
    InvalidExactSvmPayloadUnknownSixthInstruction = "invalid_exact_svm_payload_unknown_sixth_instruction", 402, Never;
    InvalidExactSvmTransactionFailed = "invalid_exact_svm_transaction_failed", 402, SignAnew;
    InvalidExactSvmTransactionSimulationFailed = "invalid_exact_svm_transaction_simulation_failed", 402, SignAnew;
    InvalidExactSvmUnsupportedScheme = "invalid_exact_svm_unsupported_scheme", 402, Never;
    InvalidExactSvmVerificationFailed = "invalid_exact_svm_verification_failed", 402, Never;
    NetworkMismatch = "network_mismatch", 402, Never;
    PostSettlementTransferNotConfirmed = "post_settlement_transfer_not_confirmed", 402, Never;
    TransactionFailed = "transaction_failed", 402, SignAnew;
    TransactionSimulationFailed = "transaction_simulation_failed", 402, SignAnew;
    VerificationFailed = "verification_failed", 402, Never;
    // `exact` on Solana, smart wallets
    InvalidExactSvmSmartWalletAltResolutionFailed = "invalid_exact_svm_smart_wallet_alt_resolution_failed", 402, SameAgain;
    InvalidExactSvmSmartWalletAltResolutionNotAvailable = "invalid_exact_svm_smart_wallet_alt_resolution_not_available", 402, Never;
    InvalidExactSvmSmartWalletCannotDeriveDestinationAta = "invalid_exact_svm_smart_wallet_cannot_derive_destination_ata", 402, Never;
    InvalidExactSvmSmartWalletComputeBudgetViolation = "invalid_exact_svm_smart_wallet_compute_budget_violation", 402, Never;
    InvalidExactSvmSmartWalletComputeUnitsTooHigh = "invalid_exact_svm_smart_wallet_compute_units_too_high", 402, Never;
    InvalidExactSvmSmartWalletFeePayerNotIsolated = "invalid_exact_svm_smart_wallet_fee_payer_not_isolated", 402, Never;
    InvalidExactSvmSmartWalletMalformedComputeBudget = "invalid_exact_svm_smart_wallet_malformed_compute_budget", 402, Never;
    InvalidExactSvmSmartWalletMalformedComputeLimit = "invalid_exact_svm_smart_wallet_malformed_compute_limit", 402, Never;
    InvalidExactSvmSmartWalletMalformedComputePrice = "invalid_exact_svm_smart_wallet_malformed_compute_price", 402, Never;
    InvalidExactSvmSmartWalletMultipleMatchingTransfers = "invalid_exact_svm_smart_wallet_multiple_matching_transfers", 402, Never;
    InvalidExactSvmSmartWalletNoTransferInSimulation = "invalid_exact_svm_smart_wallet_no_transfer_in_simulation", 402, Never;
    InvalidExactSvmSmartWalletPriorityFeeTooHigh = "invalid_exact_svm_smart_wallet_priority_fee_too_high", 402, Never;
    InvalidExactSvmSmartWalletProgramNotAllowed = "invalid_exact_svm_smart_wallet_program_not_allowed", 402, Never;
    InvalidExactSvmSmartWalletSimulationFailed = "invalid_exact_svm_smart_wallet_simulation_failed", 402, Never;
    InvalidExactSvmSmartWalletTransferMismatch = "invalid_exact_svm_smart_wallet_transfer_mismatch", 402, Never;
    InvalidExactSvmSmartWalletUnsupportedComputeBudgetInstruction = "invalid_exact_svm_smart_wallet_unsupported_compute_budget_instruction", 402, Never;
    // From the v1 SDK and the Python SDK, which still send them
    MissingEip712Domain = "missing_eip712_domain", 402, Never;
    InvalidExactEvmPayloadUndeployedSmartWallet = "invalid_exact_evm_payload_undeployed_smart_wallet", 402, Never;
    InvalidExactEvmFailedToVerifySignature = "invalid_exact_evm_failed_to_verify_signature", 402, Never;
    InvalidPayment = "invalid_payment", 400, Never;
    PaymentExpired = "payment_expired", 402, SignAnew;
    // This library, where no official code exists
    Busy = "busy", 503, SameAgain;
    FacilitatorUnavailable = "facilitator_unavailable", 502, SameAgain;
    SettlementRefused = "settlement_refused", 402, Never;
}

impl Reason {
    /// Returns whether the same payment, presented again in a moment, may be served: it is being worked
    /// on, or its outcome is not certain yet.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::SettlementPending | Self::UnknownSettlementError | Self::Busy)
    }

    /// Returns the reason a text names. Some facilitators add `: ` and an explanation, which is
    /// ignored.
    pub fn parse(text: &str) -> Option<Self> {
        let code = text.split(':').next().unwrap_or(text).trim_end();
        Self::ALL.iter().copied().find(|reason| reason.as_str() == code)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl core::error::Error for Reason {}

const _: () = assert!(size_of::<Reason>() == 2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_read_back() {
        for reason in Reason::ALL {
            assert_eq!(Reason::parse(reason.as_str()), Some(*reason));
            assert!([400, 402, 412, 502, 503].contains(&reason.status()));
        }
        let explained = "invalid_exact_evm_transaction_failed: execution reverted";
        assert_eq!(Reason::parse(explained), Some(Reason::InvalidExactEvmTransactionFailed));
        assert_eq!(Reason::parse("no_such_code"), None);
    }
}

"""The operations of compare-sdks by the official Python SDK. Run by that program.

The argument is the file with the inputs. Prints lines of operation, tab, microseconds; and one of
`#` and versions.
"""

import json
import platform
import sys
import time
from importlib.metadata import version

from eth_account import Account
from x402 import x402ClientSync
from x402.http.utils import (
    decode_payment_required_header,
    decode_payment_signature_header,
    encode_payment_signature_header,
)
from x402.mechanisms.evm.exact.facilitator import ExactEvmScheme
from x402.mechanisms.evm.exact.register import register_exact_evm_client
from x402.mechanisms.evm.types import ExactEIP3009Payload
from x402.mechanisms.svm.exact.facilitator import ExactSvmScheme
from x402.schemas import PaymentRequirements

WARM_UP_SECONDS = 0.5
BATCHES = 60
BATCH_SECONDS = 0.01

with open(sys.argv[1], encoding="utf-8") as file:
    inputs = json.load(file)
offer = PaymentRequirements.model_validate_json(inputs["offer"])
svm_offer = PaymentRequirements.model_validate_json(inputs["svmOffer"])
payment = decode_payment_signature_header(inputs["payment"])


class EvmChain:
    """Answers at once: the token is a contract, the payer is none, what is simulated works."""

    def get_addresses(self):
        return []

    def get_code(self, address):
        return b"\x60" if address.lower() == offer.asset.lower() else b""

    def read_contract(self, *_):
        return None


class SvmChain:
    """Answers at once: what is simulated works."""

    def get_addresses(self):
        return [svm_offer.extra["feePayer"]]

    def sign_transaction(self, transaction, *_):
        return transaction

    def simulate_transaction(self, *_):
        return None


evm = ExactEvmScheme(EvmChain())
svm = ExactSvmScheme(SvmChain())
buyer = register_exact_evm_client(x402ClientSync(), Account.from_key(inputs["evmSecret"]))


def read_payment():
    return ExactEIP3009Payload.from_dict(decode_payment_signature_header(inputs["payment"]).payload)


def verify(scheme, header, requirements):
    answer = scheme.verify(decode_payment_signature_header(header), requirements)
    if not answer.is_valid:
        raise ValueError(f"refused: {answer.invalid_reason}")


def pay():
    required = decode_payment_required_header(inputs["challenge"])
    return encode_payment_signature_header(buyer.create_payment_payload(required))


OPERATIONS = {
    "read_payment": read_payment,
    "write_payment": lambda: encode_payment_signature_header(payment),
    "read_challenge": lambda: decode_payment_required_header(inputs["challenge"]),
    "read_large_challenge": lambda: decode_payment_required_header(inputs["largeChallenge"]),
    "evm_verify": lambda: verify(evm, inputs["payment"], offer),
    "svm_verify": lambda: verify(svm, inputs["svmPayment"], svm_offer),
    "evm_buyer": pay,
}


def seconds(operation, count):
    start = time.perf_counter()
    for _ in range(count):
        operation()
    return time.perf_counter() - start


def median(operation):
    count, spent = 1, 0.0
    while spent < WARM_UP_SECONDS:
        took = seconds(operation, count)
        spent += took
        count = max(1, round(count * BATCH_SECONDS / took))
    return sorted(seconds(operation, count) / count for _ in range(BATCHES))[BATCHES // 2]


def main():
    packages = ["x402", "eth-account", "solders", "pydantic"]
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    print(f"# {versions}, Python {platform.python_version()}")
    for key, operation in OPERATIONS.items():
        print(f"{key}\t{median(operation) * 1e6}", flush=True)


main()

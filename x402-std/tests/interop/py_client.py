"""python py_client.py URL : pays URL with the official Python client (x402, httpx) and prints one JSON line.

Exit 0 only on 200. EVM_KEY and SVM_KEY (base58) are the payer's keys, one of them or both;
SVM_RPC is a Solana node.
"""

import asyncio
import base64
import json
import os
import sys

import httpx
from eth_account import Account
from x402 import x402Client
from x402.http.clients.httpx import PaymentError, wrapHttpxWithPayment
from x402.mechanisms.evm.exact.register import register_exact_evm_client
from x402.mechanisms.svm.exact.register import register_exact_svm_client
from x402.mechanisms.svm.signers import KeypairSigner


def parse_body(text):
    try:
        return json.loads(text)
    except ValueError:
        return text


def decode_header(response, *names):
    for name in names:
        if name in response.headers:
            return json.loads(base64.b64decode(response.headers[name]))
    return None


def client_with(evm_key, svm_key):
    client = x402Client()
    if evm_key:
        register_exact_evm_client(client, Account.from_key(evm_key))
    if svm_key:
        signer = KeypairSigner.from_base58(svm_key)
        register_exact_svm_client(client, signer, rpc_url=os.environ["SVM_RPC"])
    return client


async def pay(url):
    client = client_with(os.environ.get("EVM_KEY"), os.environ.get("SVM_KEY"))
    async with wrapHttpxWithPayment(client, timeout=60) as http:
        response = await http.get(url)
    result = {
        "status": response.status_code,
        "body": parse_body(response.text),
        "paymentResponse": decode_header(response, "payment-response", "x-payment-response"),
    }
    if response.status_code == 402:
        result["paymentRequired"] = decode_header(response, "payment-required")
    return result


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: EVM_KEY=0x... SVM_KEY=... SVM_RPC=URL python py_client.py URL")
    try:
        result = asyncio.run(pay(sys.argv[1]))
    except (PaymentError, httpx.HTTPError) as error:
        result = {"status": 0, "error": str(error)}
    print(json.dumps(result))
    sys.exit(0 if result["status"] == 200 else 1)


main()

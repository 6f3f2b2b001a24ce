"""The official Python facilitator (x402) on PORT: GET /supported, POST /verify, POST /settle.

It settles on NETWORK, a Solana one, through SVM_RPC; SVM_KEY (base58) pays the fees.
"""

import os

import uvicorn
from fastapi import FastAPI, Request
from x402 import x402Facilitator
from x402.mechanisms.svm.exact.register import register_exact_svm_facilitator
from x402.mechanisms.svm.signers import FacilitatorKeypairSigner
from x402.schemas import PaymentPayload, PaymentRequirements

signer = FacilitatorKeypairSigner.from_base58(os.environ["SVM_KEY"], os.environ["SVM_RPC"])
facilitator = register_exact_svm_facilitator(x402Facilitator(), signer, os.environ["NETWORK"])

app = FastAPI()


def to_json(model):
    return model.model_dump(by_alias=True, exclude_none=True)


async def read(request):
    body = await request.json()
    payload = PaymentPayload.model_validate(body["paymentPayload"])
    return payload, PaymentRequirements.model_validate(body["paymentRequirements"])


@app.get("/supported")
async def supported():
    return to_json(facilitator.get_supported())


@app.post("/verify")
async def verify(request: Request):
    return to_json(await facilitator.verify(*await read(request)))


@app.post("/settle")
async def settle(request: Request):
    return to_json(await facilitator.settle(*await read(request)))


uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]))

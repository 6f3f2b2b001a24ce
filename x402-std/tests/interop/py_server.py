"""The official Python server (x402, FastAPI) on PORT, paid through FACILITATOR_URL.

It sells /evm/eip3009 for 10000 units of USDC, to PAY_TO on NETWORK.
"""

import os

import uvicorn
from fastapi import FastAPI
from x402 import x402ResourceServer
from x402.http import FacilitatorConfig, HTTPFacilitatorClient
from x402.http.middleware.fastapi import PaymentMiddlewareASGI
from x402.mechanisms.evm.exact.register import register_exact_evm_server

facilitator = HTTPFacilitatorClient(FacilitatorConfig(url=os.environ["FACILITATOR_URL"]))
offer = {
    "scheme": "exact",
    "network": os.environ["NETWORK"],
    "payTo": os.environ["PAY_TO"],
    # The SDK turns this into 10000 units of the network's USDC.
    "price": "$0.01",
}
routes = {
    "GET /evm/eip3009": {
        "accepts": offer,
        "description": "interop /evm/eip3009",
        "mimeType": "application/json",
    }
}

app = FastAPI()
app.add_middleware(
    PaymentMiddlewareASGI,
    routes=routes,
    server=register_exact_evm_server(x402ResourceServer(facilitator)),
)


@app.get("/evm/eip3009")
async def resource():
    return {"ok": True, "route": "/evm/eip3009"}


uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]))

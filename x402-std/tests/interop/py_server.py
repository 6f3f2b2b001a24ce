"""The official Python server (x402, FastAPI) on PORT, paid through FACILITATOR_URL.

It sells on EVM_NETWORK and SVM_NETWORK, to EVM_PAY_TO and SVM_PAY_TO. ROUTES=path,path limits what:
it refuses to sell what its facilitator does not support.
"""

import os

import httpx
import uvicorn
from fastapi import FastAPI, Request
from x402 import x402ResourceServer
from x402.http import FacilitatorConfig, HTTPFacilitatorClient
from x402.http.middleware.fastapi import PaymentMiddlewareASGI
from x402.mechanisms.evm.exact.register import register_exact_evm_server
from x402.mechanisms.svm.exact.register import register_exact_svm_server

FACILITATOR_URL = os.environ["FACILITATOR_URL"]
SVM_NETWORK = os.environ["SVM_NETWORK"]
ROUTES = [path for path in os.environ.get("ROUTES", "").split(",") if path]


def announced_blockhash():
    """The blockhash that the facilitator announces, if any: the SDK itself passes on its fee payer only."""
    for kind in httpx.get(f"{FACILITATOR_URL}/supported").json()["kinds"]:
        if kind["network"] == SVM_NETWORK:
            return (kind.get("extra") or {}).get("lastingBlockhash")
    return None


def on_solana(extra=None):
    return {
        "scheme": "exact",
        "network": SVM_NETWORK,
        "payTo": os.environ["SVM_PAY_TO"],
        # The SDK turns this into 1000 units of the network's USDC.
        "price": "$0.001",
        "extra": extra or {},
    }


offers = {
    "/evm/eip3009": {
        "scheme": "exact",
        "network": os.environ["EVM_NETWORK"],
        "payTo": os.environ["EVM_PAY_TO"],
        # 10000 units of the network's USDC.
        "price": "$0.01",
    },
    "/svm/exact": on_solana(),
    "/svm/memo": on_solana({"memo": "order-42"}),
}
if blockhash := announced_blockhash():
    offers["/svm/announced"] = on_solana({"recentBlockhash": blockhash})

sold = [path for path in offers if not ROUTES or path in ROUTES]
routes = {
    f"GET {path}": {
        "accepts": offers[path],
        "description": f"interop {path}",
        "mimeType": "application/json",
    }
    for path in sold
}
server = x402ResourceServer(HTTPFacilitatorClient(FacilitatorConfig(url=FACILITATOR_URL)))
register_exact_evm_server(server)
register_exact_svm_server(server)

app = FastAPI()
app.add_middleware(PaymentMiddlewareASGI, routes=routes, server=server)


async def resource(request: Request):
    return {"ok": True, "route": request.url.path}


for path in sold:
    app.get(path)(resource)

uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]))

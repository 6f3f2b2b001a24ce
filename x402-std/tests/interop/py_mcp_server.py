"""An MCP server with the tools `get_weather`, `fails` and `ping`, over streamable HTTP on PORT, or over stdio without.

With FACILITATOR_URL the first two cost PRICE, by the official Python SDK (x402[mcp]), on EVM_NETWORK to EVM_PAY_TO or on
SVM_NETWORK to SVM_PAY_TO, whichever are set. Without, all are free.
"""

import json
import os

from mcp.server.fastmcp import FastMCP
from x402 import x402ResourceServer
from x402.http import FacilitatorConfig, HTTPFacilitatorClient
from x402.mcp import create_payment_wrapper
from x402.mechanisms.evm.exact.register import register_exact_evm_server
from x402.mechanisms.svm.exact.register import register_exact_svm_server
from x402.schemas import ResourceConfig, ResourceInfo

PORT = os.environ.get("PORT")


def free(_tool):
    return lambda handler: handler


def paid():
    """What puts a price on the tool of a name."""
    server = x402ResourceServer(HTTPFacilitatorClient(FacilitatorConfig(url=os.environ["FACILITATOR_URL"])))
    register_exact_evm_server(server)
    register_exact_svm_server(server)
    server.initialize()
    accepts = []
    for kind in ("SVM", "EVM"):
        if network := os.environ.get(f"{kind}_NETWORK"):
            pay_to, price = os.environ[f"{kind}_PAY_TO"], os.environ["PRICE"]
            config = ResourceConfig(scheme="exact", network=network, pay_to=pay_to, price=price)
            accepts += server.build_payment_requirements(config)

    def wrapper(tool):
        resource = ResourceInfo(url=f"mcp://tool/{tool}", description=tool, mime_type="application/json")
        return create_payment_wrapper(server, accepts=accepts, resource=resource)

    return wrapper


priced = paid() if os.environ.get("FACILITATOR_URL") else free
mcp = FastMCP("interop", host="127.0.0.1", port=int(PORT or 0), log_level="WARNING")


@mcp.tool(description="The weather in a city")
@priced("get_weather")
async def get_weather(city: str) -> str:
    return json.dumps({"city": city, "weather": "sunny"})


@mcp.tool(description="Always fails")
@priced("fails")
async def fails() -> str:
    raise ValueError("it always does")


@mcp.tool(description="Answers pong")
async def ping() -> str:
    return "pong"


mcp.run(transport="streamable-http" if PORT else "stdio")

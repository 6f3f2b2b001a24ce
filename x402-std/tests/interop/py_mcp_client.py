"""python py_mcp_client.py TOOL ARGUMENTS URL|COMMAND... : calls a tool of an MCP server and pays for it.

With the official Python client (x402[mcp]), over streamable HTTP or over the stdio of a command that it starts. Prints one
JSON line; exit 0 only if the tool answered without an error. EVM_KEY and SVM_KEY (base58) are the payer's keys, one of them
or both; SVM_RPC is a Solana node. With AGAIN=1 the payment is shown a second time, and `again` says what came of it.
"""

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager

from eth_account import Account
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from x402 import x402Client
from x402.mcp import MCP_PAYMENT_META_KEY, x402MCPSession
from x402.mechanisms.evm.exact.register import register_exact_evm_client
from x402.mechanisms.svm.exact.register import register_exact_svm_client
from x402.mechanisms.svm.signers import KeypairSigner


def payer():
    client = x402Client()
    if key := os.environ.get("EVM_KEY"):
        register_exact_evm_client(client, Account.from_key(key))
    if key := os.environ.get("SVM_KEY"):
        register_exact_svm_client(client, KeypairSigner.from_base58(key), rpc_url=os.environ["SVM_RPC"])
    return client


@asynccontextmanager
async def session(where):
    if where[0].startswith("http://"):
        transport = streamable_http_client(where[0])
    else:
        # The SDK itself passes on a few settings only.
        transport = stdio_client(StdioServerParameters(command=where[0], args=where[1:], env=dict(os.environ)))
    async with transport as (read, write, *_), ClientSession(read, write) as session:
        yield Observed(session)


class Observed:
    """A session that remembers the payment it carried last."""

    def __init__(self, session):
        self.session = session
        self.payment = None

    async def initialize(self):
        await self.session.initialize()

    async def call_tool(self, name, arguments, meta=None, read_timeout_seconds=None):
        if meta:
            self.payment = meta[MCP_PAYMENT_META_KEY]
        return await self.session.call_tool(name, arguments, meta=meta, read_timeout_seconds=read_timeout_seconds)


def shown(result):
    return {
        "isError": bool(result.isError),
        "texts": [item.text for item in result.content if item.type == "text"],
        "structured": result.structuredContent,
        "meta": result.meta,
    }


async def call(tool, arguments, where):
    async with session(where) as observed:
        paying = x402MCPSession(observed, payer())
        await paying.initialize()
        tools = await observed.session.list_tools()
        result = await paying.call_tool(tool, arguments)
        receipt = result.payment_response
        told = {
            **shown(result.raw_result),
            "paid": result.payment_made,
            "receipt": receipt.model_dump(by_alias=True) if hasattr(receipt, "model_dump") else receipt,
            "tools": [tool.name for tool in tools.tools],
        }
        if os.environ.get("AGAIN") == "1":
            meta = {MCP_PAYMENT_META_KEY: observed.payment}
            told["again"] = shown(await observed.session.call_tool(tool, arguments, meta=meta))
        return told


def main():
    if len(sys.argv) < 4:
        sys.exit("usage: EVM_KEY=0x... SVM_KEY=... SVM_RPC=URL python py_mcp_client.py TOOL ARGUMENTS URL|COMMAND...")
    tool, arguments, *where = sys.argv[1:]
    told = asyncio.run(call(tool, json.loads(arguments), where))
    print(json.dumps(told))
    sys.exit(1 if told["isError"] else 0)


main()

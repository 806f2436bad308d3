"""Tools of MCP servers from the settings. A server that fails takes no turn with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic_ai.toolsets import AbstractToolset

log = logging.getLogger("pi")

CONNECT_SECONDS = 10.0
CALL_SECONDS = 60.0
MAX_RESULT = 6000


def mcp_tools(servers: Mapping[str, Mapping[str, Any]]) -> list[AbstractToolset[Any]]:
    """For one turn: the tools of each server, named `<server>_<tool>`."""
    return [_careful(name, server) for name, server in servers.items()]


def _careful(name: str, server: Mapping[str, Any]) -> AbstractToolset[Any]:
    from fastmcp.client.transports import StdioTransport
    from pydantic_ai.mcp import MCPToolset
    from pydantic_ai.toolsets import WrapperToolset

    class Careful(WrapperToolset[Any]):
        up = False

        async def __aenter__(self) -> Careful:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    await self.wrapped.__aenter__()
                self.up = True
            except Exception as problem:  # noqa: BLE001  # worker edge: a foreign server fails
                log.warning("MCP server %s left out: %s", name, type(problem).__name__)
            return self

        async def __aexit__(self, *why: Any) -> bool | None:
            return await self.wrapped.__aexit__(*why) if self.up else None

        async def get_tools(self, ctx: Any) -> dict[str, Any]:
            try:
                return await super().get_tools(ctx) if self.up else {}
            except Exception as problem:  # noqa: BLE001  # worker edge: a foreign server fails
                log.warning("MCP server %s has no tools: %s", name, type(problem).__name__)
                return {}

        async def call_tool(self, tool_name: str, arguments: Any, ctx: Any, tool: Any) -> Any:
            try:
                async with asyncio.timeout(CALL_SECONDS):
                    result = await super().call_tool(tool_name, arguments, ctx, tool)
            except Exception as problem:  # noqa: BLE001  # worker edge: a foreign server fails
                log.warning("MCP tool %s_%s failed: %s", name, tool_name, type(problem).__name__)
                return "The tool failed."
            text = result if isinstance(result, str) else str(result)
            return text[:MAX_RESULT]

    if "command" in server:
        program, *arguments = server["command"]
        client: Any = StdioTransport(command=program, args=arguments, keep_alive=False)
    else:
        client = server["url"]
    return Careful(MCPToolset(client, id=name, init_timeout=CONNECT_SECONDS)).prefixed(name)

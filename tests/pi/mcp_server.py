"""A small MCP server on stdin and stdout: `python -m tests.pi.mcp_server`."""

from __future__ import annotations

from mcp.server.mcpserver import MCPServer

server = MCPServer("weather")


@server.tool()
def forecast(place: str) -> str:
    """The weather in a place."""
    return f"Sunny in {place}."


@server.tool()
def broken() -> str:
    """It fails."""
    raise RuntimeError("no")


if __name__ == "__main__":
    server.run()

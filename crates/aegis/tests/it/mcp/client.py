"""A real MCP client of the official Python SDK, 1.x or 2.x: lists, calls, and prints what it saw, one JSON document a line."""
import asyncio
import json
import sys

url, token, calls = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
headers = {"Authorization": f"Bearer {token}"}


async def use(session):
    tools = await session.list_tools()
    print(json.dumps({"tools": [tool.name for tool in tools.tools]}), flush=True)
    for name, arguments in calls:
        result = await session.call_tool(name, arguments)
        text = [block.text for block in result.content if block.type == "text"]
        error = getattr(result, "is_error", getattr(result, "isError", False))
        print(json.dumps({"tool": name, "error": bool(error), "text": " ".join(text)}), flush=True)


async def main():
    from mcp.client.streamable_http import streamable_http_client

    try:
        import httpx2 as httpx
        from mcp import Client
    except ImportError:
        import httpx
        from mcp import ClientSession

        async with httpx.AsyncClient(headers=headers, timeout=60) as http:
            async with streamable_http_client(url, http_client=http) as streams:
                async with ClientSession(streams[0], streams[1]) as session:
                    await session.initialize()
                    await use(session)
        return
    async with httpx.AsyncClient(headers=headers, timeout=60) as http:
        async with Client(streamable_http_client(url, http_client=http)) as client:
            print(json.dumps({"revision": str(client.protocol_version)}), flush=True)
            await use(client)


asyncio.run(main())

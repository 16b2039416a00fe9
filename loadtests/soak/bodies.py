"""Reads HTTP/1.1 bodies only to be rid of them: of well-formed messages, by their head in lower case."""

import asyncio


async def skip_body(reader: asyncio.StreamReader, head: bytes) -> bool:
    """Whether the head tells where the body ends; then it is behind us."""
    if b"\r\ntransfer-encoding: chunked" in head:
        while size := int(await reader.readuntil(b"\r\n"), 16):
            await reader.readexactly(size + 2)
        await reader.readuntil(b"\r\n")
    elif b"\r\ncontent-length:" in head:
        length = head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
        await reader.readexactly(int(length))
    else:
        return False
    return True

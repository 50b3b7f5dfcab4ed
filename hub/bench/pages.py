"""The platform of the sync benchmark, in a process of its own: one page for each account, from memory. I/O: network.

Bare sockets on purpose: what is measured is how fast the hub reads, and beside it how fast these bytes can be read at all.
"""

import asyncio
import json
import re
import sys

from hub.bench.sync import page_of

_TOKEN = re.compile(rb"authorization: bearer t-([0-9]{1,9})\r\n", re.IGNORECASE)


async def serve(records: int) -> None:
    """Serve on a free port of the loopback, and say which, until the process is ended."""

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                found = _TOKEN.search(head)
                body = page_of(int(found[1]), records) if found else b"{}"
                status = b"200 OK" if found else b"401 Unauthorized"
                writer.write(
                    b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (status, len(body))
                    + body
                )
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(connection, "127.0.0.1", 0)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))

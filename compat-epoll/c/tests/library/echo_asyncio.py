"""An asyncio echo server and its clients in one event loop on select.epoll.

The argument names the library that the process is to have loaded.
"""

import asyncio
import os
import select
import selectors
import sys

CLIENTS = 50
ROUNDS = 20


async def serve(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def client(port, number):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for turn in range(ROUNDS):
        message = bytes([number]) * (1 + turn * 1000)
        writer.write(message)
        assert await reader.readexactly(len(message)) == message
    writer.close()
    await writer.wait_closed()


async def subprocess():
    process = await asyncio.create_subprocess_exec(
        "cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate(b"through a pipe")
    assert out == b"through a pipe" and process.returncode == 0


async def main():
    loop = asyncio.get_running_loop()
    assert isinstance(loop._selector, selectors.EpollSelector), loop._selector
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await asyncio.gather(*(client(port, n) for n in range(CLIENTS)))
    await subprocess()
    await asyncio.wait_for(asyncio.sleep(0.01), 60)
    server.close()


with open("/proc/self/maps") as maps:
    assert sys.argv[1] in maps.read(), "the library is not loaded"

epoll = select.epoll()
read, write = os.pipe()
epoll.register(read, select.EPOLLIN)
os.write(write, b"!")
assert epoll.poll(1) == [(read, select.EPOLLIN)]
asyncio.run(main())
print("all echoed")

"""A server on a unix socket in asyncio, and its clients in another process.

Connections stay open; on each the client counts and the server answers with the
next number. One client has always asked and not yet read the answer, another
waits in accept. The protocol with the test is that of README.md.
"""

import asyncio
import os
import secrets
import socket
import time

STATE = os.environ.get("STATE_DIR", "/state")
PATH = os.environ.get("SOCKET", "/run/server.sock")
NONCE = secrets.token_hex(8)


def write(name, text):
    path = os.path.join(STATE, name)
    with open(path + ".tmp", "w") as f:
        f.write(text)
    os.rename(path + ".tmp", path)


async def serve(sock):
    async def answer(reader, writer):
        while line := await reader.readline():
            writer.write(b"%d\n" % (int(line) + 1))
            await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(answer, sock=sock)
    async with server:
        await server.serve_forever()


class Client:
    def __init__(self, pid):
        self.number = 0
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(PATH)
        self.file = self.sock.makefile("rb")
        creds = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        self.pid, self.creds = pid, creds

    def ask(self):
        self.sock.sendall(b"%d\n" % self.number)

    def read(self):
        got = int(self.file.readline())
        if got != self.number + 1:
            raise ValueError(f"{got} came after {self.number}")
        self.number = got
        if self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12) != self.creds:
            raise ValueError("another server's credentials")
        if self.sock.getpeername() != PATH:
            raise ValueError(f"peer's name is {self.sock.getpeername()}")


def clients(server):
    waiting, busy = Client(server), Client(server)
    waiting.ask()
    write("ready", NONCE + "\n")
    check = 1
    while not os.path.exists(os.path.join(STATE, "quit")):
        if not os.path.exists(os.path.join(STATE, f"check.{check}")):
            time.sleep(0.02)
            continue
        try:
            waiting.read()
            waiting.ask()
            for _ in range(100):
                busy.ask()
                busy.read()
            fresh = Client(server)
            fresh.ask()
            fresh.read()
            fresh.file.close()
            fresh.sock.close()
            write(f"result.{check}", f"ok {NONCE}\n")
        except (OSError, ValueError) as e:
            write(f"result.{check}", f"FAIL: {e!r}\n")
        check += 1


listener = socket.socket(socket.AF_UNIX)
listener.bind(PATH)
listener.listen(5)
if pid := os.fork():
    asyncio.run(serve(listener))
else:
    listener.close()
    clients(os.getppid())

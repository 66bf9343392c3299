"""A server and clients that stay connected to it, in one container.

The argument says which server: "echo" is one in asyncio, in this very process;
"redis" and "nginx" are started as a child. Four clients talk over TCP all the
time and count: an answer that is lost, comes twice or is another's shows.
GET /, /rest and /work are as in server.py.
"""

import asyncio
import secrets
import sys

NONCE = secrets.token_hex(8)
PORT = 7000
PAGE = 300_000  # bytes of nginx's page
problems = []
requests = 0
exchanges = 0
working = asyncio.Event()


async def echo(reader, writer):
    while line := await reader.readline():
        writer.write(b"you said " + line)
        await writer.drain()


async def say_echo(reader, writer, name, number):
    said = b"%d %d %s\n" % (name, number, b"x" * (number % 7 * 5000))
    writer.write(said)
    answer = await reader.readline()
    return answer == b"you said " + said, answer[:60]


async def say_redis(reader, writer, name, number):
    writer.write(b"INCR counter%d\r\n" % name)
    answer = await reader.readline()
    return answer == b":%d\r\n" % (number + 1), answer


async def say_nginx(reader, writer, name, number):
    writer.write(b"GET /page HTTP/1.1\r\nHost: here\r\n\r\n")
    length = 0
    status = await reader.readline()
    while (line := await reader.readline()).strip():
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    body = await reader.readexactly(length)
    return b" 200 " in status and body == b"a" * PAGE, status


SERVERS = {
    "echo": (say_echo, None),
    "redis": (say_redis, ["/usr/bin/redis-server", "--port", str(PORT), "--bind", "127.0.0.1", "--save", "", "--dir", "/tmp"]),
    "nginx": (say_nginx, ["/usr/sbin/nginx", "-c", "/nginx.conf", "-g", "daemon off;"]),
}


async def connect():
    for _ in range(600):
        try:
            return await asyncio.open_connection("127.0.0.1", PORT, limit=1 << 20)
        except OSError:
            await asyncio.sleep(0.1)
    sys.exit("the server does not listen")


async def client(name, say):
    global exchanges
    reader, writer = await connect()
    number = 0
    while True:
        try:
            fine, answer = await say(reader, writer, name, number)
        except (OSError, asyncio.IncompleteReadError) as error:
            problems.append(f"client {name}: {error!r}")
            return
        if not fine:
            problems.append(f"client {name}: answer {number} is {answer}")
            return
        number += 1
        exchanges += 1
        await asyncio.sleep(0.002)
        await working.wait()


async def answer(reader, writer):
    global requests
    path = (await reader.readline()).split()[1]
    while (await reader.readline()).strip():
        pass
    if path == b"/rest":
        working.clear()
        await asyncio.sleep(0.3)  # for what is under way
    elif path == b"/work":
        working.set()
    else:
        requests += 1
        before = exchanges
        for _ in range(1000):
            if exchanges > before + 8 or problems:
                break
            await asyncio.sleep(0.005)
        else:
            problems.append("the clients stand still")
    text = "; ".join(problems) or f"{NONCE} {requests}\n"
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(text))
    writer.write(text.encode())
    await writer.drain()
    writer.close()


async def main():
    working.set()
    say, command = SERVERS[sys.argv[1]]
    if command:
        await asyncio.create_subprocess_exec(*command)
    else:
        await asyncio.start_server(echo, "127.0.0.1", PORT, limit=1 << 20)
    tasks = [asyncio.create_task(client(i, say)) for i in range(4)]
    server = await asyncio.start_server(answer, "127.0.0.1", 8080)
    async with server:
        await asyncio.gather(server.serve_forever(), *tasks)


asyncio.run(main())

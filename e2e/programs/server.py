"""A server in CPython: asyncio in the main thread, workers in others.

GET / answers with a nonce and the number of requests so far. Threads hand
numbers to each other through queues, wait on conditions and sleep; coroutines
sleep and talk over a socket pair. Whatever finds itself wrong says so in the
answer. After GET /rest they pause until GET /work.
"""

import asyncio
import queue
import secrets
import socket
import threading
import time

NONCE = secrets.token_hex(8)
problems = []
requests = 0
working = threading.Event()
working.set()
resting = []  # futures of the coroutines that wait for it


def worker(inbox, outbox):
    last = None
    while True:
        number = inbox.get()
        if last is not None and number != last + 1:
            problems.append(f"queue: {number} came after {last}")
        last = number
        outbox.put(number)


def feeder(first, last):
    number = 0
    while True:
        first.put(number)
        if last.get() != number:
            problems.append("queue: not what was put in")
        number += 1
        time.sleep(0.002)
        working.wait()


def waiter(condition, ticks):
    while True:
        with condition:
            condition.wait(timeout=0.05)
            ticks.append(time.monotonic())
            del ticks[:-10]
        working.wait()


async def chatter(loop):
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    number = 0
    while True:
        await loop.sock_sendall(left, b"%08d" % number)
        if await loop.sock_recv(right, 8) != b"%08d" % number:
            problems.append("socketpair: not what was sent")
        number += 1
        await asyncio.sleep(0.005)
        while not working.is_set():
            resume = loop.create_future()
            resting.append(resume)
            await resume


async def answer(reader, writer):
    global requests
    path = (await reader.readline()).split()[1]
    while (await reader.readline()).strip():
        pass
    if path == b"/rest":
        working.clear()
        await asyncio.sleep(0.2)  # for what is under way
    elif path == b"/work":
        working.set()
        while resting:
            resting.pop().set_result(None)
    else:
        requests += 1
    text = "; ".join(problems) or f"{NONCE} {requests}\n"
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(text))
    writer.write(text.encode())
    await writer.drain()
    writer.close()


async def main():
    loop = asyncio.get_running_loop()
    tasks = [asyncio.create_task(chatter(loop)) for _ in range(3)]
    server = await asyncio.start_server(answer, "127.0.0.1", 8080)
    async with server:
        await asyncio.gather(server.serve_forever(), *tasks)


queues = [queue.Queue() for _ in range(6)]
for pair in zip(queues, queues[1:]):
    threading.Thread(target=worker, args=pair, daemon=True).start()
threading.Thread(target=feeder, args=(queues[0], queues[-1]), daemon=True).start()
for _ in range(4):
    threading.Thread(target=waiter, args=(threading.Condition(), []), daemon=True).start()
asyncio.run(main())

"""A server that talks to clients outside of its container.

Each line is answered with the nonce, the number of the line on its connection and the line. Some
lines are more: "shut" has the server end its stream and go on reading, "hold"
has it keep the connection when the client ends its own, until a line "go" comes
on another connection. "stat" tells how many lines were read in all, and how
connections ended.
"""

import secrets
import socket
import threading

NONCE = secrets.token_hex(8)
lines = 0
ends = []
go = threading.Event()


def serve(conn):
    global lines
    number, hold = 0, False
    try:
        stream = conn.makefile("rb")
        while line := stream.readline():
            word = line.split()[0].decode()
            number += 1
            lines += 1
            if word == "stat":
                conn.sendall(f"{NONCE} {lines} {','.join(ends)}\n".encode())
                continue
            if word == "go":
                go.set()
            hold = hold or word == "hold"
            conn.sendall(f"{NONCE} {number} {line.decode()}".encode())
            if word == "shut":
                conn.shutdown(socket.SHUT_WR)
                while stream.readline():
                    lines += 1
                break
        if hold:
            go.wait()
            go.clear()
            conn.sendall(f"{NONCE} bye\n".encode())
        ends.append("end")
    except OSError as error:
        ends.append(type(error).__name__)
    conn.close()


server = socket.create_server(("127.0.0.1", 7000))
while True:
    conn, _ = server.accept()
    threading.Thread(target=serve, args=(conn,), daemon=True).start()

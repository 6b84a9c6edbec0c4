"""A pretended node: answers what comes over a socket, each call in a thread of its own, until the other end is closed."""

from __future__ import annotations

import socket
import sys
import threading

from fastcmp.engine import messages
from fastcmp.engine.node_agent import NodeAgent


def main() -> None:
    name, workers, stall_s, number = sys.argv[1:]
    agent = NodeAgent(name, int(workers), float(stall_s))
    sock = socket.socket(fileno=int(number))
    lock = threading.Lock()

    def answer(number: int, body: bytes) -> None:
        reply = agent.call(body)
        with lock:
            messages.send(sock, (number, reply))

    try:
        while True:
            number, body = messages.unpack(messages.receive_body(sock))
            threading.Thread(target=answer, args=(number, body), daemon=True).start()
    except EOFError:
        agent.close()


if __name__ == "__main__":
    main()

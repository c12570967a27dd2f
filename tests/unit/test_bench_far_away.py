"""The proxy of the benchmark that puts a distance between a program and its server."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time

from bench.far_away import far_away

ROUND_TRIP_SECONDS = 0.05


def _serve_once(listener: socket.socket) -> None:
    """Gives back, in upper case, what one connection sends, to its end."""
    connection, _ = listener.accept()
    with connection:
        while piece := connection.recv(1 << 20):
            connection.sendall(piece.upper())


def test_an_answer_takes_the_round_trip_and_nothing_is_altered() -> None:
    content = os.urandom(20 << 20)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=_serve_once, args=(listener,))
        server.start()
        with (
            far_away(listener.getsockname()[1], ROUND_TRIP_SECONDS) as port,
            socket.create_connection(("127.0.0.1", port)) as client,
        ):
            for _ in range(3):
                begun = time.monotonic()
                client.sendall(b"ping")
                assert client.recv(4) == b"PING"
                assert time.monotonic() - begun >= ROUND_TRIP_SECONDS
            sending = threading.Thread(target=client.sendall, args=(content,))
            sending.start()
            digest, received = hashlib.sha256(), 0
            while received < len(content):
                piece = client.recv(1 << 20)
                assert piece, "the connection ended early"
                digest.update(piece)
                received += len(piece)
            sending.join()
            assert digest.digest() == hashlib.sha256(content.upper()).digest()
        server.join()

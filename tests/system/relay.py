"""A stretch of network between a node and its cache, which can be slow, stand still, change bytes, or be gone."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_PIECE = 1 << 16


@dataclass
class Relay:
    """`mode` holds from now on, for connections that exist too. With `rate`, so many bytes a second come at most."""

    target: int
    port: int = 0
    mode: str = "honest"
    rate: float = 0.0
    carried: int = 0  # bytes towards the node

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                node, _ = listener.accept()
            except OSError:
                return
            if self.mode == "refuse":
                node.close()
                continue
            try:
                cache = socket.create_connection(("127.0.0.1", self.target), timeout=5)
            except OSError:
                node.close()
                continue
            cache.settimeout(None)
            for work in ((node, cache, False), (cache, node, True)):
                threading.Thread(target=self._carry, args=work, daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(_PIECE):
                self._pass_on(piece, sink, is_answer)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _pass_on(self, piece: bytes, sink: socket.socket, is_answer: bool) -> None:
        while self.mode == "hang":
            time.sleep(0.05)
        if self.mode == "drip" and is_answer:
            while piece and self.mode == "drip":
                sink.sendall(piece[:1])
                piece = piece[1:]
                time.sleep(0.2)
        if self.mode == "flip" and is_answer and len(piece) > 4000:
            piece = piece[:-100] + bytes([piece[-100] ^ 1]) + piece[-99:]
        if self.rate:
            time.sleep(len(piece) / self.rate)
        if is_answer:
            self.carried += len(piece)
        sink.sendall(piece)


@contextmanager
def relay(target: int) -> Iterator[Relay]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = Relay(target, listener.getsockname()[1])
        threading.Thread(target=made.serve, args=(listener,), daemon=True).start()
        yield made
        listener.shutdown(socket.SHUT_RDWR)

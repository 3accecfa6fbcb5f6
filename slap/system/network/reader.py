"""Sockets that are read under some condition, also by http.client."""

import http.client
import socket
from collections.abc import Callable
from io import BufferedReader, RawIOBase
from typing import Any


class Reader(RawIOBase):
    """What is read from a socket; who inherits this says when it is too late, in `readinto`."""

    def __init__(self, source: socket.socket) -> None:
        self.source = source
        self.open = source.makefile("rb", buffering=0)  # http.client closes the socket before it has read the page

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self.open.close()
        super().close()

    def makefile(self, mode: str) -> BufferedReader:
        return BufferedReader(self)


def answers_by(reader: Callable[[socket.socket], Reader]) -> Callable[..., http.client.HTTPResponse]:
    """What http.client shall make answers with, for them to be read in that way."""

    def read(source: socket.socket, **options: Any) -> http.client.HTTPResponse:
        return http.client.HTTPResponse(reader(source), **options)  # type: ignore[arg-type]

    return read

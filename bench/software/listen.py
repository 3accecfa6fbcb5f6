"""The payload: accepts connections on HOST PORT and drops them. Imports nothing that would cost, so that what is
measured is the platform."""

import _socket
import sys

listener = _socket.socket()
listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
listener.bind((sys.argv[1], int(sys.argv[2])))
listener.listen(8)
while True:
    _socket.close(listener._accept()[0])  # type: ignore[attr-defined]

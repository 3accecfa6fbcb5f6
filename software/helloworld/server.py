"""A web server that says hello. Usage: server.py ADDRESS PORT FILE, where the file has the parameters as JSON.

Only of the standard library, and little of that, so that it listens within a few hundredths of a second.
"""

import json
import selectors
import signal
import socket
import sys
import time
from collections import Counter

MOST_HEADER = 16 * 1024  # bytes
IDLE = 30.0  # seconds that a connection may say nothing
GRACE = 5.0  # seconds that answers may take to leave after SIGTERM

REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
    505: "HTTP Version Not Supported",
}

PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{greeting}</title>
<style>
  body {{ margin: 0; min-height: 100vh; display: grid; place-content: center; gap: 2rem; color: #fff;
         font: 1.1rem/1.5 system-ui, sans-serif; background: {color}; }}
  main {{ padding: 2rem 3rem; border-radius: 1rem; background: #0006; }}
  h1 {{ margin: 0 0 1rem; font-size: 3rem; overflow-wrap: anywhere; }}
  dl {{ display: grid; grid-template-columns: auto 1fr; gap: .2rem 1.5rem; margin: 0; }}
  dt {{ opacity: .7 }}
  dd {{ margin: 0; overflow-wrap: anywhere; }}
</style>
</head>
<body>
<main>
<h1>{greeting}</h1>
<dl>
{rows}
</dl>
</main>
</body>
</html>
"""


class Site:
    """What there is to see: pure functions of the parameters and of what was counted."""

    def __init__(self, parameters: dict[str, object]) -> None:
        self.parameters = {"greeting": "Hello, world!", "color": "#2563eb", **parameters}
        self.served: Counter[int] = Counter()
        self._started = time.monotonic()
        self._paths = {"/": self._page, "/health": self._health, "/metrics": self._metrics}

    def answer(self, method: str, target: str) -> tuple[int, str, str]:
        """Status, media type and body."""
        show = self._paths.get(target.partition("?")[0])
        if show is None:
            return plain(404)
        return show() if method in ("GET", "HEAD") else plain(405)

    def _page(self) -> tuple[int, str, str]:
        rows = (f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in sorted(self.parameters.items()))
        greeting, color = escape(self.parameters["greeting"]), escape(self.parameters["color"])
        return 200, "text/html", PAGE.format(greeting=greeting, color=color, rows="\n".join(rows))

    def _health(self) -> tuple[int, str, str]:
        return 200, "application/json", json.dumps({"status": "ok", "uptime": round(self._uptime(), 3)}) + "\n"

    def _metrics(self) -> tuple[int, str, str]:
        counts = (f'hello_requests_total{{status="{status}"}} {count}' for status, count in sorted(self.served.items()))
        lines = ["# TYPE hello_requests_total counter", *counts, "# TYPE hello_uptime_seconds gauge"]
        return 200, "text/plain", "\n".join([*lines, f"hello_uptime_seconds {self._uptime():.3f}", ""])

    def _uptime(self) -> float:
        return time.monotonic() - self._started


def plain(status: int) -> tuple[int, str, str]:
    return status, "text/plain", f"{status} {REASONS[status]}\n"


def escape(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text.translate({ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;", ord('"'): "&quot;"})


class Connection:
    """One client: bytes in, whole requests out of them, answers in their order, bytes out."""

    def __init__(self, client: socket.socket, peer: str, site: Site) -> None:
        self.client = client
        self.last_heard = time.monotonic()
        self._peer = peer
        self._site = site
        self._received = bytearray()
        self._to_send = bytearray()
        self._ends = False  # once all is sent
        self._lingers = False  # all is sent, but a client that still talks would lose it if we hung up now

    @property
    def wants(self) -> int:
        """What to wait for; 0 when it is over. Nothing more is read as long as answers wait to be taken."""
        if self._to_send:
            return selectors.EVENT_WRITE
        return selectors.EVENT_READ if self._lingers or not self._ends else 0

    def finish(self) -> None:
        """No further request is answered."""
        self._ends, self._lingers = True, False

    def read(self) -> None:
        received = self.client.recv(65536)
        if self._lingers:
            self._lingers = bool(received)
            return
        self.last_heard = time.monotonic()
        self._received += received
        self._ends = self._ends or not received
        self._answer_all()

    def write(self) -> None:
        sent = self.client.send(self._to_send)
        del self._to_send[:sent]
        self.last_heard = time.monotonic()
        if self._ends and not self._to_send:
            self.client.shutdown(socket.SHUT_WR)
            self._lingers = True

    def _answer_all(self) -> None:
        while not self._ends and 0 <= (end := self._received.find(b"\r\n\r\n")) <= MOST_HEADER:
            head = bytes(self._received[:end]).decode("latin-1")
            del self._received[: end + 4]
            self._answer(head)
        if not self._ends and len(self._received) > MOST_HEADER:
            self._reply("-", "-", plain(431), keep=False)

    def _answer(self, head: str) -> None:
        line, *fields = head.lstrip("\r\n").split("\r\n")
        method, _, rest = line.partition(" ")
        target, _, protocol = rest.partition(" ")
        headers = {name.strip().lower(): value.strip().lower() for name, _, value in (f.partition(":") for f in fields)}
        if not (method.isalpha() and method.isupper() and target and protocol.startswith("HTTP/")):
            return self._reply(method, target, plain(400), keep=False)
        if protocol not in ("HTTP/1.0", "HTTP/1.1"):
            return self._reply(method, target, plain(505), keep=False)
        if protocol == "HTTP/1.1" and "host" not in headers:
            return self._reply(method, target, plain(400), keep=False)
        return self._reply(method, target, self._site.answer(method, target), keeps_open(protocol, headers))

    def _reply(self, method: str, target: str, answer: tuple[int, str, str], keep: bool) -> None:
        status, kind, text = answer
        body = text.encode()
        lines = [
            f"HTTP/1.1 {status} {REASONS[status]}",
            f"Date: {time.strftime('%a, %d %b %Y %H:%M:%S GMT', time.gmtime())}",
            f"Content-Type: {kind}; charset=utf-8",
            f"Content-Length: {len(body)}",
            "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'",
            *(["Allow: GET, HEAD"] if status == 405 else []),
            *([] if keep else ["Connection: close"]),
        ]
        self._to_send += "\r\n".join([*lines, "", ""]).encode() + (b"" if method == "HEAD" else body)
        self._ends = not keep
        self._site.served[status] += 1
        log("request", peer=self._peer, method=method, target=target, status=status, bytes=len(body))


def keeps_open(protocol: str, headers: dict[str, str]) -> bool:
    """A body that nobody wants to read ends the connection, for where it ends would have to be found out."""
    if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
        return False
    wish = headers.get("connection", "")
    return "keep-alive" in wish if protocol == "HTTP/1.0" else "close" not in wish


class Server:
    """One thread for all connections: nothing here ever waits for anything but the network."""

    def __init__(self, address: str, port: int, site: Site) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.create_server((address, port), family=family, backlog=1024)
        self._listener.setblocking(False)
        self._waker, self._wake = socket.socketpair()
        self._wake.setblocking(False)
        self._site = site
        self._ends_at = 0.0  # set when it was told to end
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._waker, selectors.EVENT_READ)

    def end_on_signals(self) -> None:
        """A signal becomes a byte to read, so that it is handled between two connections and not in one."""
        signal.set_wakeup_fd(self._wake.fileno())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)

    def serve(self) -> None:
        while not self._ends_at or (self._connections() and time.monotonic() < self._ends_at):
            for key, events in self._selector.select(1.0):
                self._handle(key, events)
            self._drop_idle()

    def _handle(self, key: selectors.SelectorKey, events: int) -> None:
        if key.fileobj is self._listener:
            self._accept()
        elif key.fileobj is self._waker:
            self._end()
        else:
            self._advance(key.data, events)

    def _accept(self) -> None:
        try:
            client, peer = self._listener.accept()
        except OSError:  # it went away meanwhile, or there are too many for now
            return
        client.setblocking(False)
        self._selector.register(client, selectors.EVENT_READ, Connection(client, str(peer[0]), self._site))

    def _advance(self, connection: Connection, events: int) -> None:
        try:
            connection.write() if events & selectors.EVENT_WRITE else connection.read()
            self._wait_on(connection)
        except BlockingIOError:
            pass  # it was not ready after all
        except OSError:
            self._close(connection)

    def _wait_on(self, connection: Connection) -> None:
        if connection.wants:
            self._selector.modify(connection.client, connection.wants, connection)
        else:
            self._close(connection)

    def _close(self, connection: Connection) -> None:
        self._selector.unregister(connection.client)
        connection.client.close()

    def _end(self) -> None:
        """What was asked is still answered; nothing new is taken."""
        self._waker.recv(64)
        self._ends_at = time.monotonic() + GRACE
        self._selector.unregister(self._waker)
        self._selector.unregister(self._listener)
        self._listener.close()
        for connection in self._connections():
            connection.finish()
            self._wait_on(connection)

    def _drop_idle(self) -> None:
        oldest = time.monotonic() - IDLE
        for connection in self._connections():
            if connection.last_heard < oldest:
                self._close(connection)

    def _connections(self) -> list[Connection]:
        return [key.data for key in self._selector.get_map().values() if key.data]


def log(event: str, **fields: object) -> None:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    sys.stdout.write(json.dumps({"at": now, "event": event, **fields}) + "\n")
    sys.stdout.flush()


def main() -> None:
    address, port = sys.argv[1], int(sys.argv[2])
    with open(sys.argv[3], encoding="utf-8") as file:
        server = Server(address, port, Site(json.load(file)))
    server.end_on_signals()
    log("listening", address=address, port=port)
    server.serve()
    log("ended")


if __name__ == "__main__":
    main()

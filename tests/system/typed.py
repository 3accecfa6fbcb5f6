"""Typed `slapos` commands, each in a process of its own that is forked from one that has loaded Python and slap already.

Loading them is most of what a command costs. What a command does is the same, with its own environment, folder, files and
exit status; `tests/unit/cli/test_startup.py` and tests that start `slapos` by its path look at how it starts.
"""

import atexit
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SLAPOS = Path(sys.executable).parent / "slapos"
_LONGEST_REQUEST = 1 << 18


def run(
    words: Sequence[str], env: Mapping[str, str], cwd: Path, timeout: float, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """How `slapos` with these words ended, as `subprocess.run` has it; one that takes longer is killed."""
    request = json.dumps({"words": list(words), "env": dict(env), "cwd": str(cwd)}).encode()
    with ExitStack() as stack:
        given = stack.enter_context(tempfile.TemporaryFile())
        given.write(stdin.encode())
        given.seek(0)
        ours, theirs = socket.socketpair()
        stack.enter_context(ours)
        (out, out_end), (err, err_end) = os.pipe(), os.pipe()
        try:
            socket.send_fds(_forker()[1], [request], [theirs.fileno(), given.fileno(), out_end, err_end])
        finally:
            for each in (out_end, err_end):
                os.close(each)
            theirs.close()
        with os.fdopen(out, "rb") as stdout, os.fdopen(err, "rb") as stderr:
            pid = _number(ours)
            try:
                printed = _read_all([stdout.fileno(), stderr.fileno()], ours, timeout)
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired([SLAPOS, *words], timeout) from None
        return subprocess.CompletedProcess([SLAPOS, *words], _number(ours), *(each.decode() for each in printed))


def _number(reply: socket.socket) -> int:
    received = reply.recv(4)
    assert len(received) == 4, "the process that starts commands is gone"
    return int.from_bytes(received, "big", signed=True)


def _read_all(pipes: list[int], reply: socket.socket, timeout: float) -> list[bytes]:
    """What comes through pipes until they are closed, and the command has ended."""
    deadline = time.monotonic() + timeout
    printed = dict.fromkeys(pipes, b"")
    with selectors.DefaultSelector() as selector:
        for pipe in pipes:
            selector.register(pipe, selectors.EVENT_READ)
        selector.register(reply, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError
            for key, _ in ready:
                piece = os.read(key.fd, 1 << 16) if key.fd in printed else b""
                if piece:
                    printed[key.fd] += piece
                else:
                    selector.unregister(key.fileobj)
    return [printed[pipe] for pipe in pipes]


@cache
def _forker() -> tuple[subprocess.Popen[bytes], socket.socket]:
    """What starts commands, and where requests are sent to; it ends with this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    argv = [sys.executable, "-c", f"from {__name__} import serve; serve({theirs.fileno()})"]
    root = Path(__file__).parents[2]
    started = subprocess.Popen(argv, pass_fds=[theirs.fileno()], cwd=root, env={"PATH": "/usr/bin:/bin"})
    theirs.close()
    return started, ours


@dataclass(frozen=True)
class _Running:
    """A command: its process, and who waits for its status."""

    pid: int
    process: int
    reply: socket.socket


def serve(requests: int) -> None:
    """Start the commands that are asked for, until nobody can ask any more."""
    _load_commands()
    with socket.socket(fileno=requests) as asked, selectors.DefaultSelector() as selector:
        selector.register(asked, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.data is not None:
                    selector.unregister(key.fileobj)
                    _reap(key.data)
                elif (running := _start(asked, selector)) is not None:
                    selector.register(running.process, selectors.EVENT_READ, running)
                else:
                    return


def _load_commands() -> None:
    from slap.cli.commands import GROUPS

    for entry in (entry for group in GROUPS.values() for entry in group):
        importlib.import_module(entry.value.partition(":")[0])
    gc.collect()
    gc.freeze()


def _start(asked: socket.socket, selector: selectors.BaseSelector) -> _Running | None:
    message, descriptors, _, _ = socket.recv_fds(asked, _LONGEST_REQUEST, 4)
    if not message:
        return None
    reply = socket.socket(fileno=descriptors[0])
    pid = os.fork()
    if not pid:
        selector.close()
        asked.close()
        reply.close()
        _become(json.loads(message), descriptors[1:])
    for each in descriptors[1:]:
        os.close(each)
    reply.sendall(pid.to_bytes(4, "big", signed=True))
    return _Running(pid, os.pidfd_open(pid), reply)


def _become(request: dict[str, object], descriptors: list[int]) -> None:
    """Be the command, in this process, until it ends."""
    for number, each in enumerate(descriptors):
        os.dup2(each, number)
        os.close(each)
    os.environ.clear()
    os.environ.update(request["env"])  # type: ignore[call-overload]
    os.chdir(str(request["cwd"]))
    sys.argv = [str(SLAPOS), *request["words"]]  # type: ignore[misc]
    from slap.cli.main import main

    status = main()  # an error that nobody expects ends this process as any other
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # whoever read it may be gone
            stream.flush()
    os._exit(status)  # taking apart all that was loaded would copy it first


def _reap(running: _Running) -> None:
    _, status = os.waitpid(running.pid, 0)
    os.close(running.process)
    with running.reply:
        running.reply.sendall(os.waitstatus_to_exitcode(status).to_bytes(4, "big", signed=True))

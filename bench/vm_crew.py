"""Both sides of bench/vm: who starts machines and ends them is a program in a cage, which does as it is told by a socket."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path

import processes
from cage import Cage, Program
from sides import ROOT, wait_until

MEMORY = 96  # MiB of a machine
EMULATOR = "qemu-system-x86_64"
Address = tuple[str, int]

_PAUSE = 0.5  # seconds between two looks at a machine
_PATIENCE = 1.0  # for one look, at first
_GROWTH = 0.1  # later this share of the time that it took so far: who starts slowly also answers slowly
_LONGEST = 900.0
_LEAVES = 120.0


class Crew:
    """The outer end of a side."""

    def __init__(self, script: str, folder: Path, count: int) -> None:
        self.cage = Cage(EMULATOR, watch=False)
        self._path = folder / f"{script}.sock"
        argv = (str(ROOT / ".venv/bin/python"), "-B", str(Path(__file__).parent / script), str(self._path), str(count))
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(folder)}
        self._program = self.cage.start(Program(argv, env, ROOT, folder / f"{script}.log"))
        wait_until(self._path.exists, f"{script} is ready; see {folder}/{script}.log", _LONGEST)
        self._pipe: Connection = Client(str(self._path))

    def start(self) -> dict[str, float]:
        """Have the machines; what took how many seconds."""
        answer = self._ask("start")
        assert isinstance(answer, dict)
        return answer

    def end(self) -> None:
        """Have none again."""
        self._ask("end")

    def close(self) -> None:
        """It takes away what it made (networks, users, folders) before the cage ends whatever is left."""
        with suppress(EOFError, OSError):
            self._ask("leave")
        wait_until(lambda: not processes.is_alive(self._program), "it has left", _LEAVES)
        self.cage.close()

    def _ask(self, word: str) -> object:
        self._pipe.send(word)
        return self._pipe.recv()


def serve(start: Callable[[], dict[str, float]], end: Callable[[], object]) -> None:
    """The inner end: until it is told to leave, or nobody is there any more."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with Listener(sys.argv[1]) as listener, listener.accept() as pipe, suppress(EOFError):
        while (word := pipe.recv()) != "leave":
            pipe.send(start() if word == "start" else end())


def wait_for_greetings(addresses: Iterable[Address], count: int) -> float:
    """Until so many of these addresses greet as SSH servers do; the moment at which the last of them did."""
    return asyncio.run(asyncio.wait_for(_greetings(list(addresses), count), _LONGEST))


async def _greetings(addresses: list[Address], count: int) -> float:
    began = time.monotonic()
    looking = [asyncio.ensure_future(_greets(address, began)) for address in addresses]
    for number, each in enumerate(asyncio.as_completed(looking), 1):
        await each
        if number == count:
            break
    for task in looking:
        task.cancel()
    return time.monotonic()


async def _greets(address: Address, began: float) -> None:
    while True:
        patience = max(_PATIENCE, _GROWTH * (time.monotonic() - began))
        with suppress(OSError, TimeoutError, asyncio.TimeoutError):
            if await asyncio.wait_for(_first_word(address), patience) == b"SSH-":
                return
        await asyncio.sleep(_PAUSE)


async def _first_word(address: Address) -> bytes:
    reader, writer = await asyncio.open_connection(*address)
    try:
        return await reader.read(4)
    finally:
        writer.close()

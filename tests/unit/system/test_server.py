"""A server that sleeps while nothing happens ends as soon as a signal says so."""

import asyncio
import signal

import uvicorn

from slap.system.serving import server
from slap.system.serving.server import Server


async def nothing(*_: object) -> None:
    """An application."""


async def end_by(number: int, is_started: bool) -> None:
    config = uvicorn.Config(nothing, log_config=None)
    config.load()
    sleeping = Server(config)
    if not is_started:
        sleeping.handle_exit(number, None)
    loop = asyncio.create_task(sleeping.main_loop())
    await asyncio.sleep(0)
    if is_started:
        sleeping.handle_exit(number, None)
    await asyncio.wait_for(loop, server._TICK_SECONDS / 2)


def test_a_signal_wakes_a_server_that_sleeps() -> None:
    asyncio.run(end_by(signal.SIGTERM, is_started=True))


def test_a_server_ends_that_was_told_to_before_it_slept() -> None:
    asyncio.run(end_by(signal.SIGINT, is_started=False))

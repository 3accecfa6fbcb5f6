"""uvicorn's server without its clock: it wakes once a second, and at once when it is to end."""

import asyncio
from types import FrameType

import uvicorn

_TICK_SECONDS = 1.0


class Server(uvicorn.Server):
    """uvicorn looks ten times a second whether it is to end, which is most of what a server at rest costs."""

    _loop: asyncio.AbstractEventLoop | None = None
    _is_ending: asyncio.Event

    async def main_loop(self) -> None:
        self._is_ending = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        waiting = self._loop.create_task(self._is_ending.wait())
        while not await self.on_tick(0):
            await asyncio.wait((waiting,), timeout=_TICK_SECONDS)
        waiting.cancel()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        if self._loop:
            self._loop.call_soon_threadsafe(self._is_ending.set)

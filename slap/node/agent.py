"""The agent: repeats passes when the master, supervisord or the clock says so."""

import logging
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from slap.model.errors import Conflict, SlapError, Unauthenticated
from slap.node.node import Node
from slap.node.partition.cron import Cron
from slap.node.partition.supervision import ensure_running
from slap.system import environment, files
from slap.system.processes import parent_is, wait_for_end
from slap.system.supervisor import listen

log = logging.getLogger(__name__)

# How long the master may hold a question of ours before it answers that nothing changed.
_LONG_POLL = 50.0
_LONGEST_BACKOFF = 5.0
_GLANCE = 2.0
_MOMENT = 0.1
# Sent by a pass that was asked for by hand, while an agent runs: everything is looked at again.
EVERYTHING = "*"


class Agent:
    """Runs until `stop`. Services are not its children: they go on without it.

    It is made to be killed at any line, so whoever ends it need not wait for its threads.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._stopped = threading.Event()
        self._cron = Cron(node.store, node.partitions, node.runner, node.clock)

    def run(self) -> None:
        """Work until `stop`; raises Conflict when another agent of this node runs."""
        with only_agent(self._node), listen(self._node.config.events, self._hear):
            if not parent_is("supervisord"):
                ensure_running(self._node.config, self._node.supervisor)
            self._node.builder.warm_up()
            self._node.reporter.requeue_unreported()
            self._node.scheduler.touch(self._node.all_keys())
            self._keep_up(
                self._node.scheduler.run,
                self._node.reporter.run,
                self._cron.run,
                self._node.usage.run,
                self._node.limits.run,
                self._node.cache.uploads.run,
                self._guard_supervisord,
                self._follow_master,
            )

    def stop(self) -> None:
        self._stopped.set()
        self._cron.stop()
        self._node.usage.stop()
        self._node.limits.stop()
        self._node.cache.uploads.stop()

    def _keep_up(self, *loops: Callable[[], None]) -> None:
        """Run each loop in a thread, and restart a loop that ends by an unexpected error."""
        threads = {loop: _begin(loop) for loop in loops}
        while not self._stopped.wait(_GLANCE):
            for loop in [loop for loop, thread in threads.items() if not thread.is_alive()]:
                log.error("%s broke off, as stderr explains; it begins anew.", threads[loop].name)
                threads[loop] = _begin(loop)

    def _follow_master(self) -> None:
        failures = 0
        while not self._stopped.is_set():
            try:
                self._node.scheduler.touch(self._node.synchronize(_LONG_POLL))
                failures = 0
            except SlapError as error:
                failures += 1
                log.warning("%s Services go on; asking again.", _in_words(error))
                self._stopped.wait(_backoff(failures))

    def _hear(self, group: str, process: str, event: str) -> None:
        self._node.news.tell(group)
        if group == EVERYTHING:
            self._node.scheduler.touch(self._node.all_keys())
        elif event in _TELLING:
            self._node.touch_partition(group)

    def _guard_supervisord(self) -> None:
        """Restart supervisord when it dies. If it had started this agent, the new one starts another agent."""
        while not self._stopped.is_set():
            try:
                pid = self._node.supervisor.pid()
                if _is_supervised() and not parent_is("supervisord"):
                    self.stop()
                elif wait_for_end(pid, 3600):
                    log.error("supervisord died")
            except SlapError as error:
                if parent_is("supervisord"):  # it is about to end, and to end us first
                    self._stopped.wait(_MOMENT)
                    continue
                log.error("%s", error)
            if not self._stopped.is_set():
                self._start_supervisord_again()

    def _start_supervisord_again(self) -> None:
        try:
            ensure_running(self._node.config, self._node.supervisor)
        except (SlapError, OSError) as error:
            log.error("%s", error)
            self._stopped.wait(1)
            return
        self._node.scheduler.touch(self._node.all_keys())


def _begin(loop: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=loop, name=getattr(loop, "__qualname__", "loop"), daemon=True)
    thread.start()
    return thread


@contextmanager
def only_agent(node: Node) -> Iterator[None]:
    """Hold the lock of the node's only agent; under supervisord, wait for the previous agent to end."""
    with files.exclusive(node.config.run / "agent.lock", wait=_is_supervised()) as got:
        if not got:
            raise Conflict(
                "An agent of this node runs already.",
                f"It holds {node.config.run}/agent.lock.",
                "It does by itself what is to be done: look with `slapos node status`.",
            )
        yield


# What may change a verdict; STARTING and the like are on the way to one of these.
_TELLING = frozenset(
    f"ProcessState{name}Event" for name in ("Running", "Backoff", "Exited", "Fatal", "Stopped", "Unknown")
) | {"ProcessSuspensionEvent"}


def _in_words(error: SlapError) -> str:
    """The error as one line. Only Unauthenticated needs somebody to act, so only it is explained."""
    return str(error) if isinstance(error, Unauthenticated) else error.brief


def _is_supervised() -> bool:
    return environment.variable("SUPERVISOR_ENABLED") != ""


def _backoff(failures: int) -> float:
    """Seconds until the next try: they grow, and are random, so that nodes do not return all at once."""
    longest: float = min(_LONGEST_BACKOFF, 0.2 * 2 ** min(failures, 10))
    return longest * random.uniform(0.5, 1.0)

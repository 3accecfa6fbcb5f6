"""nftables: scripts that take effect as a whole or not at all."""

from dataclasses import dataclass

from slap.system import environment
from slap.system.process import Command, Completed, Runner

_ENV = {"PATH": environment.CLEAN_PATH}
_PATIENCE = 30  # seconds


@dataclass(frozen=True)
class Nftables:
    """The rules of one kernel, by its `nft`."""

    runner: Runner

    def is_there(self) -> bool:
        return environment.find_program("nft") != ""

    def apply(self, script: str) -> None:
        """One transaction. Raises CommandFailed, and NotFound without nft."""
        argv = (environment.program("nft", "nftables"), "-f", "-")
        self.runner.run(Command(argv, env=_ENV, stdin=script, timeout=_PATIENCE)).check()

    def chain(self, table: str, name: str) -> str:
        """The rules of a chain; empty when there is none."""
        answer = self._ask("list", "chain", "inet", table, name)
        return answer.stdout if answer.status == 0 else ""

    def forget(self, table: str) -> None:
        """Remove a table with all that is in it; what is not there is made first, for only that can be deleted."""
        self.apply(f"add table inet {table}\ndelete table inet {table}\n")

    def _ask(self, *words: str) -> Completed:
        nft = environment.find_program("nft")
        return (
            self.runner.run(Command((nft, *words), env=_ENV, timeout=_PATIENCE)) if nft else Completed(Command(()), 1)
        )

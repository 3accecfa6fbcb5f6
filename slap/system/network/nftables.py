"""nftables: scripts that take effect as a whole or not at all."""

from dataclasses import dataclass

from slap.system import environment
from slap.system.process import Command, Runner

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
        """The rules of a chain; empty when there is none. nft looks at all rules of the table for that."""
        return self._listed("chain", table, name)

    def set(self, table: str, name: str) -> str:
        """The elements of a set; empty when there is none."""
        return self._listed("set", table, name)

    def forget(self, table: str) -> None:
        """Remove what has this name, with all that is in it: of bridges too, where the kernel has rules for them."""
        self.apply(f"add table inet {table}\ndelete table inet {table}\n")
        argv = (environment.program("nft", "nftables"), "list", "table", "bridge", table)
        if self.runner.run(Command(argv, env=_ENV, timeout=_PATIENCE)).status == 0:
            self.apply(f"delete table bridge {table}\n")

    def _listed(self, kind: str, table: str, name: str) -> str:
        nft = environment.find_program("nft")
        if not nft:
            return ""
        answer = self.runner.run(Command((nft, "list", kind, "inet", table, name), env=_ENV, timeout=_PATIENCE))
        return answer.stdout if answer.status == 0 else ""

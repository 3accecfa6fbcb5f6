"""How often a master that cannot hold a question is asked again."""

from dataclasses import dataclass

from slap.system.clock import Clock

# A master is busy with us for at most this part of its time.
_SHARE = 1 / 30


@dataclass
class PollInterval:
    """Soon after something changed, then more and more rarely; and the more rarely, the longer the answer takes."""

    clock: Clock
    shortest: float
    longest: float
    idle: float = 0.0

    def quicken(self) -> None:
        """Something changed: more is likely to change soon."""
        self.idle = 0.0

    def rest(self, took: float, left: float) -> bool:
        """Wait until it is time to ask again, for at most `left` seconds; false when there is no time left."""
        if left <= 0:
            return False
        self.idle = min(self.longest, self.idle * 1.5 or self.shortest)
        self.clock.sleep(min(left, max(self.idle, took / _SHARE)))
        return True

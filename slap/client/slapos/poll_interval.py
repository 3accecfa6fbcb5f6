"""Interval between polls of a master that has no long polling."""

from dataclasses import dataclass

from slap.system.clock import Clock

# A master is busy with us for at most this part of its time.
_SHARE = 1 / 30


@dataclass
class PollInterval:
    """Grows from `shortest` to `longest` seconds while nothing changes, and with the duration of the answers."""

    clock: Clock
    shortest: float
    longest: float
    idle: float = 0.0

    def quicken(self) -> None:
        """Reset the interval after a change, since more changes are likely."""
        self.idle = 0.0

    def rest(self, took: float, left: float) -> bool:
        """Sleep until the next poll, at most `left` seconds; return False when no time is left."""
        if left <= 0:
            return False
        self.idle = min(self.longest, self.idle * 1.5 or self.shortest)
        self.clock.sleep(min(left, max(self.idle, took / _SHARE)))
        return True

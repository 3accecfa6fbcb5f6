"""How long to wait after failures: the first retry comes soon, the later ones do not hammer."""

SHORTEST = 2.0  # seconds
LONGEST = 3600.0  # seconds


def delay(failures: int) -> float:
    """Seconds until the next try after so many failures in a row."""
    return min(LONGEST, SHORTEST * float(2 ** min(max(failures - 1, 0), 20)))

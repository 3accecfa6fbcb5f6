"""The real clock and the fake one keep the same promises."""

from datetime import timedelta

import pytest

from slap.system.clock import Clock, FakeClock, SystemClock


@pytest.fixture(params=[SystemClock, FakeClock])
def clock(request: pytest.FixtureRequest) -> Clock:
    made: Clock = request.param()
    return made


def test_sleeping_moves_both_times_by_as_much(clock: Clock) -> None:
    now, monotonic = clock.now(), clock.monotonic()
    clock.sleep(0.05)
    assert clock.now() - now >= timedelta(seconds=0.049)
    assert clock.monotonic() - monotonic >= 0.05


def test_times_for_people_name_their_zone(clock: Clock) -> None:
    assert clock.now().utcoffset() == timedelta(0)


def test_time_never_goes_back(clock: Clock) -> None:
    times = [clock.monotonic() for _ in range(100)]
    assert times == sorted(times)

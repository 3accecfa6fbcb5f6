"""The agent outlives what goes wrong in one of its loops, and there is one of it."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from slap.model.errors import Conflict
from slap.node.agent import EVERYTHING, Agent, _backoff, only_agent
from slap.node.node import Key, Kind, Node
from tests.unit.node.things import PART, URL, a_config, a_supply, an_instance, wants


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(a_config(tmp_path))


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_loop_that_breaks_off_begins_anew(node: Node) -> None:
    def breaks() -> None:
        begun.append("breaks")
        raise KeyError("what nobody thought of")

    def works() -> None:
        begun.append("works")
        ended.wait(10)

    begun: list[str] = []
    ended = threading.Event()
    agent = Agent(node)
    thread = threading.Thread(target=agent._keep_up, args=(breaks, works))
    thread.start()
    until(lambda: begun.count("breaks") > 1)
    assert begun.count("works") == 1
    agent.stop()
    ended.set()
    thread.join(10)
    assert not thread.is_alive()


def test_there_is_one_agent(node: Node) -> None:
    with only_agent(node), pytest.raises(Conflict, match="runs already"), only_agent(node):
        pass


@pytest.mark.parametrize(
    ("news", "touched"),
    [
        ((PART, "web", "ProcessStateExitedEvent"), {Key(Kind.INSTANCE, PART)}),
        ((PART, "web", "ProcessStateStartingEvent"), set()),
        ((EVERYTHING, "pass", "asked"), {Key(Kind.INSTANCE, PART), Key(Kind.SOFTWARE, URL)}),
    ],
)
def test_news_have_a_partition_looked_at(node: Node, news: tuple[str, str, str], touched: set[Key]) -> None:
    wants(node.store, an_instance(), a_supply())
    Agent(node)._hear(*news)
    assert node.scheduler._restless == touched
    assert node.news.count(news[0]) == 1


def test_waits_grow_and_differ() -> None:
    waits = [[_backoff(failures) for _ in range(20)] for failures in (1, 3, 1000)]
    assert max(waits[0]) < min(waits[1]) < max(waits[2]) <= 5
    assert all(len(set(each)) > 10 for each in waits)


def test_a_new_token_is_used_at_once(node: Node) -> None:
    node.config.token_file.write_text("one\n")
    first = node.master()
    assert node.master() is first
    node.config.token_file.write_text("two\n")
    assert node.master() is not first
    assert node.master()._native._headers["Authorization"] == "Bearer two"  # type: ignore[attr-defined]

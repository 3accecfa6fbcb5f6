"""Who waits for what: topics of which there is news, and those who subscribed to them."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextlib import ExitStack, suppress
from typing import TypeVar

Answer = TypeVar("Answer")

# Nobody waits longer than this in one request, so that a dead client is forgotten and proxies stay patient.
LONGEST_WAIT = 60.0


# Credentials were revoked, or may have been: other processes write to the database too.
REVOCATION = "revocation"


def computer_topic(guid: str) -> str:
    return f"computer:{guid}"


def tree_topic(root: str) -> str:
    return f"tree:{root}"


def answer_topic(child: str) -> str:
    return f"answer:{child}"


def log_topic(request: str) -> str:
    return f"log:{request}"


class Subscription:
    """Interest in the news of a topic. News that come before `call_at_news` are not missed."""

    __slots__ = ("_has_news", "_hub", "_on_news", "topic")

    def __init__(self, hub: "Hub", topic: str) -> None:
        self._hub = hub
        self.topic = topic
        self._on_news: Callable[[], None] | None = None
        self._has_news = False

    def call_at_news(self, on_news: Callable[[], None]) -> None:
        """Call this at each news, at once when there has been some."""
        self._on_news = on_news
        if self._has_news:
            on_news()

    def wake(self) -> None:
        self._has_news = True
        if self._on_news:
            self._on_news()

    def close(self) -> None:
        self._hub.unsubscribe(self)
        self._on_news = None


class NothingNew(Exception):
    """There is nothing to answer yet, and time left to wait. `subscription` began before that was read."""

    def __init__(self, subscription: Subscription) -> None:
        super().__init__(subscription.topic)
        self.subscription = subscription


class Hub:
    """Topics and their subscriptions. All methods belong to the event loop's thread."""

    def __init__(self) -> None:
        self._subscriptions: dict[str, set[Subscription]] = {}
        self._is_over = False

    def wake(self, topics: Collection[str]) -> None:
        if REVOCATION in topics:  # first those who know callers; then all that wait are asked again who they are
            topics = (REVOCATION, *self._subscriptions)
        for topic in topics:
            for subscription in tuple(self._subscriptions.get(topic, ())):
                subscription.wake()

    def wake_all(self) -> None:
        """For when news may have been missed."""
        self.wake((REVOCATION,))

    def end(self) -> None:
        """The process is about to end: nobody is kept waiting any more."""
        self._is_over = True
        self.wake_all()

    def subscribe(self, topic: str) -> Subscription:
        subscription = Subscription(self, topic)
        self._subscriptions.setdefault(topic, set()).add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        others = self._subscriptions.get(subscription.topic, set())
        others.discard(subscription)
        if not others:
            self._subscriptions.pop(subscription.topic, None)

    async def poll(self, topic: str, wait: float, read: Callable[[], Awaitable[tuple[bool, Answer]]]) -> Answer:
        """What `read` finds when that is new (which it says) or when there is no time left to wait for news.

        Raises NothingNew otherwise. The subscription is there before the read: no news falls in between.
        """
        if wait <= 0:
            return (await read())[1]
        with ExitStack() as stack:
            subscription = self.subscribe(topic)
            stack.callback(subscription.close)
            is_new, answer = await read()
            if is_new or self._is_over:
                return answer
            stack.pop_all()
            raise NothingNew(subscription)

    async def wait_for(self, topic: str, wait: float, read: Callable[[], Awaitable[tuple[bool, Answer]]]) -> Answer:
        """Read at once and again at each news of the topic, until there is something new or the time is over."""
        end = asyncio.get_running_loop().time() + min(wait, LONGEST_WAIT)
        event = asyncio.Event()
        subscription = self.subscribe(topic)
        subscription.call_at_news(event.set)
        try:
            while True:
                is_new, answer = await read()
                if is_new or self._is_over or not await _is_woken(event, end):
                    return answer
        finally:
            subscription.close()


async def _is_woken(event: asyncio.Event, end: float) -> bool:
    """Whether news came before the end; nothing is waited for when the end has passed."""
    if end > asyncio.get_running_loop().time():
        with suppress(TimeoutError):
            async with asyncio.timeout_at(end):
                await event.wait()
    was_set = event.is_set()
    event.clear()
    return was_set

"""Who calls: tokens of users, computers and partitions, and what each may touch.

Tokens of users and computers are random and stored as SHA-256 only. A partition's token is derived from its instance's
guid by a secret of this master, so that it can be handed out with every desired state without being stored.
"""

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, bindparam, insert, select, text, update

from slap.master.database.store import Store, Transaction
from slap.master.database.tables import computer, instance, is_living, setting, token
from slap.master.database.text import now
from slap.model.errors import Forbidden, Unauthenticated

# How long another process may go on accepting a token that was revoked.
_REMEMBERED = 2.0
_MOST_REMEMBERED = 20_000
_PARTITION = "partition"


class CallerKind(StrEnum):
    USER = "user"
    COMPUTER = "computer"
    PARTITION = "partition"


@dataclass(frozen=True)
class Caller:
    """Who calls. `owner` is the user on whose computers it may place instances; `root` is the tree of a partition."""

    kind: CallerKind
    subject: str  # the name of a user, the guid of a computer or of an instance
    owner: str
    root: str = ""

    @property
    def requester(self) -> str:
        """By which an instance that this caller requests is named, together with its reference."""
        return f"user:{self.subject}" if self.kind is CallerKind.USER else self.subject

    def must_be(self, *kinds: CallerKind) -> None:
        if self.kind not in kinds:
            raise Forbidden(
                f"This is not for the token of a {self.kind}.",
                f"It takes the token of a {' or '.join(kinds)}.",
            )

    def may_see_computer(self, guid: str, owner: str) -> bool:
        return self.subject == guid if self.kind is CallerKind.COMPUTER else self._is_user(owner)

    def may_see_tree(self, root: str, owner: str) -> bool:
        return self.root == root if self.kind is CallerKind.PARTITION else self._is_user(owner)

    def _is_user(self, name: str) -> bool:
        return self.kind is CallerKind.USER and self.subject == name


class Guard:
    """Tells callers by their tokens, remembering them for a moment."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._secret = b""
        self._known: dict[str, tuple[float, Caller]] = {}

    async def caller(self, authorization: str) -> Caller:
        """The caller of a request by its Authorization header; raises Unauthenticated."""
        known = self._known.get(authorization)
        if known and known[0] > time.monotonic():
            return known[1]
        caller = await self._look_up(authorization.removeprefix("Bearer "))
        if len(self._known) > _MOST_REMEMBERED:
            self._known.clear()
        self._known[authorization] = (time.monotonic() + _REMEMBERED, caller)
        return caller

    def forget(self) -> None:
        """A token of this process was revoked."""
        self._known.clear()

    async def partition_token(self, guid: str) -> str:
        return token_of_partition(await self.secret(), guid)

    async def secret(self) -> bytes:
        """By which the tokens of partitions are derived; made on first use and never changed."""
        if not self._secret:
            self._secret = (await self._store.write(_secret)).encode()
        return self._secret

    async def _look_up(self, words: str) -> Caller:
        kind, _, rest = words.partition(":")
        if kind == _PARTITION:
            guid = rest.partition(":")[0]
            genuine = hmac.compare_digest(token_of_partition(await self.secret(), guid).encode(), words.encode())
            caller = await self._store.read(lambda c: _partition(c, guid)) if genuine else None
        else:
            caller = await self._store.read(lambda c: _known_caller(c, _digest(words)))
        if caller is None:
            raise Unauthenticated(
                "The master does not know this token.",
                "It is missing, misspelt or revoked, or the instance that it was for is gone.",
                "Users: slapos configure client. Nodes: slapos node register --replace.",
            )
        return caller


def token_of_partition(secret: bytes, guid: str) -> str:
    return f"{_PARTITION}:{guid}:{hmac.new(secret, guid.encode(), 'sha256').hexdigest()}"


def issue_token(connection: Connection, kind: CallerKind, subject: str) -> str:
    """A new token; its secret is returned and not stored."""
    words = f"{kind}:{secrets.token_urlsafe(32)}"
    row = {"digest": _digest(words), "kind": kind, "subject": subject, "created_at": now()}
    connection.execute(insert(token), row)
    return words


def revoke_tokens(connection: Connection, kind: CallerKind, subject: str) -> None:
    revoked = update(token).where(token.c.kind == kind, token.c.subject == subject, token.c.revoked_at.is_(None))
    connection.execute(revoked.values(revoked_at=now()))


def _digest(words: str) -> str:
    return hashlib.sha256(words.encode()).hexdigest()


_CALLER = (
    select(token.c.kind, token.c.subject, computer.c.owner)
    .join_from(token, computer, computer.c.guid == token.c.subject, isouter=True)
    .where(token.c.digest == bindparam("digest"), token.c.revoked_at.is_(None))
)
_LIVING = select(instance.c.owner, instance.c.root).where(instance.c.guid == bindparam("guid"), is_living)


def _known_caller(connection: Connection, digest: str) -> Caller | None:
    row = connection.execute(_CALLER, {"digest": digest}).first()
    if row is None:
        return None
    kind = CallerKind(row.kind)
    return Caller(kind, row.subject, row.owner if kind is CallerKind.COMPUTER else row.subject)


def _partition(connection: Connection, guid: str) -> Caller | None:
    row = connection.execute(_LIVING, {"guid": guid}).first()
    return row and Caller(CallerKind.PARTITION, guid, row.owner, row.root)


def _secret(transaction: Transaction) -> str:
    by_name = select(setting.c.value).where(setting.c.name == "partition-secret")
    found = transaction.connection.execute(by_name).scalar()
    if found:
        return str(found)
    # Another process may make one at the same moment: the first that is stored counts.
    transaction.connection.execute(_KEEP_FIRST, {"name": "partition-secret", "value": secrets.token_hex(32)})
    return str(transaction.connection.execute(by_name).scalar_one())


_KEEP_FIRST = text("INSERT INTO setting (name, value) VALUES (:name, :value) ON CONFLICT (name) DO NOTHING")

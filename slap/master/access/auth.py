"""Who calls, by token, certificate or being on this machine, and what each may touch.

Tokens of users and computers are random and stored as SHA-256 only. A partition's token is derived from its instance's
guid by a secret of this master, so that it can be handed out with every desired state without being stored. A caller
with a certificate is who the certificate was issued for, by its serial; what is written in it is for people.
"""

import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from sqlalchemy import Connection, bindparam, insert, select, text, update

from slap.master.access.request_credentials import Knock
from slap.master.access.settings import AccessSettings
from slap.master.database.hub import REVOCATION
from slap.master.database.store import Store, Transaction
from slap.master.database.tables import certificate, computer, instance, is_living, setting, token
from slap.master.database.text import now
from slap.model.errors import Forbidden, Unauthenticated
from slap.system.trust.peer import home_name

# How long another process may go on accepting a token that was revoked.
_REMEMBERED = 2.0
_MOST_REMEMBERED = 20_000
_PARTITION = "partition"
_CREDENTIALS = "Users: slapos configure client. Nodes: slapos node register --replace."


class CallerKind(StrEnum):
    USER = "user"
    COMPUTER = "computer"
    PARTITION = "partition"
    NEIGHBOUR = "local program"  # of a partition's Unix user; it may only become the instance in its partition


@dataclass(frozen=True)
class Caller:
    """Who calls. `owner` is the user on whose computers it may place instances; `root` is the tree of a partition.

    `is_local`: it showed no credentials, and is known by its Unix user. It may then speak for the computers of its user,
    as nodes do at slapproxy. `credential` is the digest of its token, the serial of its certificate, or, of a
    partition's token, the epoch of its computer; empty for a caller without credentials.
    """

    kind: CallerKind
    subject: str  # the name of a user, the guid of a computer or of an instance; of a neighbour the partition's name
    owner: str
    root: str = ""
    is_local: bool = False
    credential: str = field(default="", compare=False)

    @property
    def requester(self) -> str:
        """By which an instance that this caller requests is named, together with its reference."""
        return f"user:{self.subject}" if self.kind is CallerKind.USER else self.subject

    def must_be(self, *kinds: CallerKind) -> None:
        if self.kind not in kinds:
            raise Forbidden(
                f"This is not for the credentials of a {self.kind}.",
                f"It takes those of a {' or '.join(kinds)}.",
            )

    def may_see_computer(self, guid: str, owner: str) -> bool:
        return self.subject == guid if self.kind is CallerKind.COMPUTER else self._is_user(owner)

    def may_see_tree(self, root: str, owner: str) -> bool:
        return self.root == root if self.kind is CallerKind.PARTITION else self._is_user(owner)

    def _is_user(self, name: str) -> bool:
        return self.kind is CallerKind.USER and self.subject == name


class Guard:
    """Tells callers, remembering for a moment those with tokens and certificates."""

    def __init__(self, store: Store, settings: AccessSettings | None = None) -> None:
        self._store = store
        self._settings = settings or AccessSettings()
        self._secret = b""
        self._secret_expires_at = 0.0
        self._known: dict[str, tuple[float, Caller]] = {}
        store.hub.subscribe(REVOCATION).call_at_news(self.forget)

    async def caller(self, authorization: str) -> Caller:
        """The caller of a request by its Authorization header; raises Unauthenticated."""
        known = self._known.get(authorization)
        if known and known[0] > time.monotonic():
            return known[1]
        return await self._remember(authorization, self._look_up(authorization.removeprefix("Bearer ")))

    async def admit(self, knock: Knock, for_partition: bool = False) -> Caller:
        """The caller by whatever a request shows: a token, else a certificate, else that it comes from this machine.

        With `for_partition`, that may be a neighbour.
        """
        if knock.token:
            return await self.caller(f"Bearer {knock.token}")
        if knock.serial:
            return await self.by_certificate(knock.serial)
        if self._settings.open_to_this_machine and knock.is_direct:
            return self._local(knock.user(), for_partition)
        raise Unauthenticated(
            "This request carries neither a token nor a certificate.",
            "The master does not know who calls.",
            _CREDENTIALS,
        )

    def is_own_user(self, knock: Knock) -> bool:
        """Whether a request comes from a program of this machine that runs as this process's user, or as root.

        Only a master that is open to this machine believes that; others may have a proxy there that hands on requests.
        """
        return self._settings.open_to_this_machine and knock.is_direct and knock.user() in (0, os.geteuid())

    async def by_certificate(self, serial: str) -> Caller:
        """The caller with the certificate of this serial, which TLS has verified to be of our own authority."""
        key = f"certificate {serial}"  # as no header begins
        known = self._known.get(key)
        if known and known[0] > time.monotonic():
            return known[1]
        return await self._remember(key, self._store.read(lambda connection: _holder(connection, serial)))

    def forget(self) -> None:
        """A token or a certificate was revoked, or a secret was rotated, in this process or another one."""
        self._known = {}
        self._secret_expires_at = 0.0

    async def check_in_force(self, caller: Caller) -> None:
        """Raise Unauthenticated when the credential of a caller was revoked since it called."""
        if caller.credential and not await self._store.read(lambda connection: _is_in_force(connection, caller)):
            raise Unauthenticated("The credentials of this caller were revoked.", caller.subject, _CREDENTIALS)

    async def secret(self) -> bytes:
        """By which the tokens of partitions are derived; made on first use, and read again soon: operators rotate it."""
        if time.monotonic() >= self._secret_expires_at:
            found = await self._store.read(load_partition_secret) or await self._store.write(_secret)
            self._secret, self._secret_expires_at = found.encode(), time.monotonic() + _REMEMBERED
        return self._secret

    async def _is_genuine(self, words: str, guid: str, epoch: str) -> bool:
        """Whether this is the token of a partition, by the secret in memory or, where that does not fit, in the database."""
        if _is_same(words, token_of_partition(await self.secret(), guid, epoch)):
            return True
        self._secret_expires_at = 0.0
        return _is_same(words, token_of_partition(await self.secret(), guid, epoch))

    async def _remember(self, key: str, looked_up: Awaitable[Caller]) -> Caller:
        known = self._known
        caller = await looked_up
        # What was read before a revocation goes into what was forgotten by it.
        if len(known) > _MOST_REMEMBERED:
            known.clear()
        known[key] = (time.monotonic() + _REMEMBERED, caller)
        return caller

    def _local(self, user: int | None, for_partition: bool) -> Caller:
        """Who calls without credentials from this machine, by the Unix user that the kernel says it is."""
        if user in (0, os.geteuid()):
            name = self._settings.administrator
            return Caller(CallerKind.USER, name, name, is_local=True)
        home = home_name(user) if user is not None and for_partition else ""
        if home:
            return Caller(CallerKind.NEIGHBOUR, home, self._settings.administrator)
        raise Unauthenticated(
            "This master takes requests without credentials only from the user that runs it.",
            "The request comes from another user of this machine.",
            _CREDENTIALS,
        )

    async def _look_up(self, words: str) -> Caller:
        kind, _, rest = words.partition(":")
        if kind == _PARTITION:
            guid = rest.partition(":")[0]
            found = await self._store.read(lambda c: _partition(c, guid))
            caller = found if await self._is_genuine(words, guid, found.credential if found else "") else None
        else:
            caller = await self._store.read(lambda c: _known_caller(c, digest_of(words)))
        if caller is None:
            raise Unauthenticated(
                "The master does not know this token.",
                "It is missing, misspelt or revoked, or the instance that it was for is gone.",
                _CREDENTIALS,
            )
        return caller


def _is_same(shown: str, genuine: str) -> bool:
    return hmac.compare_digest(shown.encode(), genuine.encode())


def token_of_partition(secret: bytes, guid: str, epoch: str) -> str:
    """The token of an instance while its computer's credentials are of this epoch, "0" until some were revoked."""
    named = guid if epoch == "0" else f"{guid} {epoch}"
    return f"{_PARTITION}:{guid}:{hmac.new(secret, named.encode(), 'sha256').hexdigest()}"


def issue_token(connection: Connection, kind: CallerKind, subject: str, made_by: str = "") -> str:
    """A new token; its secret is returned and not stored. `made_by` is the credential of the caller who asked for it."""
    words = f"{kind}:{secrets.token_urlsafe(32)}"
    row = {"digest": digest_of(words), "kind": kind, "subject": subject, "created_at": now(), "made_by": made_by}
    connection.execute(insert(token), row)
    return words


def revoke_tokens(connection: Connection, kind: CallerKind, subject: str) -> int:
    """End all tokens of a user or a computer; returns how many there were."""
    revoked = update(token).where(token.c.kind == kind, token.c.subject == subject, token.c.revoked_at.is_(None))
    return connection.execute(revoked.values(revoked_at=now())).rowcount


def digest_of(words: str) -> str:
    """What is stored of a secret."""
    return hashlib.sha256(words.encode()).hexdigest()


_CALLER = (
    select(token.c.digest, token.c.kind, token.c.subject, computer.c.owner)
    .join_from(token, computer, computer.c.guid == token.c.subject, isouter=True)
    .where(token.c.digest == bindparam("digest"), token.c.revoked_at.is_(None))
)
_LIVING = (
    select(instance.c.owner, instance.c.root, computer.c.epoch)
    .join_from(instance, computer, computer.c.guid == instance.c.computer)
    .where(instance.c.guid == bindparam("guid"), is_living)
)


def _known_caller(connection: Connection, digest: str) -> Caller | None:
    row = connection.execute(_CALLER, {"digest": digest}).first()
    if row is None:
        return None
    kind = CallerKind(row.kind)
    owner = row.owner if kind is CallerKind.COMPUTER else row.subject
    return Caller(kind, row.subject, owner, credential=row.digest)


_HOLDER = (
    select(
        certificate.c.serial,
        certificate.c.kind,
        certificate.c.subject,
        certificate.c.expires_at,
        certificate.c.revoked_at,
        computer.c.owner,
    )
    .join_from(certificate, computer, computer.c.guid == certificate.c.subject, isouter=True)
    .where(certificate.c.serial == bindparam("serial"))
)


def _holder(connection: Connection, serial: str) -> Caller:
    """Whom a certificate is for; raises Unauthenticated for one that is no longer in force."""
    row = connection.execute(_HOLDER, {"serial": serial}).first()
    if row is None:
        raise _not_in_force("The master does not know this certificate.", "It was not issued on this database.")
    if row.revoked_at:
        raise _not_in_force("This certificate was revoked.", f"That was at {row.revoked_at}.")
    if row.expires_at < now():
        raise _not_in_force("This certificate has expired.", f"That was at {row.expires_at}.")
    kind = CallerKind(row.kind)
    if kind is not CallerKind.PARTITION:
        owner = row.owner if kind is CallerKind.COMPUTER else row.subject
        return Caller(kind, row.subject, owner, credential=row.serial)
    caller = _partition(connection, row.subject)
    if caller is None:
        raise _not_in_force("The instance that this certificate was for is gone.", row.subject)
    return replace(caller, credential=row.serial)


def _is_in_force(connection: Connection, caller: Caller) -> bool:
    """Whether the credential that a caller showed before still is one."""
    by_token = select(token.c.digest).where(token.c.digest == caller.credential, token.c.revoked_at.is_(None))
    by_certificate = select(certificate.c.serial).where(
        certificate.c.serial == caller.credential, certificate.c.revoked_at.is_(None), certificate.c.expires_at > now()
    )
    if any(connection.execute(query).first() for query in (by_token, by_certificate)):
        return True
    found = _partition(connection, caller.subject) if caller.kind is CallerKind.PARTITION else None
    return found is not None and found.credential == caller.credential


def _not_in_force(brief: str, details: str) -> Unauthenticated:
    return Unauthenticated(brief, details, _NEW_CERTIFICATE)


_NEW_CERTIFICATE = (
    "Nodes: have a user type `slapos computer token COMPUTER`, then on the node "
    "`slapos node register NAME --token-file FILE`. Users: ask who runs the master for `slapos master user`."
)


def _partition(connection: Connection, guid: str) -> Caller | None:
    row = connection.execute(_LIVING, {"guid": guid}).first()
    return row and Caller(CallerKind.PARTITION, guid, row.owner, row.root, credential=str(row.epoch))


def _secret(transaction: Transaction) -> str:
    # Another process may make one at the same moment: the first that is stored counts.
    transaction.connection.execute(_KEEP_FIRST, {"name": PARTITION_SECRET, "value": secrets.token_hex(32)})
    return load_partition_secret(transaction.connection)


def load_partition_secret(connection: Connection) -> str:
    """The secret of partitions' tokens; empty before its first use."""
    return str(connection.execute(_SECRET).scalar() or "")


PARTITION_SECRET = "partition-secret"  # the name of the setting
_SECRET = select(setting.c.value).where(setting.c.name == PARTITION_SECRET)


_KEEP_FIRST = text("INSERT INTO setting (name, value) VALUES (:name, :value) ON CONFLICT (name) DO NOTHING")

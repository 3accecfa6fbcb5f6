"""Registration of nodes by one-time tokens: a user makes one, and the node that it is for uses it once."""

import secrets
from datetime import UTC, datetime, timedelta

from cryptography import x509
from sqlalchemy import ColumnElement, bindparam, delete, insert, select, update

from slap.master.access.auth import Caller, CallerKind, Guard, digest_of, revoke_tokens
from slap.master.access.authority import CertificateAuthority, in_pem, key_in_pem, new_key
from slap.master.access.certificate_table import Holder, in_text
from slap.master.access.csr import PublicKey, public_key_of
from slap.master.computer import find, register_in
from slap.master.database.quota import Quota
from slap.master.database.store import Store, Transaction
from slap.master.database.tables import AnyRow, registration
from slap.master.database.text import now
from slap.master.service.certificate import Certificates, signed
from slap.model.certificate import (
    KeyPair,
    NodeRegistration,
    RegisteredNode,
    RegistrationToken,
    RegistrationTokenRequest,
    token_words,
)
from slap.model.computer import ComputerRegistration, RegisteredComputer
from slap.model.errors import Conflict, Forbidden

# What a node of SlapOS finds its name in, see `text_preamble`.
_OLD_NAME = "COMP-"


class Registrations:
    """Makes one-time tokens and takes them."""

    def __init__(self, store: Store, guard: Guard, certificates: Certificates) -> None:
        self._store = store
        self._guard = guard
        self._certificates = certificates
        self._settings = certificates.settings

    async def new_token(self, caller: Caller, wanted: RegistrationTokenRequest) -> RegistrationToken:
        """A one-time token with which one computer registers, or, with a guid, registers anew."""
        caller.must_be(CallerKind.USER)
        end = datetime.now(UTC) + timedelta(seconds=self._settings.registration_lifetime)
        fingerprint = (await self._certificates.authority()).fingerprint if self._settings.own_authority else ""
        words = token_words(secrets.token_urlsafe(32), fingerprint)
        await self._store.write(lambda transaction: _keep(transaction, caller, wanted, words, in_text(end)))
        return RegistrationToken(token=words, expires_at=end)

    async def register(self, wanted: NodeRegistration) -> RegisteredNode:
        """Take a token. A refusal leaves it as good as it was."""
        key = public_key_of(wanted.request)
        authority = await self._certificates.authority()

        def job(transaction: Transaction) -> RegisteredNode:
            registered, made_by = _take(transaction, wanted.token, wanted.title)
            if not self._settings.own_tls:
                return RegisteredNode(guid=registered.guid, title=registered.title, token=registered.token)
            holder = Holder(CallerKind.COMPUTER, registered.guid, made_by)
            issued = self._with_certificate(transaction, authority, holder, key, self._settings.lifetime)
            return RegisteredNode(
                guid=registered.guid,
                title=registered.title,
                certificate=in_pem(issued),
                authority=authority.certificate,
            )

        registered = await self._store.write(job)
        self._guard.forget()
        return registered

    async def key_pair(self, token: str, title: str) -> KeyPair:
        """SlapOS's old registration: the node gets a key, and finds its name in the text before the certificate."""
        self._certificates.must_make_keys()
        key = new_key()
        authority = await self._certificates.authority()
        lifetime = self._settings.lifetime_unrenewed

        def job(transaction: Transaction) -> KeyPair:
            registered, made_by = _take(transaction, token, title)
            guid = registered.guid
            _check_old_name(guid)
            holder = Holder(CallerKind.COMPUTER, guid, made_by)
            issued = self._with_certificate(transaction, authority, holder, key.public_key(), lifetime)
            return KeyPair(certificate=text_preamble(guid) + in_pem(issued), key=key_in_pem(key))

        pair = await self._store.write(job)
        self._guard.forget()
        return pair

    def _with_certificate(
        self,
        transaction: Transaction,
        authority: CertificateAuthority,
        holder: Holder,
        key: PublicKey,
        lifetime: float,
    ) -> x509.Certificate:
        """A computer that calls by a certificate has no token beside it."""
        revoke_tokens(transaction.connection, CallerKind.COMPUTER, holder.subject)
        return signed(transaction, authority, holder, key, lifetime)


def text_preamble(guid: str) -> str:
    """What nodes of SlapOS read of a certificate: their name, from COMP- up to /email."""
    return f"Certificate:\n    Data:\n        Subject: CN={guid}/emailAddress={guid}@localhost\n"


def _check_old_name(guid: str) -> None:
    if not guid.startswith(_OLD_NAME):
        raise Conflict(
            f"A node of SlapOS cannot be {guid}.",
            f"It takes only names that begin with {_OLD_NAME}.",
            "Register it as a new computer.",
        )


def _keep(transaction: Transaction, caller: Caller, wanted: RegistrationTokenRequest, words: str, end: str) -> None:
    connection = transaction.connection
    guid, title = "", wanted.title or ""
    if wanted.guid:
        found = find(connection, caller, wanted.guid)
        guid, title = found.guid, found.title
    connection.execute(delete(registration).where(registration.c.owner == caller.owner, _is_over()))
    transaction.quotas.take(connection, Quota.TOKENS, caller.owner)
    row = {
        "digest": digest_of(words),
        "owner": caller.owner,
        "title": title,
        "guid": guid,
        "created_at": now(),
        "expires_at": end,
        "made_by": caller.credential,
    }
    connection.execute(insert(registration), row)


def _take(transaction: Transaction, words: str, title: str) -> tuple[RegisteredComputer, str]:
    """Use a token up, and return its computer, and the digest by which that was made. All of it, or, when something is
    wrong, nothing."""
    row = transaction.connection.execute(_TAKE, {"wanted": digest_of(words), "at": now()}).first()
    if row is None:
        raise _useless(transaction.connection.execute(_FOUND, {"wanted": digest_of(words)}).first())
    if row.title not in ("", title):
        raise Forbidden(
            f"This token is not for a computer named {title}.",
            f"It is for {row.title}.",
            f"slapos node register {row.title}",
        )
    owner = Caller(CallerKind.USER, row.owner, row.owner, credential=digest_of(words))
    wish = ComputerRegistration(title=title, guid=row.guid, replace=bool(row.guid))
    return register_in(transaction, owner, wish), owner.credential


def _useless(row: AnyRow | None) -> Forbidden:
    if row is None:
        why = "The master never made it, it expired long ago, or the credentials of who made it were revoked."
    elif row.used_at:
        why = f"It was used at {row.used_at}: it registers one computer, once."
    else:
        why = f"It expired at {row.expires_at}."
    return Forbidden("This registration token is of no use.", why, "slapos computer token makes another one.")


def _is_over() -> ColumnElement[bool]:
    week_ago = in_text(datetime.now(UTC) - timedelta(days=7))
    return registration.c.expires_at < week_ago


_FOUND = select(registration).where(registration.c.digest == bindparam("wanted"))
_TAKE = (
    update(registration)
    .where(
        registration.c.digest == bindparam("wanted"),
        registration.c.used_at.is_(None),
        registration.c.expires_at > bindparam("at"),
    )
    .values(used_at=bindparam("at"))
    .returning(registration.c.owner, registration.c.title, registration.c.guid)
)

"""Certificates of users, computers and partitions: issued, renewed and revoked.

For façades: each method takes the caller of the call (see api/call.py), checks what that caller may do, and raises
Forbidden or NotFound. `call.services.certificates` is the object to use.
"""

from urllib.parse import quote

from cryptography import x509
from sqlalchemy import Connection

from slap.master.access.auth import Caller, CallerKind, Guard
from slap.master.access.authority import (
    Authorities,
    CertificateAuthority,
    common_name,
    in_pem,
    key_in_pem,
    new_key,
)
from slap.master.access.certificate_table import Holder, has_certificate, note, serial_of
from slap.master.access.csr import PublicKey, public_key_of
from slap.master.access.revocation import admit_computer, revoke_certificates_of_computer
from slap.master.access.revocation_list import RevocationLists
from slap.master.access.settings import AccessSettings
from slap.master.computer import find
from slap.master.database.quota import Quota
from slap.master.database.store import Store, Transaction
from slap.master.service.impersonation import as_partition
from slap.model.certificate import CertificateRequest, IssuedCertificate, KeyPair
from slap.model.errors import Conflict, Forbidden


class Certificates:
    """Issues certificates by the authority of this master."""

    def __init__(self, store: Store, guard: Guard, settings: AccessSettings) -> None:
        self.store = store
        self.settings = settings
        self._guard = guard
        self._authorities = Authorities(store)
        self.revocation_lists = RevocationLists(store, self._authorities)

    async def authority(self) -> CertificateAuthority:
        return await self._authorities.get()

    async def sign(self, caller: Caller, wanted: CertificateRequest) -> IssuedCertificate:
        """A certificate for the caller, or for the instance in a partition of the computer that calls.

        Asking again is renewing: certificates before it work until they expire.
        """
        if wanted.partition is not None:
            caller.must_be(CallerKind.COMPUTER)
            inside = await as_partition(self.store, caller, caller.subject, wanted.partition)
            holder = Holder(inside.kind, inside.subject, caller.credential)
        else:
            holder = _own(caller)
        return await self.issue(holder, wanted.request, self._lifetime(holder.kind))

    async def computer_key_pair(self, caller: Caller, guid: str) -> KeyPair:
        """A key and a certificate for a computer (generateComputerCertificate, compute_node_certificate).

        Refused unless the operator enabled it, and, as in SlapOS, while the computer has a certificate in force:
        Conflict then says "Certificate still active."
        """
        self.must_make_keys()
        row = await self.store.read(lambda connection: find(connection, caller, guid))
        holder = Holder(CallerKind.COMPUTER, row.guid, caller.credential)
        await self.store.read(lambda connection: _refuse_second(connection, holder))
        return await self.issue_key_pair(holder, self.settings.lifetime_unrenewed)

    async def revoke_computer(self, caller: Caller, guid: str) -> None:
        """All certificates of a computer end (revokeComputerCertificate); its tokens go on."""
        row = await self.store.read(lambda connection: find(connection, caller, guid))
        await self.store.write(lambda transaction: revoke_certificates_of_computer(transaction, row.guid))

    async def partition_key_pair(self, caller: Caller) -> KeyPair:
        """A key and a certificate for the instance in a partition (getComputerPartitionCertificate,
        software_instance_certificate); `caller` is that instance: see impersonation.as_partition.

        Each call makes another pair; those before it work until they expire, which is soon.
        """
        caller.must_be(CallerKind.PARTITION)
        return await self.issue_key_pair(_own(caller), self.settings.lifetime_partition)

    async def user_key_pair(self, caller: Caller) -> KeyPair:
        """A key and a certificate for the user that calls (Person_getCertificate); refused unless enabled."""
        self.must_make_keys()
        caller.must_be(CallerKind.USER)
        return await self.issue_key_pair(_own(caller), self.settings.lifetime_unrenewed)

    def must_make_keys(self) -> None:
        if not self.settings.server_makes_keys:
            raise Forbidden(
                "This master makes no keys for others.",
                "A key that travels is known to more than its holder.",
                "slapos node register --token-file makes the key on the node. For nodes of SlapOS, the operator of the "
                "master writes old_registration = yes into its section [master].",
            )

    async def issue(self, holder: Holder, request: str, lifetime: float) -> IssuedCertificate:
        """A certificate for the key of a request. The caller has checked that the holder may have it."""
        key = public_key_of(request)
        authority = await self.authority()
        issued = await self.store.write(lambda transaction: signed(transaction, authority, holder, key, lifetime))
        return issued_certificate(authority, issued)

    async def issue_key_pair(self, holder: Holder, lifetime: float) -> KeyPair:
        """A key made here, with its certificate. The caller has checked that the holder may have it."""
        key = new_key()
        authority = await self.authority()
        issued = await self.store.write(
            lambda transaction: signed(transaction, authority, holder, key.public_key(), lifetime)
        )
        return KeyPair(certificate=in_pem(issued), key=key_in_pem(key))

    def _lifetime(self, kind: CallerKind) -> float:
        return self.settings.lifetime_partition if kind is CallerKind.PARTITION else self.settings.lifetime


def _own(caller: Caller) -> Holder:
    """A caller that asks for a certificate of its own."""
    return Holder(caller.kind, caller.subject, caller.credential)


def signed(
    transaction: Transaction, authority: CertificateAuthority, holder: Holder, key: PublicKey, lifetime: float
) -> x509.Certificate:
    """A new certificate, remembered as issued."""
    transaction.quotas.take(transaction.connection, Quota.CERTIFICATES, "", holder=holder.subject)
    name = f"urn:slap:{holder.kind.value}:{quote(holder.subject, safe='')}"
    issued = authority.sign_client(common_name(holder.kind, holder.subject), name, key, lifetime)
    note(transaction.connection, holder, issued)
    if holder.kind is CallerKind.COMPUTER:
        admit_computer(transaction.connection, holder.subject)
    return issued


def issued_certificate(authority: CertificateAuthority, issued: x509.Certificate) -> IssuedCertificate:
    return IssuedCertificate(
        certificate=in_pem(issued),
        authority=authority.certificate,
        serial=serial_of(issued),
        expires_at=issued.not_valid_after_utc,
    )


def _refuse_second(connection: Connection, holder: Holder) -> None:
    if has_certificate(connection, holder):
        raise Conflict(
            "Certificate still active.",
            f"{holder.subject} has a certificate, and two nodes with one name would take each other's instances.",
            "Revoke it first, if the former node is lost: slapos master revoke --computer.",
        )

"""The headers of a tar as GNU writes it, in one form only: what is not exactly as written here is not read here either."""

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple
from zlib import adler32

from slap.cache.archive.member import TIME, Member, MemberKind

BLOCK = 512
END = bytes(2 * BLOCK)
LONG_NAME, LONG_LINK = b"L", b"K"

_LONGEST = 100  # what the fields of a header hold; longer names come before it, in blocks of their own
_LONG = b"././@LongLink"
_OCTAL = 1 << 33  # sizes from here on are not written in octal digits
# Name, mode, owner and group, size, time, checksum, kind, link, magic; nothing else is used.
_FIELDS = Struct("100s 8s 16s 12s 12s 8s c 100s 8s 247x")
_NOBODY = b"0000000\0" * 2
_TIME = b"%011o\0" % TIME
_BLANK = b" " * 8
_MAGIC = b"ustar  \0"


class Header(NamedTuple):
    """The fields of one header that differ from member to member."""

    name: bytes
    mode: int
    size: int
    kind: bytes
    link: bytes


def encode(member: Member) -> bytes:
    """The header of a member, with what belongs before it."""
    name = member.name + b"/" if member.kind is MemberKind.FOLDER else member.name
    mode = 0o755 if member.executable or member.kind is MemberKind.FOLDER else 0o644
    last = Header(name[:_LONGEST], mode, member.size, member.kind.value, member.link[:_LONGEST])
    return b"".join((*_before(LONG_LINK, member.link), *_before(LONG_NAME, name), _block(last)))


def decode(block: bytes) -> Header | None:
    """The fields of a header; None when it is not one that is written here."""
    name, mode, _, size, _, _, kind, link, _ = _FIELDS.unpack(block)
    header = Header(name.rstrip(b"\0"), _number(mode), _number(size), kind, link.rstrip(b"\0"))
    return header if header.size >= 0 and header.mode >= 0 and _block(header) == block else None


def padding(size: int) -> int:
    """How many bytes follow content of that size, up to the next header."""
    return -size % BLOCK


def _before(kind: bytes, text: bytes) -> Iterator[bytes]:
    if len(text) > _LONGEST:
        yield _block(Header(_LONG, 0o644, len(text) + 1, kind, b""))
        yield text + bytes(1 + padding(len(text) + 1))


def _block(header: Header) -> bytes:
    name, mode, size, kind, link = header
    block = _FIELDS.pack(name, b"%07o\0" % mode, _NOBODY, _size(size), _TIME, _BLANK, kind, link, _MAGIC)
    # The sum of all bytes. Adler-32 has it, plus one, in its lower half, and is ten times as fast as sum().
    checksum = (adler32(block) & 0xFFFF) - 1
    return b"%b%06o\0 %b" % (block[:148], checksum, block[156:])


def _size(size: int) -> bytes:
    return b"%011o\0" % size if size < _OCTAL else b"\x80" + size.to_bytes(11, "big")


def _number(field: bytes) -> int:
    """The number in a field, -1 when there is none."""
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    try:
        return int(field.rstrip(b"\0"), 8)
    except ValueError:
        return -1

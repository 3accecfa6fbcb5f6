"""From the bytes of a tar to members: one pass, nothing is kept, and what is not as it was packed is refused."""

from collections.abc import Iterator
from functools import partial

from slap.cache.archive.errors import broken, unsafe
from slap.cache.archive.header import BLOCK, END, LONG_LINK, LONG_NAME, Header, decode, padding
from slap.cache.archive.member import MAX_NAME_BYTES, Member, MemberKind
from slap.cache.archive.pipeline import WriteBehind
from slap.cache.archive.write import Piece, Writer

MOST_MEMBERS = 1_000_000
_BEHIND = 8  # chunks whose members wait to be written

_KINDS = {kind.value: kind for kind in MemberKind}


class Extraction:
    """Reads the members of a stream of chunks, while another thread writes those of the chunks before."""

    def __init__(self, chunks: Iterator[bytes], writer: Writer, most: int = MOST_MEMBERS) -> None:
        self._chunks = chunks
        self._chunk, self._at = b"", 0  # the one that is read now, and how far
        self._pieces: list[Piece] = []  # what was found in it
        self._writer = writer
        self._behind = WriteBehind(_BEHIND)
        self._most = most

    def run(self) -> None:
        with self._behind:
            for number, member in enumerate(self._members()):
                if number >= self._most:
                    raise unsafe(member.name, f"is one of more than {self._most} members")
                self._content(member)
            if self._at < len(self._chunk) or any(self._chunks):
                raise broken("There is more after its end.")
            self._hand_over()

    def _members(self) -> Iterator[Member]:
        while True:
            block = self._take(BLOCK)
            if block == END[:BLOCK]:
                break
            yield self._member(block)
        if self._take(BLOCK) != END[:BLOCK]:
            raise broken("It has no proper end.")

    def _member(self, block: bytes) -> Member:
        """A member by its last header, with the long names that came before that."""
        header = _header(block)
        link = name = None
        if header.kind == LONG_LINK:
            link, header = self._long(header), _header(self._take(BLOCK))
        if header.kind == LONG_NAME:
            name, header = self._long(header), _header(self._take(BLOCK))
        return _member(header, name or header.name, header.link if link is None else link)

    def _long(self, header: Header) -> bytes:
        if header.size > MAX_NAME_BYTES + 2:
            raise unsafe(header.name, "has a name that is too long")
        text = self._take(header.size + padding(header.size))
        return text[: header.size].removesuffix(b"\0")

    def _content(self, member: Member) -> None:
        at = 0
        while at < member.size:
            content = self._some(member.size - at)
            self._pieces.append(Piece(member, at, content))
            at += len(content)
        if not member.size:
            self._pieces.append(Piece(member, 0, b""))
        gap = padding(member.size)
        if self._take(gap) != END[:gap]:
            raise broken(f"There is something between {member.name!r} and what follows it.")

    def _take(self, count: int) -> bytes:
        """Exactly so many bytes."""
        taken = self._chunk[self._at : self._at + count]
        self._at += len(taken)
        while len(taken) < count:
            taken += self._some(count - len(taken))
        return taken

    def _some(self, most: int) -> memoryview:
        """At least one byte, at most so many."""
        while self._at == len(self._chunk):
            self._hand_over()
            chunk = next(self._chunks, None)
            if chunk is None:
                raise broken("It ends before its end.")
            self._chunk, self._at = chunk, 0
        taken = memoryview(self._chunk)[self._at : self._at + most]
        self._at += len(taken)
        return taken

    def _hand_over(self) -> None:
        self._behind.do(partial(self._writer.write, self._pieces))
        self._pieces = []


def _header(block: bytes) -> Header:
    header = decode(block)
    if header is None:
        raise broken("A header in it is none that is written for the cache.")
    return header


def _member(header: Header, name: bytes, link: bytes) -> Member:
    kind = _KINDS.get(header.kind)
    if kind is None:
        raise unsafe(name, "is a device, a pipe, a socket or something unknown")
    if header.mode not in (0o644, 0o755):
        raise unsafe(name, f"has the permissions {header.mode:o}")
    if header.size and kind is not MemberKind.FILE:
        raise unsafe(name, "has content, but is no file")
    if link and kind in (MemberKind.FILE, MemberKind.FOLDER):
        raise unsafe(name, "points somewhere, but is no link")
    if (kind is MemberKind.FOLDER) != name.endswith(b"/"):
        raise unsafe(name, "is not what its name says")
    return Member(name.removesuffix(b"/"), kind, header.size, kind is MemberKind.FILE and header.mode == 0o755, link)

"""Archives for tests: packed into a dictionary, or put together header by header as no honest packer would."""

import hashlib
import os
from pathlib import Path

from slap.cache.archive.chunk import compress
from slap.cache.archive.header import END, encode, padding
from slap.cache.archive.member import Member, MemberKind, Place
from slap.cache.archive.pack import pack
from slap.cache.archive.unpack import unpack
from slap.model.cache.manifest import ChunkRef, Manifest

HERE = Place("/opt/slapgrid/abc", "/opt/slapgrid", also=())


class Blobs(dict[str, bytes]):
    """Chunks by their digests, as a cache has them."""

    def put(self, ref: ChunkRef, packed: bytes) -> None:
        self[ref.sha512] = packed

    def get_chunk(self, ref: ChunkRef) -> bytes:
        return self[ref.sha512]


def packed(folder: Path, place: Place = HERE) -> tuple[Manifest, Blobs]:
    blobs = Blobs()
    return pack(folder, place, blobs.put), blobs


def made_of(tar: bytes, **fields: object) -> tuple[Manifest, Blobs]:
    """A consistent archive, all digests right, of any bytes."""
    blobs, refs = Blobs(), []
    for start in range(0, len(tar), 1 << 20):
        ref, data = compress(tar[start : start + (1 << 20)])
        blobs.put(ref, data)
        refs.append(ref)
    digest = hashlib.sha512(tar).hexdigest()
    known = {"path": HERE.path, "root": HERE.root, "embeds_path": False, "digest": digest, "chunks": tuple(refs)}
    return Manifest.model_validate(known | fields), blobs


def member(name: str, kind: MemberKind = MemberKind.FILE, content: bytes = b"", link: str = "") -> bytes:
    header = encode(Member(name.encode(), kind, len(content), link=link.encode()))
    return header + content + bytes(padding(len(content)))


def folder(name: str) -> bytes:
    return member(name, MemberKind.FOLDER)


def tar(*members: bytes) -> bytes:
    return b"".join(members) + END


def patched(block: bytes, at: int, field: bytes) -> bytes:
    """A member whose header has another field, and a right checksum all the same."""
    changed = bytearray(block)
    changed[at : at + len(field)] = field
    changed[148:156] = b" " * 8
    changed[148:156] = b"%06o\0 " % sum(changed[:512])
    return bytes(changed)


def unpacked(manifest: Manifest, blobs: Blobs, into: Path) -> Path:
    unpack(manifest, blobs.get_chunk, into, HERE)
    return into


def listing(folder: Path) -> dict[bytes, tuple[object, ...]]:
    """All that a packed folder keeps of its members, by their names."""
    found: dict[bytes, tuple[object, ...]] = {}
    for top, folders, names in os.walk(os.fsencode(folder)):
        for name in folders + names:
            path = os.path.join(top, name)
            relative = os.path.relpath(path, os.fsencode(folder))
            if os.path.islink(path):
                found[relative] = ("link", os.readlink(path))
            elif os.path.isdir(path):
                found[relative] = ("folder",)
            else:
                with open(path, "rb") as file:
                    found[relative] = (bool(os.stat(path).st_mode & 0o111), os.stat(path).st_nlink, file.read())
    return found

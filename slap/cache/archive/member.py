"""Members of an archive, and what speaks against unpacking one. Nothing here touches a file."""

import posixpath
import re
import sys
from dataclasses import dataclass
from enum import Enum

# Files, folders and links of an archive all have this time: 2000-01-01. (Zip files know none before 1980.)
TIME = 946_684_800
# Each folder on the way to a member is held open while that is written.
MAX_DEPTH = 200
MAX_NAME_BYTES = 4095

# Parts that files can have as names, none of which leads upwards.
_NAME = re.compile(rb"(?:(?!\.\.?/)[^/\0]{1,255}/)*(?!\.\.?\Z)[^/\0]{1,255}")

# Where links may point besides the release itself: what every machine of the platform has.
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc/ssl", "/etc/alternatives", "/dev/null")


class MemberKind(Enum):
    """The kinds of members that there are, as a tar calls them; devices, pipes and sockets are never packed."""

    FILE = b"0"
    HARDLINK = b"1"
    SYMLINK = b"2"
    FOLDER = b"5"


@dataclass(frozen=True, slots=True)
class Member:
    """What an archive says of one of its members; `link` is where a link points to (a hard link by the archive's names)."""

    name: bytes
    kind: MemberKind
    size: int = 0
    executable: bool = False
    link: bytes = b""


@dataclass(frozen=True)
class Place:
    """Where a folder lies in the end: its path, the software root, and other places that links in it may point to."""

    path: str
    root: str
    also: tuple[str, ...] = (sys.prefix, sys.base_prefix)

    def allows(self, target: str) -> bool:
        """Whether an absolute link may point there."""
        normal = posixpath.normpath(target)
        return any(
            normal == top or normal.startswith(f"{top}/") for top in (*_SYSTEM, self.path, self.root, *self.also)
        )


def rejection_reason(member: Member, place: Place) -> str:
    """Why a member must not be unpacked, from what it says of itself; empty when there is nothing against it."""
    words = _objection_to_name(member.name)
    if words or member.kind in (MemberKind.FILE, MemberKind.FOLDER):
        return words
    if member.kind is MemberKind.HARDLINK:
        return "is a hard link to something outside of the archive" if _objection_to_name(member.link) else ""
    return _objection_to_link(member, place)


def _objection_to_name(name: bytes) -> str:
    if len(name) > MAX_NAME_BYTES or name.count(b"/") >= MAX_DEPTH:
        return "has a name that is too long or too deep"
    if _NAME.fullmatch(name):
        return ""
    if name.startswith(b"/") or b".." in name.split(b"/"):
        return "would be written outside of the folder"
    return "has a name that no file can have"


def _objection_to_link(member: Member, place: Place) -> str:
    """A link may climb only at its beginning, where all above it are real folders: so it cannot climb through another
    link, and where it ends is known without looking at any file."""
    target = member.link
    if not target or len(target) > MAX_NAME_BYTES or b"\0" in target:
        return "points to what no file can be called"
    words = f"points to {target.decode(errors='backslashreplace')}"
    if target.startswith(b"/"):
        # Whatever place is allowed, a link from it upwards is not.
        allowed = b".." not in target.split(b"/") and place.allows(target.decode(errors="surrogateescape"))
        return "" if allowed else f"{words}, outside of the folder"
    parts = [part for part in target.split(b"/") if part not in (b"", b".")]
    climbs = next((number for number, part in enumerate(parts) if part != b".."), len(parts))
    if b".." in parts[climbs:]:
        return f"{words}, up again after going down"
    return f"{words}, outside of the folder" if climbs > member.name.count(b"/") else ""

"""What SlapOS's kvm release says in several parameters, in the words of ours: images by their URL and MD5."""

from collections.abc import Mapping
from typing import Any

_DISK, _CDROM = "virtual-hard-drive-url", "boot-image-url-list"
_MD5, _GZIPPED = "virtual-hard-drive-md5sum", "virtual-hard-drive-gzipped"
_NO = ("", "0", "false", "no", "off")


def in_our_words(said: Mapping[str, Any]) -> dict[str, Any]:
    """The same order. Raises ValueError for one that names an image twice, or not completely."""
    ours = {name: value for name, value in said.items() if name not in (_DISK, _MD5, _GZIPPED, _CDROM)}
    if said.get(_DISK):
        _add(ours, "image", _DISK, {"url": said[_DISK], "md5": _md5(said), "gzipped": said.get(_GZIPPED, False)})
    elif said.get(_MD5) or str(said.get(_GZIPPED) or "").lower() not in _NO:
        raise ValueError(f"{_MD5} and {_GZIPPED} say something of a {_DISK}, which is not there")
    if lines := str(said.get(_CDROM) or "").split():
        _add(ours, "boot-iso", _CDROM, _cdrom(lines))
    return ours


def _md5(said: Mapping[str, Any]) -> Any:
    if not said.get(_MD5):
        raise ValueError(f"{_MD5} is missing: nothing is booted unchecked")
    return said[_MD5]


def _cdrom(lines: list[str]) -> dict[str, str]:
    """Of lines like URL#MD5."""
    if len(lines) > 1:
        raise ValueError(f"{_CDROM} has {len(lines)} images, and a machine starts from one")
    url, _, md5 = lines[0].partition("#")
    if not md5:
        raise ValueError(f"{_CDROM} is like URL#MD5: nothing is booted unchecked")
    return {"url": url, "md5": md5}


def _add(ours: dict[str, Any], name: str, theirs: str, image: dict[str, Any]) -> None:
    if name in ours:
        raise ValueError(f"{name} and {theirs} are two names for one thing")
    ours[name] = image

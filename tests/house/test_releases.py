"""Releases name the digests of the files beside them: a file that changes takes its digest along."""

import re
from hashlib import sha256
from pathlib import Path

SOFTWARE = Path(__file__).parents[2] / "software"
_BESIDE = re.compile(r"url = \$\{slap-software:base\}/(\S+)\n(?:(?!\[).*\n)*?sha256 = ([0-9a-f]{64})")


def named() -> list[tuple[Path, str]]:
    profiles = [(path, path.read_text()) for path in SOFTWARE.rglob("*.cfg")]
    return [(path.parent / name, digest) for path, text in profiles for name, digest in _BESIDE.findall(text)]


def test_files_beside_a_profile_are_as_it_says() -> None:
    assert named()
    assert {path.name: sha256(path.read_bytes()).hexdigest() for path, _ in named()} == {
        path.name: digest for path, digest in named()
    }

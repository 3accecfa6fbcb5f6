"""A software release of some size, made up but like a real one, always the same; and its next version.

By bytes: a half shared objects and programs, a quarter Python and its bytecode, an eighth what is compressed already
(wheels, images, fonts), an eighth text (headers, documents, data). By number nearly all files are small.
"""

import random
import shutil
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

WORDS = [
    word + end
    for word in (
        "connect",
        "instance",
        "parameter",
        "buffer",
        "index",
        "request",
        "module",
        "result",
        "handle",
        "stream",
    )
    for end in ("", "s", "_list", "_dict", "ed", "ion", "_id", "_count", "Error", "Type", "_path", "0", "_next", "able")
]
PACKAGES = 100
CHANGED = 0.05


@dataclass(frozen=True)
class Sort:
    """One kind of files: their share of the bytes, how large one is, and what is in it."""

    share: float
    size: int
    name: str
    fill: Callable[[random.Random, int], bytes]


def make(folder: Path, size: int) -> int:
    """Fill a folder with about so many bytes; how many files it has."""
    count = 0
    for path, seed, sort, length in _files(size):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(sort.fill(random.Random(seed), length))
        target.chmod(0o755 if target.suffix == ".so" else 0o644)
        count += 1
    for number in range(PACKAGES):
        package = folder / f"lib/package{number:03}"
        package.mkdir(exist_ok=True)
        (package / "current").symlink_to("source")
    return count


def change(folder: Path, into: Path, size: int) -> int:
    """A copy in which a twentieth of the bytes is another: some packages whole, some files here and there, one inserted
    line in each of these; how many bytes that are."""
    shutil.copytree(folder, into, symlinks=True)
    chosen, changed = random.Random("next version"), 0
    files = list(_files(size))
    for path, seed, sort, length in files:
        if changed < 0.8 * CHANGED * size and path.split("/")[1] in _UPGRADED:
            (into / path).write_bytes(sort.fill(random.Random(f"{seed} next"), length))
            changed += length
    while changed < CHANGED * size:
        path, _, _, length = chosen.choice(files)
        content = (into / path).read_bytes()
        middle = chosen.randrange(length)
        (into / path).write_bytes(content[:middle] + b"# changed\n" + content[middle:])
        changed += length
    return changed


_UPGRADED = {f"package{number:03}" for number in (7, 31, 58, 90)}


def _files(size: int) -> Iterator[tuple[str, str, Sort, int]]:
    """(path, seed, sort, length) of every file."""
    chosen = random.Random("release")
    for sort in _SORTS:
        left, number = int(sort.share * size), 0
        while left > 0:
            length = min(left, max(200, int(chosen.lognormvariate(0, 1) * sort.size)))
            path = f"lib/package{chosen.randrange(PACKAGES):03}/" + sort.name.format(number, number % 17)
            yield path, f"{path} {length}", sort, length
            left -= length
            number += 1


def _text(chosen: random.Random, length: int) -> bytes:
    lines, total = [], 0
    while total < length:
        line = " " * chosen.choice((0, 4, 4, 8)) + " ".join(chosen.choices(WORDS, k=7)) + "\n"
        lines.append(line)
        total += len(line)
    return "".join(lines).encode()[:length]


def _binary(chosen: random.Random, length: int) -> bytes:
    """Like machine code: few bytes are frequent, and there is much of zero; zstd halves it."""
    table = bytes(min(255, int(chosen.expovariate(1 / 40))) for _ in range(256))
    noise = bytearray(chosen.randbytes(length).translate(table))
    for _ in range(length // 20_000):
        start = chosen.randrange(length)
        noise[start : start + 4000] = bytes(min(4000, length - start))
    return bytes(noise[:length])


def _compressed(chosen: random.Random, length: int) -> bytes:
    return chosen.randbytes(length)


def _bytecode(chosen: random.Random, length: int) -> bytes:
    """Half of it as dense as compressed text, half repeated names."""
    return (zlib.compress(_text(chosen, length)) + _text(chosen, length))[:length]


_SORTS = (
    Sort(0.50, 600_000, "source/native/lib{:05}.so", _binary),
    Sort(0.15, 9_000, "source/part{1:02}/module{0:05}.py", _text),
    Sort(0.10, 8_000, "source/part{1:02}/module{0:05}.data", _bytecode),
    Sort(0.125, 120_000, "source/static/asset{:05}.png", _compressed),
    Sort(0.125, 20_000, "share/doc{1:02}/text{0:05}.txt", _text),
)


def main(old: str, new: str, size: str) -> None:
    """Both versions; prints how many files there are, and which share of the bytes changes."""
    files = make(Path(old), int(size))
    print(files, change(Path(old), Path(new), int(size)) / int(size))


if __name__ == "__main__":
    main(*sys.argv[1:])

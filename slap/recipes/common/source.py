"""Where the source of a build comes from: a URL, a folder or file on this disk, or a Debian source package."""

import hashlib
import shutil
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from slap.model.cache.material import Material, MaterialKind, plain_url
from slap.recipes.common.base import OptionReader, RecipeError
from slap.recipes.common.part import SoftwarePart, program_path
from slap.system import archive, debian, files
from slap.system.fetch import MOST_BYTES, Download, digest_of, fetch, keep, local_path

KINDS = ("url", "path", "debian-source")
DIGEST = r"[0-9a-f]{64}"
A_DIGEST = "the SHA-256 of the file, 64 hexadecimal digits (any value will do at first: the error tells the right one)"


class Source(ABC):
    """Something to build."""

    @abstractmethod
    def unpack(self, part: SoftwarePart, folder: Path) -> None:
        """Put it into an empty folder."""


@dataclass(frozen=True)
class UrlSource(Source):
    download: Download

    def unpack(self, part: SoftwarePart, folder: Path) -> None:
        archive.unpack(fetch_for(part, self.download), folder)


@dataclass(frozen=True)
class PathSource(Source):
    path: Path

    def unpack(self, part: SoftwarePart, folder: Path) -> None:
        part.materials.append(self._material())
        if self.path.is_dir():
            shutil.copytree(self.path, folder, symlinks=True, dirs_exist_ok=True)
        else:
            archive.unpack(self.path, folder)

    def _material(self) -> Material:
        """A folder has no digest: it is somebody's work in progress."""
        if self.path.is_dir():
            return Material(kind=MaterialKind.FOLDER, name=self.path.name, url=str(self.path))
        digests = {"sha256": digest_of(self.path)}
        return Material(kind=MaterialKind.FILE, name=self.path.name, url=str(self.path), digests=digests)


@dataclass(frozen=True)
class DebianSource(Source):
    """The orig tarball of a Debian source package, and with `patched` what Debian changes in it."""

    name: str
    version: str
    sha256: str
    patched: bool

    def unpack(self, part: SoftwarePart, folder: Path) -> None:
        apt = apt_for(part, debian.Kind.SOURCE)
        chosen = self.choose(apt.sources(self.name))
        part.logger.info("Source: Debian's %s %s", chosen.name, chosen.version)
        part.materials.extend(materials(chosen))
        arrived = self._arrived(part, apt, chosen)
        archive.unpack(arrived / chosen.upstream_file, folder)
        if self.patched and chosen.debian_file:
            archive.unpack(arrived / chosen.debian_file, part.scratch)
            self._patch(part, single_folder(folder))

    def choose(self, versions: tuple[debian.SourcePackage, ...]) -> debian.SourcePackage:
        """The newest one that is meant; its tarball must be the expected one, which the signed index tells beforehand."""
        meant = [source for source in versions if source.is_version(self.version)]
        if not meant:
            known = ", ".join(source.version for source in sorted(versions, key=lambda source: source.key))
            raise RecipeError(
                f"Debian has no source package {self.name} {self.version}.",
                f"It has: {known or 'none of that name'}.",
                "Correct debian-source or version; an upstream version such as 1.2.3 survives Debian's own updates.",
            )
        newest = max(meant, key=lambda source: source.key)
        actual = newest.files.get(newest.upstream_file, "none")
        if actual != self.sha256:
            raise RecipeError(
                f"The source of {self.name} {newest.version} is not what was expected.",
                f"file:     {newest.upstream_file}\nexpected: {self.sha256}\nactual:   {actual}",
                "If the new source is right, put the actual digest into the sha256 option.",
            )
        return newest

    def _arrived(self, part: SoftwarePart, apt: debian.Apt, chosen: debian.SourcePackage) -> Path:
        """A folder with the package's files, kept by the tarball's digest and the version."""
        kept = part.downloads / f"{self.sha256}-{chosen.version.replace(':', '_')}"
        if not kept.is_dir():
            aside = part.scratch / "debian-files"
            files.make_folder(aside)
            files.make_folder(part.downloads)
            apt.download_source(chosen, aside)
            keep(aside, kept)
        return kept

    def _patch(self, part: SoftwarePart, folder: Path) -> None:
        patches = part.scratch / "debian" / "patches"
        for line in files.read_or(patches / "series", "").splitlines():
            name = line.split("#")[0].strip().split(" ")[0]
            if name:
                apply_patch(part, folder, patches / name, ("-p1",))


def materials(source: debian.SourcePackage) -> list[Material]:
    """The files of a Debian source package, by the digests that apt's signed index has. Its .dsc stands for the whole."""
    return [
        Material(
            kind=MaterialKind.DEB_SOURCE if file.endswith(".dsc") else MaterialKind.FILE,
            name=source.name if file.endswith(".dsc") else file,
            version=source.version,
            digests={"sha256": digest},
        )
        for file, digest in sorted(source.files.items())
    ]


def read_source(options: OptionReader, part: SoftwarePart) -> Source:
    """The source that the options name, by exactly one of `url`, `path` and `debian-source`."""
    given = [kind for kind in KINDS if options.text(kind, "")]
    if len(given) != 1:
        options.problem("url", f"or path or debian-source: give exactly one of them{_both(given)}")
    if "debian-source" in given:
        return _read_debian(options)
    if "url" in given:
        return UrlSource(read_download(options, part.base))
    path = part.absolute(options.text("path", ""))
    if not path.exists():
        options.problem("path", f"names {path}, which does not exist")
    return PathSource(path)


def _read_debian(options: OptionReader) -> DebianSource:
    return DebianSource(
        options.matching("debian-source", debian.NAME, "the name of a Debian source package"),
        options.matching("version", debian.VERSION, "the upstream version, or the whole version that Debian has"),
        options.matching("sha256", DIGEST, A_DIGEST),
        options.flag("debian-patches"),
    )


def apply_patch(part: SoftwarePart, folder: Path, patch: Path, words: tuple[str, ...]) -> None:
    if not program_path("patch", part.environment()):
        raise RecipeError(f"Part [{part.name}] needs the program patch.", resolution="As root: apt-get install patch")
    part.run("patch", "--batch", "--forward", *words, "--input", patch, cwd=folder)


def apt_for(part: SoftwarePart, kind: debian.Kind) -> debian.Apt:
    """apt with its state in the download-cache, where parts share it, or beside the parts."""
    if not program_path("apt-get", part.environment()):
        raise RecipeError(
            f"Part [{part.name}] needs apt, which this machine does not have.",
            resolution="Build it on Debian, or take the source from a URL.",
        )
    apt = debian.Apt((part.cache or part.parts) / ".apt", kind, part.runner, part.environment())
    apt.prepare(refresh=not part.offline)
    return apt


def single_folder(folder: Path) -> Path:
    """The folder itself, or the only one that is in it, as archives of sources mostly have."""
    inside = list(folder.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else folder


def _both(given: list[str]) -> str:
    return f", not {' and '.join(given)}" if given else ""


def read_download(options: OptionReader, base: Path) -> Download:
    """The options url, sha256 and max-size, which several recipes have."""
    url = options.text("url", what="where the file comes from")
    if local_path(url) is None and urlsplit(url).scheme not in ("http", "https"):
        options.problem("url", f"is {url!r}: write http:, https:, file: or a path")
    sha256 = options.matching("sha256", DIGEST, A_DIGEST)
    local = local_path(url)
    where = str(base / local) if url and local else url
    return Download(where, sha256, options.size("max-size", str(MOST_BYTES)))


def fetch_for(part: SoftwarePart, download: Download) -> Path:
    """Fetch into the part's cache, with progress in the build's log."""
    if part.offline and local_path(download.url) is None and not (part.downloads / download.digest).exists():
        raise RecipeError(
            f"Part [{part.name}] needs {download.url}, but buildout is offline.",
            resolution="Run it online once, with a download-cache in [buildout].",
        )
    part.logger.info("Getting %s", download.url)
    digests = {"sha256": download.digest}
    part.materials.append(
        Material(kind=MaterialKind.FILE, name=name_in(download.url), url=plain_url(download.url), digests=digests)
    )
    return fetch(download, part.downloads, part.logger.info)


def name_in(url: str) -> str:
    """The last part of a URL's path, or a name made of the URL where it has none."""
    name = unquote(PurePosixPath(urlsplit(url).path).name)
    return name if name and "/" not in name and name != ".." else hashlib.sha256(url.encode()).hexdigest()[:16]

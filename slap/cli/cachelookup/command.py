"""`slapos cachelookup binary-sr|pypi|url`: whether a shacache has something, signed by whom, and for which machines."""

import argparse
import platform
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from configparser import ConfigParser
from configparser import Error as SyntaxMistake
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from slap.cli.base import Lister, read_small_file
from slap.cli.cachelookup.directories import ask_directories
from slap.cli.cachelookup.slap_entries import our_rows
from slap.cli.cachelookup.slapos_entries import (
    Entry,
    Machine,
    load_certificates,
    package_key,
    parse_entries,
    release_key,
    url_key,
)
from slap.cli.formats import Cell
from slap.cli.local import find_cfg
from slap.cli.output import Style, harmless, say
from slap.model.errors import InvalidInput, NotFound, Unreachable
from slap.node.cache.tools import CacheTools
from slap.node.core.config import read
from slap.system.transport import Tls

SECTION = "networkcache"
_SHOWN = 12  # characters of a digest that tell it from others


class _Lookup(Lister):
    """A question to the directory of a cache."""

    when_empty = "The cache knows the key, and has nothing under it."
    cfg_help = "the node's slapos.cfg, whose section [networkcache] names the cache (found in the usual places)"
    option: ClassVar[str] = "download-dir-url"

    def find_entries(self, args: argparse.Namespace, what: str, key: str) -> list[Entry]:
        """The entries under a key, with a remark on where they are; raises NotFound when there is no such key."""
        cfg, section = self._section(args)
        urls = [f"{each.rstrip('/')}/{quote(key, safe=':=')}" for each in self._directories(section, cfg)]
        say(f"{harmless(what)} in {', '.join(urls)}")
        trusted = load_certificates(section.get("signature-certificate-list", ""))
        try:
            answers = ask_directories(urls, _tls(section, cfg))
        except NotFound as error:
            raise NotFound(f"The cache does not have {what}.", f"There is nothing at {', '.join(urls)}.") from error
        return [entry for answer in answers for entry in parse_entries(answer, trusted)]

    def _section(self, args: argparse.Namespace) -> tuple[Path, Mapping[str, str]]:
        """[networkcache] of the node's configuration, which may be one of SlapOS."""
        try:
            cfg = find_cfg(args.cfg or "", self.folder)
        except NotFound as error:
            raise NotFound("No cache is configured.", error.details, _HOW) from error
        parser = ConfigParser(interpolation=None)
        try:
            parser.read_string(read_small_file(str(cfg), str, self.folder), str(cfg))
        except SyntaxMistake as error:
            raise InvalidInput(f"{cfg} cannot be understood.", str(error), "Mend the file.") from error
        given = parser[SECTION] if parser.has_section(SECTION) else {}
        return cfg, {name.replace("_", "-"): value.strip() for name, value in given.items()}

    def _directories(self, section: Mapping[str, str], cfg: Path) -> list[str]:
        """Those that this command asks; one URL may say where a whole cache is."""
        own = [f"{url.rstrip('/')}/dir" for url in section.get("cache-url", "").split()]
        urls = [*own, *section.get(self.option, "").split()]
        if not urls or not all(url.startswith(("http://", "https://")) for url in urls):
            words = f"{cfg} has no {self.option} or cache-url in a section [{SECTION}]."
            raise NotFound("No cache is configured.", words, _HOW)
        return list(dict.fromkeys(urls))


class BinaryRelease(_Lookup):
    """Ask a cache for builds of a software release: for which machines, and signed by whom."""

    option = "download-binary-dir-url"

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument("url", metavar="URL", help="the release, or the MD5 of its URL")
        return parser

    def take_action(self, args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        here = this_machine()
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(self.find_entries, args, args.url, release_key(args.url))
            ours = self._ours(args)
        try:
            entries = asked.result()
        except (NotFound, Unreachable):
            if not ours:
                raise
            entries = []
        entries.sort(key=lambda entry: (entry.machine.multiarch, entry.machine.distribution))
        rows = [*ours, *((*_machine_cells(entry.machine, here), *_common(entry)) for entry in entries)]
        return ("multiarch", "distribution", "version", "id", "compatible", "verified", "sha512"), rows

    def _ours(self, args: argparse.Namespace) -> list[Sequence[Any]]:
        """Entries of our own kind; the file may be one of a node of SlapOS, with options that ours does not know."""
        try:
            config = read(find_cfg(args.cfg or "", self.folder))
            return our_rows(CacheTools(config, self.clock), args.url) if config.trust_file.parent.is_dir() else []
        except (NotFound, InvalidInput, Unreachable):  # what is wrong with a cache, its directory tells too
            return []


class Package(_Lookup):
    """Ask a cache for a Python package."""

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument("name", metavar="NAME", help="the package")
        parser.add_argument("version", metavar="VERSION", help="its version")
        return parser

    def take_action(self, args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        entries = self.find_entries(args, f"{args.name} {args.version}", package_key(args.name, args.version))
        return ("basename", "verified", "sha512"), [(entry.text("basename"), *_common(entry)) for entry in entries]


class Source(_Lookup):
    """Ask a cache for a file that was downloaded from a URL."""

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument("url", metavar="URL", help="where the file was downloaded from")
        return parser

    def take_action(self, args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        entries = self.find_entries(args, args.url, url_key(args.url))
        return ("url", "verified", "sha512"), [(entry.text("url"), *_common(entry)) for entry in entries]


def _tls(section: Mapping[str, str], cfg: Path) -> Tls:
    """By what the cache is known, and we to it; relative paths are below the node's root."""
    try:
        root = read(cfg).root
    except InvalidInput:  # a file of SlapOS, in which paths are absolute
        root = cfg.parent
    authority, certificate, key = (_path(section, root, name) for name in ("ca-file", "cert-file", "key-file"))
    return Tls(authority, certificate, key)


def _path(section: Mapping[str, str], root: Path, name: str) -> Path | None:
    given = section.get(f"shadir-{name}") or section.get(f"shacache-{name}")
    return root / given if given else None


def this_machine() -> Machine:
    """The machine that we are on, in the words of SlapOS's caches."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    multiarch = sysconfig.get_config_var("MULTIARCH") or f"{platform.machine()}-linux-gnu"
    names = ("ID", "VERSION_ID", "VERSION_CODENAME")
    name, version, codename = (release.get(each, "") for each in names)
    return Machine(multiarch, (name, version, codename))


def _machine_cells(machine: Machine, here: Machine) -> tuple[Any, ...]:
    fits = machine.fits(here)
    style = Style.GOOD if fits else Style.PLAIN
    return (machine.multiarch, *machine.distribution, Cell(fits, "yes" if fits else "no", style))


def _common(entry: Entry) -> tuple[Cell, Cell]:
    """Who signed it, and the digest, which people need only the beginning of."""
    digest = entry.text("sha512")
    verified = (
        Cell(bool(entry.signer), f"by {entry.signer}", Style.GOOD) if entry.signer else Cell(False, "no", Style.BAD)
    )
    return verified, Cell(digest, digest[:_SHOWN])


_HOW = f"""put the cache into the node's slapos.cfg:
  [{SECTION}]
  cache-url = http://CACHE
or, for one that speaks SlapOS's protocol alone,
  download-binary-dir-url = http://CACHE/dir
  download-dir-url = http://CACHE/dir
  signature-certificate-list = (certificates of those whose builds are trusted)"""

"""`slapos cache keygen|trust|revoke|successor`: keys that sign builds, and whose builds this node takes."""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from slap.cache.trust.errors import RejectedStatement
from slap.cache.trust.keys import KIND, PublicKey, generate_key, load_key, parse_public_key
from slap.cache.trust.sign import sign_revocation, sign_succession
from slap.cache.trust.signers import check_not_revoked
from slap.cache.trust.slapos_entry import parse_slapos_key
from slap.cache.trust.store import RevokedKey, TrustedKey, TrustStore
from slap.cli.base import Command, read_small_file
from slap.cli.cache.base import CacheCommand, CacheLister
from slap.cli.formats import Cell
from slap.cli.local import find_cfg
from slap.cli.output import Style, say
from slap.model.cache import KeyId, SignedEntry
from slap.model.errors import NotFound, SlapError, UsageError
from slap.node.cache.tools import CacheTools
from slap.node.core.config import read

_SHOWN = 16
_LIST = "slapos cache trust lists the keys that are known here."


class CacheKeygen(Command):
    """Make a key that signs builds. Its public line goes to stdout: paste it to those who shall trust your builds."""

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(name)
        parser.add_argument("--cfg", metavar="FILE", help="the node that signs with it (found in the usual places)")
        parser.add_argument("--comment", default="", help="a word to recognise it by, such as your name")
        parser.add_argument("file", nargs="?", metavar="KEYFILE", help="(that of the node's configuration)")
        return parser

    def take_action(self, args: argparse.Namespace) -> None:
        path = self._path(args)
        public = generate_key(path, args.comment)
        self.app.stdout.write(f"{public.line}\n")
        say(f"The key is in {path}; only you can read it. Nodes take what it signs after:", Style.GOOD)
        say(f"  slapos cache trust '{public.line}'")

    def _path(self, args: argparse.Namespace) -> Path:
        if args.file:
            return Path(self.folder, args.file)
        try:
            key_file = read(find_cfg(args.cfg or "", self.folder)).cache.key_file
        except NotFound:
            key_file = None
        return key_file or self.home / ".slapos/cache.key"


class CacheTrust(CacheLister):
    """Take the builds that a key signs, from now on; without a KEY, list the keys that are known here."""

    when_empty = "No key is trusted here: nothing is taken from caches."
    makes_node = True  # keys may be trusted before anything else is there

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument("key", nargs="*", metavar="KEY", help="the line that keygen printed, or a file with it")
        parser.add_argument(
            "--url",
            action="append",
            default=[],
            metavar="URL",
            help="only for releases below this URL (may be repeated)",
        )
        parser.add_argument("--follow", action="store_true", help="also the key that it names as its successor")
        parser.add_argument(
            "--former",
            action="store_true",
            help="KEY is a file with the certificate of a SlapOS cache (RSA, SHA-1: weak)",
        )
        parser.add_argument("--remove", metavar="ID", help="trust this key no longer")
        return parser

    def take_action(self, args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        trust = self.trust(args)
        if args.remove:
            self._remove(trust, args.remove)
        if args.key and args.former:
            self._trust_former(trust, args)
        elif args.key:
            key = read_public(self, " ".join(args.key))
            trust.trust(TrustedKey(key, tuple(args.url), args.follow))
            say(f"What {_named(key)} signs is taken from now on.", Style.GOOD)
        return ("id", "comment", "trusted", "limits"), _rows(trust)

    def _trust_former(self, trust: TrustStore, args: argparse.Namespace) -> None:
        (path, *more) = args.key
        key = parse_slapos_key(
            read_small_file(path, self.app.stdin.read, self.folder), " ".join(more) or Path(path).name
        )
        trust.trust_slapos_key(key)
        say(f"Entries of the SlapOS cache whose key is {key.id[:_SHOWN]} are taken from now on.", Style.BUSY)
        say("They have neither expiry nor version, and their signatures rest on SHA-1.")

    def _remove(self, trust: TrustStore, start: str) -> None:
        former = [each.id for each in trust.former() if each.id.startswith(start)]
        if len(former) == 1:
            trust.distrust_slapos_key(former[0])
        else:
            trust.distrust(_id(trust, start))
        say("It is trusted no longer.", Style.GOOD)


class CacheRevoke(CacheCommand):
    """Take nothing of a key any more, whenever it signed that. There is no way back.

    With --key-file the key itself says so, to all nodes that ask the cache.
    """

    makes_node = True

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument("key", nargs="?", metavar="ID", help="the id of a key, or the beginning of it; or its line")
        parser.add_argument("--key-file", metavar="KEYFILE", help="the private key: tell it to the upload cache too")
        parser.add_argument("--reason", default="", help="why, for the record")
        return parser

    def take_action(self, args: argparse.Namespace) -> None:
        if bool(args.key) == bool(args.key_file):
            raise UsageError("Give either the ID of a key, or --key-file.", resolution=_LIST)
        tools = self.tools(args)
        if args.key_file:
            signing = load_key(self.folder / args.key_file)
            _publish(tools, signing.public.id, sign_revocation(signing, tools.now, args.reason))
        key = signing.public.id if args.key_file else _id(tools.trust, args.key)
        tools.trust.revoke(RevokedKey(key, int(tools.now), args.reason))
        say(f"Nothing that key {key[:_SHOWN]} signed is taken here any more.", Style.GOOD)


class CacheSuccessor(CacheCommand):
    """Name the key that signs in place of another from now on, by that other key's own word.

    Nodes that trust the former key with --follow trust its successor once they ask the cache. What the former key signed
    before stays good: for a key that leaked, use `slapos cache revoke`.
    """

    makes_node = True

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument(
            "key", nargs="+", metavar="KEY", help="the successor: the line that keygen printed, or a file"
        )
        parser.add_argument("--key-file", metavar="KEYFILE", required=True, help="the private key that is replaced")
        return parser

    def take_action(self, args: argparse.Namespace) -> None:
        tools = self.tools(args)
        signing, successor = load_key(self.folder / args.key_file), read_public(self, " ".join(args.key))
        if successor.id == signing.public.id:
            raise UsageError("A key cannot be its own successor.", resolution="slapos cache keygen makes another one.")
        _publish(tools, signing.public.id, sign_succession(signing, successor, tools.now))
        say(f"{_named(signing.public)} is replaced by {_named(successor)}. Nodes without --follow take it after:")
        say(f"  slapos cache trust '{successor.line}'")


def read_public(command: Command, text: str) -> PublicKey:
    """A public key: its line, or a file that holds the line."""
    if not text.startswith(KIND):
        text = read_small_file(text, command.app.stdin.read, command.folder)
    return parse_public_key(text)


def _publish(tools: CacheTools, key: KeyId, signed: SignedEntry) -> None:
    """Store what a key says of itself in the upload cache."""
    cache = tools.settings.upload
    if cache is None:
        say("No upload cache is configured: only this node hears of it.", Style.BAD)
        return
    try:
        tools.client.mirror(cache).put_entry(key, signed)
        say(f"{cache.name} tells it to every node that asks.")
    except SlapError as error:
        say(f"{cache.name} did not take it: {error.brief}", Style.BAD)


def _id(trust: TrustStore, text: str) -> KeyId:
    """The key that is meant by an id, the beginning of one, or a line; one that nobody trusts needs all of it."""
    if text.startswith(KIND):
        return parse_public_key(text).id
    known = [each.key.id for each in trust.trusted() if each.key.id.startswith(text)]
    if len(known) == 1:
        return known[0]
    if len(text) == 64 and set(text) <= set("0123456789abcdef"):
        return text
    words = f"{len(known)} keys begin so." if known else "No key that is trusted here begins so."
    raise NotFound(f"{text[:64]!r} names no key.", words, _LIST)


def _rows(trust: TrustStore) -> list[tuple[Any, ...]]:
    revoked = {each.id: each.reason for each in trust.revoked()}
    rows = [_row(each, trust) for each in trust.trusted() if each.key.id not in revoked]
    rows += [(_cell(each.id), each.comment, Cell("former", "SlapOS's way", Style.BUSY), "") for each in trust.former()]
    return rows + [(_cell(key), "", Cell("revoked", "revoked", Style.BAD), why) for key, why in revoked.items()]


def _row(trusted: TrustedKey, trust: TrustStore) -> tuple[Any, ...]:
    words = [*trusted.urls]
    if trusted.because:
        words.append(f"named by {trusted.because[:_SHOWN]}")
    if trusted.retired_at is not None:
        words.append("replaced")
    is_trusted = Cell("trusted", "yes", Style.GOOD)
    try:
        check_not_revoked(trusted.key.id, trusted, trust)
    except RejectedStatement:
        is_trusted = Cell("revoked", "revoked", Style.BAD)
    return _cell(trusted.key.id), trusted.key.comment, is_trusted, ", ".join(words)


def _cell(key: KeyId) -> Cell:
    return Cell(key, key[:_SHOWN])


def _named(key: PublicKey) -> str:
    return f"{key.comment} ({key.id[:_SHOWN]})" if key.comment else key.id[:_SHOWN]

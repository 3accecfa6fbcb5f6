"""`slapos master credentials|revoke|rotate`: who may call a master, and an end to that."""

import argparse
from collections.abc import Iterable, Sequence
from typing import Any

from slap.cli.base import Command, Lister
from slap.cli.master import settings_of, with_database, with_database_alone
from slap.cli.output import Style, say
from slap.master.access.auth import CallerKind
from slap.master.service.accounts import credentials, renew_authority, renew_partition_secret, revoke, revoke_all
from slap.model.errors import NotFound, UsageError


class MasterCredentials(Lister):
    """List the tokens and certificates that are in force. Run it where the master's database is.

    --cfg names the master's own configuration.
    """

    when_empty = "There are no credentials yet. Make a user: slapos master user"

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = with_database_alone(super().get_parser(name))
        parser.add_argument("--all", action="store_true", help="also those that were revoked or have expired")
        return parser

    def take_action(self, args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        found = credentials(settings_of(args, self.folder).database_url, args.all)
        rows = [
            (each.id, each.form, each.kind, each.subject, each.created_at, each.expires_at, each.revoked_at)
            for each in found
        ]
        return ("id", "form", "kind", "of", "made", "expires", "revoked"), rows


class MasterRevoke(Command):
    """End tokens and certificates, within two seconds. Run it where the master's database is.

    Give the id of one, or have all of a user or a computer ended.
    """

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = with_database(super().get_parser(name))
        parser.add_argument("id", nargs="?", metavar="ID", help="as slapos master credentials shows it")
        parser.add_argument("--user", metavar="NAME", help="all credentials of this user")
        parser.add_argument("--computer", metavar="GUID", help="all credentials of this computer")
        return parser

    def take_action(self, args: argparse.Namespace) -> None:
        if sum(map(bool, (args.id, args.user, args.computer))) != 1:
            raise UsageError(
                "What is to be revoked?", "Give an ID, or --user, or --computer.", "slapos master credentials"
            )
        url = settings_of(args, self.folder).database_url
        if args.id:
            ended = revoke(url, args.id)
            say(f"The {ended.form} {ended.id} of {ended.kind} {ended.subject} is revoked.", Style.GOOD)
            return
        kind, subject = (CallerKind.USER, args.user) if args.user else (CallerKind.COMPUTER, args.computer)
        count = revoke_all(url, kind, subject)
        if not count:
            raise NotFound(f"There is nothing to revoke of {kind} {subject}.", "", "slapos master credentials")
        say(f"{count} credentials of {kind} {subject} are revoked.", Style.GOOD)


class MasterRotate(Command):
    """Replace a secret of a master that others may know. Run it where the master's database is.

    All that the former secret made ends at once: there is no time in which both are good.
    """

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = with_database(super().get_parser(name))
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument(
            "--partition-secret",
            action="store_true",
            help="end the tokens of all partitions; nodes process all partitions anew, with the next ones",
        )
        which.add_argument(
            "--authority",
            action="store_true",
            help="end all certificates; print the certificate of the next authority; all computers register anew",
        )
        return parser

    def take_action(self, args: argparse.Namespace) -> None:
        url = settings_of(args, self.folder).database_url
        if args.partition_secret:
            count = renew_partition_secret(url)
            say(f"The tokens of all partitions ended. {count} computers get new ones within a minute.", Style.GOOD)
            return
        authority, count = renew_authority(url)
        self.app.stdout.write(authority.certificate)
        say(f"The next authority has the SHA-256 {authority.fingerprint}. {count} certificates ended.", Style.GOOD)
        say("Next: restart the master. Then make a token for each computer: slapos computer token COMPUTER", Style.BOLD)

"""`slapos computer token`: by what a computer registers."""

import argparse

from slap.cli.base import ClientCommand
from slap.cli.computer import hand_over, with_token_file
from slap.cli.output import say
from slap.client.enrolment import EnrolmentClient
from slap.model.certificate import RegistrationTokenRequest
from slap.model.errors import UsageError


class ComputerToken(ClientCommand):
    """Make a token with which a computer registers, once: slapos node register NAME --token-file FILE.

    With COMPUTER it is for one that is registered already, whose former credentials end when the token is used. With
    --permanent that computer is given a token to call with in place of its former ones, which end at once.
    """

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = with_token_file(super().get_parser(name))
        parser.add_argument("guid", nargs="?", default="", metavar="COMPUTER", help="(a new one)")
        parser.add_argument("--title", help="only a computer of this name may use it")
        parser.add_argument("--permanent", action="store_true", help="a token to call with, not one to register with")
        return parser

    def take_action(self, args: argparse.Namespace) -> None:
        path = args.token_file and self.folder / args.token_file
        if args.permanent and not args.guid:
            raise UsageError("--permanent is for a computer that is registered.", resolution="slapos computer list")
        if args.permanent:
            hand_over(self.master(args).new_computer_token(args.guid).token, path)
            return
        found = self.configuration(args)
        enrolment = EnrolmentClient(found.master_url, found.credentials, self.app.world.transport)
        made = enrolment.registration_token(RegistrationTokenRequest(title=args.title, guid=args.guid))
        hand_over(made.token, path)
        say(f"It registers one computer, once, until {made.expires_at:%Y-%m-%d %H:%M} UTC.")

"""`slapos supply` and `slapos remove`: which computer shall have which software release."""

import argparse
from typing import ClassVar

from slap.cli.base import ClientCommand
from slap.cli.order.follow import display
from slap.cli.order.parameters import release_url
from slap.cli.order.products import resolve
from slap.cli.order.wait import Line, Mark
from slap.cli.output import Style, duration, say
from slap.client.master import Master
from slap.model.errors import BuildFailed, SlapError
from slap.model.software import Supply as SupplyDocument
from slap.model.software import SupplyRequest, normalise_release_url
from slap.model.state import ReportedSupplyState, SupplyState

POLL = 0.5  # seconds between two looks at a build


class Supply(ClientCommand):
    """Have a software release built on a computer.

    Supplying a release again has it built again where its profile can have changed, and retries a failed build at once.
    """

    state: ClassVar[SupplyState] = SupplyState.AVAILABLE

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument("url", metavar="URL", help="software release: the URL or the path of a software.cfg")
        parser.add_argument("computer", metavar="COMPUTER", help="as slapos computer list names it")
        parser.add_argument("--wait", action="store_true", help="wait until it is done, showing how far it is")
        parser.add_argument("--timeout", type=float, default=3600, metavar="SECONDS", help="how long to wait (3600)")
        return parser

    def take_action(self, args: argparse.Namespace) -> None:
        master = self.master(args)
        supply = master.supply(
            SupplyRequest(url=self.url(resolve(master, args.url)), computer=args.computer, state=self.state)
        )
        if args.wait:
            self._wait(master, supply, args.timeout)
        else:
            say(f"{supply.url} shall be {supply.requested} on {supply.computer}.")
            say(f"How far it is: slapos computer info {supply.computer}")

    def url(self, text: str) -> str:
        return release_url(text, self.folder)

    def _wait(self, master: Master, supply: SupplyDocument, timeout: float) -> None:
        started = self.clock.monotonic()
        with display(self.clock, is_quiet=self.app.options.verbose_level == 0) as shown:
            while not is_over(now := _look(master, supply)):
                shown.show([describe(now)])
                if self.clock.monotonic() - started >= timeout:
                    raise out_of_time(now, timeout)
                self.clock.sleep(POLL)
            shown.show([describe(now)])
        if now.reported is ReportedSupplyState.ERROR:
            raise build_failed(now)
        if now.reported is ReportedSupplyState.UNKNOWN:
            say(f"{now.url} is to be {now.requested}. Its master does not tell how far it is; the node's logs do.")
            return
        say(f"{now.url} is {now.reported} after {duration(self.clock.monotonic() - started)}.", Style.GOOD)


class Remove(Supply):
    """Remove a software release from a computer."""

    state = SupplyState.DESTROYED

    def url(self, text: str) -> str:
        """The profile may be gone already."""
        return normalise_release_url(text, str(self.folder))


def is_over(now: SupplyDocument) -> bool:
    """As requested, or failed; what was reported before the last request says nothing of it."""
    is_answer = now.reported.value == now.requested.value or now.reported in _NOTHING_MORE
    return now.is_current and is_answer


_NOTHING_MORE = (ReportedSupplyState.ERROR, ReportedSupplyState.UNKNOWN)


def describe(supply: SupplyDocument) -> Line:
    mark = Mark.WORKING if supply.reported is ReportedSupplyState.BUILDING else Mark.WAITING
    if supply.reported.value == supply.requested.value:
        mark = Mark.DONE
    text = supply.message.strip().splitlines()
    words = supply.reported.value or "waiting for the node"
    return Line(supply.url, 0, supply.url, mark, f"{words}: {text[0]}" if text else words)


def build_failed(supply: SupplyDocument) -> BuildFailed:
    return BuildFailed(
        f"{supply.url} could not be built on {supply.computer}.",
        f"{supply.message}\n{supply.log}".strip(),
        f"mend the release, then: slapos supply {supply.url} {supply.computer} --wait",
    )


def out_of_time(supply: SupplyDocument, timeout: float) -> SlapError:
    return SlapError(
        f"{supply.url} is not {supply.requested} after {duration(timeout)}. The order goes on.",
        describe(supply).text,
        f"slapos computer info {supply.computer}",
    )


def _look(master: Master, supply: SupplyDocument) -> SupplyDocument:
    """The supply as it is now; one that was removed may be gone from the master's list."""
    found = master.supplies(supply.computer, supply.url)
    return found[0] if found else supply.model_copy(update={"reported": ReportedSupplyState.DESTROYED})

"""`slapos service plan`: what a request would change and where it would be placed, before anything happens."""

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from slap.cli.base import Show
from slap.cli.order.parameters import add_request_options, request_of
from slap.cli.order.products import resolve
from slap.cli.output import Style, columns, harmless, paint
from slap.model.errors import CannotBePlaced
from slap.model.instance import FieldChange, Placement, Plan
from slap.model.software import DEFAULT_TYPE
from slap.model.state import InstanceState

HEADINGS = {
    "create": "{0} would be created.",
    "update": "{0} would be changed.",
    "nothing": "{0} is already requested like this: nothing would change.",
}


class ServicePlan(Show):
    """Show what a request would change, without doing it.

    Takes the options of slapos request, and ends with the command that carries the plan out.
    """

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        add_request_options(parser)
        return parser

    def take_action(self, args: argparse.Namespace) -> tuple[Sequence[str], Any]:
        master = self.master(args)
        args.url = resolve(master, args.url)
        plan = master.plan(request_of(args, self.folder))
        command = apply_command(args)
        if not plan.computer:
            self.unfinished = cannot_be_placed(plan)
        self.text = "\n\n".join(plan_text(plan, "" if self.unfinished else command))
        return self.fields({**plan.model_dump(mode="json"), "command": command})


def plan_text(plan: Plan, command: str) -> Iterator[str]:
    """A plan in paragraphs."""
    yield HEADINGS.get(plan.action, "{0}: " + plan.action).format(plan.reference)
    if plan.changes:
        yield "Changes\n" + "\n".join(change_lines(plan.changes, sys.stdout))
    if plan.partition:
        yield f"Place\n  stays on {plan.computer}, in {plan.partition}"
    elif plan.placements:
        yield "Place\n" + columns((one.instance or one.computer, _judgement(one, plan)) for one in plan.placements)
    if command:
        yield f"To do it:\n  {command}"


def change_lines(changes: Sequence[FieldChange], stream: TextIO) -> Iterator[str]:
    """What was and what is to be, like a diff, in colours when the stream has them."""
    for change in changes:
        if change.before:
            yield paint(f"  - {harmless(change.field)}: {harmless(change.before)}", Style.BAD, stream)
        if change.after:
            yield paint(f"  + {harmless(change.field)}: {harmless(change.after)}", Style.GOOD, stream)
        if change.effect:
            yield f"      {harmless(change.effect)}"


def cannot_be_placed(plan: Plan) -> CannotBePlaced:
    return CannotBePlaced(
        f"{plan.reference} cannot be placed.",
        "\n".join(f"{one.instance or one.computer}: {', '.join(one.refusals)}" for one in plan.placements)
        or "There is no computer.",
        "slapos computer list",
    )


def apply_command(args: argparse.Namespace) -> str:
    """The request that carries a plan out, quoted for a shell; options that were not given stay away."""
    words = ["slapos", "request", args.reference, args.url]
    optional = {"--cfg": args.cfg, "--computer": args.computer, "--parameters-file": args.parameters_file}
    optional |= {"--type": args.type if args.type != DEFAULT_TYPE else ""}
    optional |= {"--state": args.state if args.state is not InstanceState.STARTED else ""}
    optional |= {"--force-serialisation": args.force_serialisation}
    for option, value in optional.items():
        words += [option, str(value)] if value else []
    words += ["--slave"] if args.slave else []
    for option, values in (("--node", args.node), ("--parameters", args.parameters)):
        words += [option, *values] if values else []
    return shlex.join(words)


def _judgement(candidate: Placement, plan: Plan) -> str:
    if candidate.refusals:
        return "no: " + ", ".join(candidate.refusals)
    first = next(one for one in plan.placements if not one.refusals)
    chosen = "chosen" if candidate == first else "would do as well"
    if candidate.instance:
        return f"{chosen}: {candidate.title}, which serves {candidate.serves}"
    return f"{chosen}: {candidate.free_partitions} free partitions"

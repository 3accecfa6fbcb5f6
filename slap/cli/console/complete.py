"""`slapos complete`: what a shell completes of the commands. The scripts need nothing but the shell itself."""

import argparse
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from slap.cli.base import Command
from slap.cli.commands import GROUPS, Entry

# Commands whose first argument is the name of a service, and those that name a computer somewhere.
OF_SERVICES = ("request", "service ")
OF_COMPUTERS = ("supply", "remove", "computer info", "computer token")


@dataclass(frozen=True)
class Described:
    """A command with its options, and the line about it."""

    name: str
    options: tuple[str, ...]
    summary: str

    @property
    def names(self) -> str:
        """The command that lists what may be named as its argument; empty where that is a file or nothing."""
        if self.name != "service list" and self.name.startswith(OF_SERVICES):
            return "service list -f value -c name"
        return "computer list -f value -c computer" if self.name.startswith(OF_COMPUTERS) else ""


class Complete(Command):
    """Print what a shell needs to complete commands, their options, and the names of services and computers.

    Use it by: source <(slapos complete)
    """

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(name)
        parser.add_argument("--name", default="slapos", help="the name that the command is typed by (slapos)")
        parser.add_argument("--shell", choices=list(_SHELLS), default="bash", help="(bash); none is a plain list")
        return parser

    def take_action(self, args: argparse.Namespace) -> None:
        commands = [self._described(entry) for group in GROUPS.values() for entry in group]
        self.app.stdout.write(_SHELLS[args.shell](args.name, commands))

    def _described(self, entry: Entry) -> Described:
        parser = entry.load()(self.app, self.app.options, cmd_name=entry.name).get_parser(entry.name)
        return Described(entry.name, options_of(parser), entry.summary)


def options_of(parser: argparse.ArgumentParser) -> tuple[str, ...]:
    """The long options of a parser, and the short ones that have no long form."""
    return tuple(_longest(action.option_strings) for action in parser._actions if action.option_strings)


def plain_list(name: str, commands: Iterable[Described]) -> str:
    return "".join(f"{name} {each.name}: {' '.join(each.options)}\n" for each in commands)


def bash_script(name: str, commands: Sequence[Described]) -> str:
    """A script for bash 4 or later."""
    return _BASH.format(
        name=shlex.quote(name),
        function=f"_{_identifier(name)}_complete",
        table=f"_{_identifier(name)}",
        options=_table({each.name: " ".join(each.options) for each in commands}),
        names=_table({each.name: each.names for each in commands if each.names}),
    )


def fish_script(name: str, commands: Sequence[Described]) -> str:
    quoted = shlex.quote(name)
    lines = [f"complete -c {quoted} -f"]
    for each in commands:
        first, _, second = each.name.partition(" ")
        seen = f"__fish_seen_subcommand_from {first}"
        lines.append(_fish(quoted, "__fish_use_subcommand", f"-a {first}", "" if second else each.summary))
        if second:
            lines.append(_fish(quoted, seen, f"-a {second}", each.summary))
            seen += f"; and __fish_seen_subcommand_from {second}"
        lines += [_fish(quoted, seen, f"-l {option[2:]}", "") for option in each.options if option.startswith("--")]
        if each.names:
            lines.append(_fish(quoted, seen, f'-a "({name} {each.names} 2>/dev/null)"', ""))
    return "\n".join(dict.fromkeys(lines)) + "\n"


_SHELLS = {"bash": bash_script, "fish": fish_script, "none": plain_list}


def _longest(words: Sequence[str]) -> str:
    return next((word for word in words if word.startswith("--")), words[0])


def _identifier(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def _table(rows: Mapping[str, str]) -> str:
    return "\n".join(f"    [{shlex.quote(key)}]={shlex.quote(value)}" for key, value in rows.items())


def _fish(name: str, when: str, what: str, summary: str) -> str:
    described = f" -d {shlex.quote(summary)}" if summary else ""
    return f"complete -c {name} -n {shlex.quote(when)} {what}{described}"


_BASH = """\
declare -gA {table}_options=(
{options}
)
declare -gA {table}_names=(
{names}
)
{function}() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" word command candidates key IFS=$'\\n'
    local -a typed=()
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        [[ "$word" == -* ]] || typed+=("$word")
    done
    COMPREPLY=()
    for command in "${{typed[0]-}} ${{typed[1]-}}" "${{typed[0]-}}"; do
        [[ -n "$command" && -n "${{{table}_options[$command]+set}}" ]] || continue
        if [[ "$current" == -* ]]; then
            candidates="${{{table}_options[$command]// /$'\\n'}}"
        elif [[ -n "${{{table}_names[$command]+set}}" ]]; then
            candidates="$(IFS=' '; command {name} ${{{table}_names[$command]}} 2>/dev/null </dev/null)"
        else
            return
        fi
        COMPREPLY=($(compgen -W "$candidates" -- "$current"))
        return
    done
    candidates=""
    for key in "${{!{table}_options[@]}}"; do
        if [[ ${{#typed[@]}} -eq 0 ]]; then
            candidates+="${{key%% *}}"$'\\n'
        elif [[ ${{#typed[@]}} -eq 1 && "$key" == "${{typed[0]}} "* ]]; then
            candidates+="${{key#* }}"$'\\n'
        fi
    done
    [[ -z "$candidates" ]] || COMPREPLY=($(compgen -W "$(sort -u <<< "$candidates")" -- "$current"))
}}
complete -o default -F {function} {name}
"""

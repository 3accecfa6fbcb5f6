"""What an instantiation left in a partition: services, programs to be run once, promises, schedules."""

import json
from collections.abc import Iterable
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from slap.model.check import Check, CommandCheck, PluginCheck, ServiceSettings
from slap.model.errors import InvalidInput
from slap.model.node import CONNECTION_FILE, SHARED_FOLDER
from slap.node.buildout.record import read_record
from slap.node.core.file_names import check_file_name
from slap.node.core.store import Installed
from slap.system import files
from slap.system.trust.untrusted_files import read_owned

_CHECK: TypeAdapter[Check] = TypeAdapter(Check)
_MAX_CRONTAB_BYTES = 64 * 1024


def read_installed(folder: Path) -> Installed:
    """What the profile put into a partition to run, to check and to repeat; raises InvalidInput naming a wrong file."""
    services, runs = _executables(folder / "etc/service"), _executables(folder / "etc/run")
    commands, checks = _commands(folder / "etc/promise"), _checks(folder / "etc/plugin")
    for twice in sorted((services.keys() & runs.keys()) | (commands.keys() & checks.keys())):
        raise _twice(folder, twice)
    return Installed(
        services=services,
        runs=runs,
        checks={**commands, **checks},
        crons=_crons(folder),
        patience=_patience(folder / "etc/service", services),
    )


def read_connection(folder: Path) -> dict[str, object] | None:
    """The connection parameters that slap:publish wrote; None with SlapOS's recipes, which call the master."""
    text = files.read_or(folder / CONNECTION_FILE, "")
    return json.loads(text) if text else None


def read_shared(folder: Path) -> dict[str, dict[str, object]] | None:
    """The parameters that parts published for shared instances; None when no part publishes any."""
    found = sorted(folder.joinpath(SHARED_FOLDER).glob("*.json"))
    if not found:
        return None
    return {guid: each for path in found for guid, each in json.loads(path.read_text()).items()}


def _entries(folder: Path) -> list[Path]:
    """The files of a folder, without hidden ones, folders, and what Python compiles."""
    entries = sorted(path for path in folder.iterdir() if path.is_file() and not _is_aside(path.name))
    for path in entries:
        check_file_name(path)
    return entries


def _is_aside(name: str) -> bool:
    return name.startswith((".", "__init__.")) or name.endswith((".pyc", ".pyo"))


def _executables(folder: Path) -> dict[str, str]:
    """The executables of a folder, with empty digests: the node computes those."""
    return {path.name: "" for path in _entries(folder)}


def _patience(folder: Path, services: Iterable[str]) -> dict[str, int]:
    """Stop timeouts of services, in seconds, from the settings files beside them."""
    paths = {name: folder / f".{name}.json" for name in services}
    return {name: _read_settings(path).stop_timeout for name, path in paths.items() if path.exists()}


def _read_settings(path: Path) -> ServiceSettings:
    try:
        return ServiceSettings.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise InvalidInput(f"{path} is wrong.", str(error)) from error


def _commands(folder: Path) -> dict[str, Check]:
    return {path.name: CommandCheck(check="command", command=(str(path),), timeout=20) for path in _entries(folder)}


def _checks(folder: Path) -> dict[str, Check]:
    entries = _entries(folder)
    names = [path.stem for path in entries]
    for twice in sorted({name for name in names if names.count(name) > 1}):
        raise _twice(folder.parents[1], twice)
    return {path.stem: _read_check(path) for path in entries}


def _read_check(path: Path) -> Check:
    if path.suffix == ".py":
        return PluginCheck(check="plugin", path=str(path))
    if path.suffix != ".json":
        raise InvalidInput(
            f"The promise {path} is of a kind that is not run.",
            "A promise that nobody runs would be taken for one that passed.",
            "Name it .py for a plugin as SlapOS has them, or put an executable into etc/promise.",
        )
    try:
        return _CHECK.validate_json(path.read_bytes())
    except ValidationError as error:
        raise InvalidInput(f"The promise {path} is wrong.", str(error)) from error


def _crons(folder: Path) -> dict[str, str]:
    """The schedules that the node runs: those of parts with recipes of ours.

    Profiles of SlapOS bring a cron daemon, whose entries lie in the same folder.
    """
    found = _entries(folder / "etc/cron.d")
    ours = _made_by_us(folder) if found else set()
    return {path.name: _read_crontab(path) for path in found if path in ours}


def _read_crontab(path: Path) -> str:
    text = read_owned(path.parent, path.name, None, _MAX_CRONTAB_BYTES).strip()
    if set(text) & set("\n\r\0"):
        raise InvalidInput(f"{path} is no line of a crontab.", "It has several lines, or a zero byte.")
    return text


def _made_by_us(folder: Path) -> set[Path]:
    """The files that parts with recipes of ours installed, by all buildout records of the partition."""
    return {folder / path for record in folder.glob(".installed*.cfg") for path in _paths_in(record)}


def _paths_in(record: Path) -> Iterable[str]:
    for section in read_record(record).values():
        if _is_ours(section):
            yield from section.get("__buildout_installed__", "").split("\n")


def ordered_by_others(folder: Path) -> set[str]:
    """Names of the children requested by parts with foreign recipes, which do not record them."""
    sections = (section for record in folder.glob(".installed*.cfg") for section in read_record(record).values())
    return {each["name"] for each in sections if not _is_ours(each) and each.get("name") and "software-url" in each}


def _is_ours(section: dict[str, str]) -> bool:
    return section.get("recipe", "").startswith("slap:")


def _twice(folder: Path, name: str) -> InvalidInput:
    return InvalidInput(
        f"Two programs or two promises of {folder} are called {name}.",
        "One lies in etc/service or etc/promise, the other in etc/run or etc/plugin.",
        "Rename one of them in the instance profile.",
    )

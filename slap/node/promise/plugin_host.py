"""Runs the plugins of one partition in a program of its own; prints one JSON document a plugin.

Started by the node as the partition's user, with a copy of this file, in a bare Python: what a plugin needs is in the eggs
of its release, which its first lines put on the path. Each plugin runs in a fork, which is killed when its time is over.
Only the standard library is used here.
"""

import ast
import contextlib
import importlib.abc
import importlib.util
import json
import logging
import os
import selectors
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote, urlsplit

STATE = ".slapgrid/promise"
_SIDE_BY_SIDE = 4
_LONGEST_MESSAGE = 2000
_LONGEST_ANSWER = 1 << 16
_USUAL_MINUTES = 2.0


@dataclass(frozen=True)
class Plugin:
    """A plugin with its time-out."""

    name: str
    path: str
    timeout: float


@dataclass(frozen=True)
class Round:
    """What is to be run. In the mode `anomaly` a plugin is asked as SlapOS does while all is well: is this a trouble to act
    upon? Otherwise: did it pass?
    """

    folder: Path
    plugins: tuple[Plugin, ...]
    anomaly: bool


@dataclass
class Running:
    """A plugin's running process."""

    plugin: Plugin
    pid: int
    pipe: int
    started: float
    received: bytearray = field(default_factory=bytearray)

    @property
    def left(self) -> float:
        return self.started + self.plugin.timeout - time.monotonic()


class Queue:
    """The queue that a promise puts its result into."""

    def __init__(self) -> None:
        self.items: list[Any] = []

    def put(self, item: Any, *_: Any) -> None:
        self.items.append(item)

    put_nowait = put


class Shim(importlib.abc.MetaPathFinder):
    """Finds the base classes of promises, where a release has none, in files beside this one."""

    NAMES = ("slapos", "slapos.grid", "zope")
    FILES = {
        "slapos.grid.promise": "plugin_interface.py",
        "slapos.grid.promise.generic": "plugin_base.py",
        "slapos.grid.promise.interface": "plugin_interface.py",
        "zope.interface": "plugin_interface.py",
    }

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        if name in self.FILES:
            path = Path(__file__).with_name(self.FILES[name])
            return importlib.util.spec_from_file_location(name, path, submodule_search_locations=[])
        if name in self.NAMES:
            return ModuleSpec(name, None, is_package=True)
        return None


def main(words: Sequence[str]) -> None:
    wanted = read(words[0])
    sys.dont_write_bytecode = True
    sys.meta_path.append(Shim())
    warm_up([Path(plugin.path) for plugin in wanted.plugins])
    for answer in run_all(wanted):
        print(json.dumps(answer), flush=True)


def read(text: str) -> Round:
    document = json.loads(text)
    plugins = tuple(Plugin(**each) for each in document.pop("plugins"))
    return Round(Path(document["folder"]), plugins, document["anomaly"])


def warm_up(paths: Sequence[Path]) -> None:
    """Import what several plugins need once, when all of them have the same packages."""
    heads = {paths_of(path) for path in paths}
    if len(paths) > 1 and len(heads) == 1:
        sys.path[0:0] = heads.pop()
        with contextlib.suppress(ImportError):
            importlib.import_module("slapos.grid.promise.generic")


def paths_of(plugin: Path) -> tuple[str, ...]:
    """The folders that the first lines of a plugin put on the path."""
    try:
        tree = ast.parse(plugin.read_bytes())
        head = next(
            each for each in tree.body if isinstance(each, ast.Assign) and "sys.path" in ast.unparse(each.targets[0])
        )
        return tuple(map(str, ast.literal_eval(head.value)))
    except (OSError, SyntaxError, ValueError, StopIteration):
        return ()


def run_all(wanted: Round) -> Iterator[dict[str, Any]]:
    """Run all plugins; yields answers as they arrive."""
    waiting = list(wanted.plugins)
    with selectors.DefaultSelector() as selector:
        while waiting or selector.get_map():
            while waiting and len(selector.get_map()) < _SIDE_BY_SIDE:
                running = start(wanted, waiting.pop(0))
                selector.register(running.pipe, selectors.EVENT_READ, running)
            running_now: list[Running] = [key.data for key in selector.get_map().values()]
            soonest = max(0.0, min(each.left for each in running_now))
            ready = {key.fd for key, _ in selector.select(soonest)}
            for each in running_now:
                if (each.pipe in ready and has_ended(each)) or each.left <= 0:
                    selector.unregister(each.pipe)
                    yield finish(wanted, each)


def start(wanted: Round, plugin: Plugin) -> Running:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            os.close(reader)
            be_plugin(wanted, plugin, writer)
        finally:
            os._exit(0)
    os.close(writer)
    return Running(plugin, pid, reader, time.monotonic())


def be_plugin(wanted: Round, plugin: Plugin, writer: int) -> None:
    """Run a plugin in the forked child; what it prints is discarded."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    os.chdir(wanted.folder)
    try:
        answer = run_plugin(wanted, plugin)
    except Exception as error:  # noqa: BLE001 (whatever a plugin raises is what it says)
        traceback.print_exc()
        answer = failed(f"{type(error).__name__}: {error}")
    with os.fdopen(writer, "w") as pipe:
        pipe.write(json.dumps(answer))


def run_plugin(wanted: Round, plugin: Plugin) -> dict[str, Any]:
    started = time.monotonic()
    queue = Queue()
    promise = make(wanted, plugin, queue)
    minutes = float(getattr(promise, "getPeriodicity", lambda: _USUAL_MINUTES)())
    promise.run(wanted.anomaly, wanted.anomaly)
    if not queue.items:
        return failed("It gave no result.", minutes)
    result = queue.items[-1]
    result.execution_time = round(time.monotonic() - started, 3)
    if result.item.type() != "Empty Result":
        save(wanted.folder, plugin.name, result.serialize())
    message = str(result.item.message or "")[-_LONGEST_MESSAGE:]
    return {"passed": not result.item.hasFailed(), "message": message, "minutes": minutes}


def make(wanted: Round, plugin: Plugin, queue: Queue) -> Any:
    """Create a plugin's promise, configured as SlapOS does it."""
    module = load(plugin)
    folders = {"partition-folder": str(wanted.folder), "log-folder": str(wanted.folder / STATE / "log")}
    config: dict[str, Any] = {
        **identity_of(wanted.folder),
        **folders,
        "debug": False,
        "promise-timeout": plugin.timeout,
        "queue": queue,
        "path": plugin.path,
        "name": Path(plugin.path).name,
    }
    extra = getattr(module, "extra_config_dict", {})
    if taken := sorted(config.keys() & extra.keys()):
        raise ValueError(f"extra_config_dict cannot have {', '.join(taken)}.")
    return module.RunPromise({**config, **extra})


def identity_of(folder: Path) -> dict[str, str]:
    """The partition's identity, for plugins that call the master."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        context = json.loads((folder / ".slapos-context.json").read_text())
        partition, token = context["instance"]["partition"], context["instance"]["token"]
        url = urlsplit(context["master_url"])
        known = f"{quote(partition, safe='')}:{quote(token, safe='')}@" if token else ""
        master = url._replace(netloc=known + url.netloc).geturl()
        return {"computer-id": context["computer"], "partition-id": partition, "master-url": master}
    return {}


def load(plugin: Plugin) -> ModuleType:
    sys.path.insert(0, str(Path(plugin.path).parent))
    spec = importlib.util.spec_from_file_location(plugin.name, plugin.path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[plugin.name] = module
    spec.loader.exec_module(module)
    if not hasattr(module, "RunPromise"):
        raise AttributeError(f"{plugin.path} has no class RunPromise.")
    return module


def has_ended(running: Running) -> bool:
    part = os.read(running.pipe, 1 << 16)
    running.received += part
    return not part or len(running.received) > _LONGEST_ANSWER


def finish(wanted: Round, running: Running) -> dict[str, Any]:
    """The answer of a plugin that ended or timed out; ends all processes that it started."""
    os.close(running.pipe)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(running.pid, signal.SIGKILL)
    os.waitpid(running.pid, 0)
    seconds = round(time.monotonic() - running.started, 3)
    return {"name": running.plugin.name, "seconds": seconds, **answer_of(wanted, running)}


def answer_of(wanted: Round, running: Running) -> dict[str, Any]:
    plugin = running.plugin
    try:
        return dict(json.loads(bytes(running.received)))
    except ValueError:
        if running.left > 0:
            return failed("It ended without a result.")
    timed_out = f"Error: Promise timed out after {plugin.timeout:g} seconds"
    before = last_result(wanted.folder, plugin.name)
    save(wanted.folder, plugin.name, timed_out_result(wanted, plugin, timed_out))
    # While all is well a first time-out is an accident, a second one in a row a trouble.
    passed = wanted.anomaly and not (before.get("failed") or "error:" in str(before.get("message")).lower())
    return {"passed": passed, "message": timed_out, "minutes": _USUAL_MINUTES}


def timed_out_result(wanted: Round, plugin: Plugin, message: str) -> dict[str, Any]:
    result = {
        "type": "Anomaly Result" if wanted.anomaly else "Test Result",
        "failed": not wanted.anomaly,
        "date": time.strftime("%Y-%m-%dT%H:%M:%S+0000", time.gmtime()),
        "message": message,
    }
    name = Path(plugin.path).name
    return {"title": plugin.name, "name": name, "path": plugin.path, "execution-time": plugin.timeout, "result": result}


def result_file(folder: Path, name: str) -> Path:
    return folder / STATE / "result" / f"{name}.status.json"


def last_result(folder: Path, name: str) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return dict(json.loads(result_file(folder, name).read_text())["result"])
    return {}


def save(folder: Path, name: str, document: dict[str, Any]) -> None:
    """Save a result where SlapOS's monitor reads it."""
    path = result_file(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".aside")
    aside.write_text(json.dumps(document))
    aside.replace(path)


def failed(message: str, minutes: float = _USUAL_MINUTES) -> dict[str, Any]:
    return {"passed": False, "message": message[-_LONGEST_MESSAGE:], "minutes": minutes}


if __name__ == "__main__":
    logging.raiseExceptions = False
    main(sys.argv[1:])

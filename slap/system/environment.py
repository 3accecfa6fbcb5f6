"""The one place that reads the environment of this process."""

import os
import shutil
import sys
from pathlib import Path

from slap.model.errors import NotFound
from slap.system.processes import BUILD_MARK, NODE_MARK, PARTITION_MARK

# What a child process gets when nothing else is said: no variable of ours leaks into a build or a service.
CLEAN_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SYSTEM_PYTHON = Path("/usr/bin/python3")


def variable(name: str, default: str = "") -> str:
    return os.environ.get(name, default)


def whole() -> dict[str, str]:
    """All of it, for a program that takes the place of this one."""
    return dict(os.environ)


def is_root() -> bool:
    return os.geteuid() == 0


def bare(home: Path, extra: dict[str, str] | None = None) -> dict[str, str]:
    """An environment for services: nothing of the caller's, whose variables may hold its passwords.

    The marks by which the processes of a node are found are passed on: what a program starts is still the node's.
    """
    kept = {name: os.environ[name] for name in (NODE_MARK, PARTITION_MARK, BUILD_MARK) if name in os.environ}
    return {"PATH": CLEAN_PATH, "HOME": str(home), "LANG": "C.UTF-8", "TZ": "UTC", **kept, **(extra or {})}


def clean(home: Path, extra: dict[str, str] | None = None) -> dict[str, str]:
    """An environment for builds: reproducible, without anything of the caller's but its way to the package registries.

    Builds reach those through the machine's own client configuration (pip.conf, apt.conf, npmrc) where that is kept in
    files; where it is kept in variables, the variables are passed on.
    """
    return {**bare(home), **registry_access(), **(extra or {})}


def registry_access() -> dict[str, str]:
    """Variables of this process by which builds reach package registries; there may be passwords in them."""
    return {name: value for name, value in os.environ.items() if name in _PASSED_ON or name.startswith(_TOOLS)}


def registry_clients() -> dict[str, str]:
    """Variables that name this user's own settings of pip and npm, for builds whose HOME is another folder."""
    candidates = {
        "PIP_CONFIG_FILE": (".config/pip/pip.conf", ".pip/pip.conf"),
        "npm_config_userconfig": (".npmrc",),
    }
    found = {
        name: next((path for each in paths if (path := Path.home() / each).exists()), None)
        for name, paths in candidates.items()
    }
    return {name: str(path) for name, path in found.items() if path and name not in os.environ}


def become(variables: dict[str, str]) -> None:
    """Give this very process another environment; for a fork that is about to build."""
    os.environ.clear()
    os.environ.update(variables)


def find_program(name: str) -> str:
    """Where a program of the system is; empty when it is not installed."""
    return shutil.which(name, path=CLEAN_PATH) or ""


def program(name: str, package: str = "") -> str:
    """The same; raises NotFound with the Debian package that has it."""
    if path := find_program(name):
        return path
    raise NotFound(f"This computer has no {name}.", resolution=f"Type `apt-get install {package or name}` as root.")


def own_program(name: str) -> Path:
    """A command that was installed beside the Python that runs us (`slapos`, `supervisord`)."""
    return Path(sys.executable).parent / name


def typed(name: str, folder: Path) -> str:
    """How somebody in a folder types a command of ours: by its name where that finds it, else by the shortest path."""
    program = own_program(name)
    if shutil.which(name) == str(program):
        return name
    return str(program.relative_to(folder) if program.is_relative_to(folder) else program)


_TOOLS = ("PIP_", "npm_config_", "NPM_CONFIG_")

_PASSED_ON = frozenset(
    {
        "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
        "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS",
    }
)  # fmt: skip


def open_python() -> Path:
    """A Python that partition users may run too: the one that runs us, unless it lies in somebody's home."""
    own = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    return own if is_open_to_all(own) and is_open_to_all(Path(sys.base_prefix)) else SYSTEM_PYTHON


def is_open_to_all(path: Path) -> bool:
    """Whether any user may get there, and read and run what is there."""
    return _allows(path, 0o005) and all(_allows(place, 0o001) for place in path.parents)


def _allows(path: Path, bits: int) -> bool:
    return path.exists() and path.stat().st_mode & bits == bits

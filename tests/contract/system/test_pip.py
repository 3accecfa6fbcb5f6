"""Packages as buildout installs them, by starting pip and by a fork that has it loaded: both must do the same."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

_INSTALL = """
import sys
from zc.buildout import easy_install
from slap.node.buildout import pip
if sys.argv[1] == "fork":
    pip.speak()
easy_install.call_pip_install(*sys.argv[2:])
"""


def install(how: str, package: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    argv = (sys.executable, "-c", _INSTALL, how, str(package), str(folder))
    return subprocess.run(argv, capture_output=True, text=True, timeout=60)


def a_wheel(folder: Path) -> Path:
    path = folder / "one-1.0-py3-none-any.whl"
    metadata = {
        "METADATA": "Metadata-Version: 2.1\nName: one\nVersion: 1.0\nRequires-Dist: not-there\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "entry_points.txt": "[console_scripts]\none = one:main\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("one/__init__.py", "def main(): print('one')\n")
        for name, text in metadata.items():
            wheel.writestr(f"one-1.0.dist-info/{name}", text)
    return path


def test_both_lay_down_the_same(tmp_path: Path) -> None:
    wheel, laid = a_wheel(tmp_path), {}
    for how in ("start", "fork"):
        done = install(how, wheel, tmp_path / how)
        assert done.returncode == 0, done.stderr
        laid[how] = {str(path.relative_to(tmp_path / how)) for path in (tmp_path / how).rglob("*")}
    assert laid["fork"] == laid["start"]
    assert any(name.endswith("one/__init__.py") for name in laid["fork"])
    assert any("__pycache__" in name for name in laid["fork"])  # whom the release serves may not write there


@pytest.mark.parametrize("how", ["start", "fork"])
def test_both_say_what_is_wrong_with_a_package(tmp_path: Path, how: str) -> None:
    broken = tmp_path / "broken-1.0-py3-none-any.whl"
    broken.write_bytes(b"no wheel")
    done = install(how, broken, tmp_path / how)
    assert done.returncode == 1
    assert "invalid" in done.stdout + done.stderr
    assert str(broken) in done.stderr
    assert not list((tmp_path / how).iterdir())

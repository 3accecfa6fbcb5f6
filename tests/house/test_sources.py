"""The checks of the house see every file of our own code, whatever its folders are called."""

from pathlib import Path

from tests.house.layers import forbidden_imports
from tests.house.sources import LEFT_ANYWHERE, NOT_MEASURED, ROOT, files, measured_code

PROBE = "probe_of_the_house.py"


def test_a_probe_in_each_folder_of_slap_is_caught(tmp_path: Path) -> None:
    folders = _folders_with_code(ROOT / "slap") - {ROOT / "slap"}
    assert ROOT / "slap/node/buildout" in folders
    probes = {str((folder / PROBE).relative_to(ROOT)) for folder in folders} | {"slap/node/build/" + PROBE}
    for name in probes:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("import subprocess\nfrom slap.attic import a\n")
    caught = {source.name for source in measured_code(tmp_path) if forbidden_imports(source)}
    assert caught == probes


def test_what_tools_leave_is_passed_over_where_they_leave_it(tmp_path: Path) -> None:
    names = ["build/a.py", "var/b.py", "slap/build/c.py", "slap/var/d.py", "slap/__pycache__/e.py", ".venv/f.py"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert files(".", tmp_path) == ["slap/build/c.py", "slap/var/d.py"]


def _folders_with_code(top: Path) -> set[Path]:
    found = {path.parent for path in top.rglob("*.py")}
    return {folder for folder in found if not (LEFT_ANYWHERE | NOT_MEASURED) & set(folder.relative_to(top).parts)}

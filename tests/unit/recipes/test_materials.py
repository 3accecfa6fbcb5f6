"""What parts note of what they were made of."""

import json
from hashlib import sha256
from pathlib import Path

from slap.model.cache.material import MATERIALS, Material, MaterialKind
from slap.recipes import deb, python
from slap.recipes.cmmi import Recipe as Cmmi
from slap.recipes.common.source import materials
from slap.recipes.download import Recipe as Download
from slap.system.debian import Package, SourcePackage
from tests.unit.recipes.parts import part_of

DIGEST = sha256(b"content").hexdigest()
MAKEFILE = "all:\ninstall:\n\tmkdir -p $(DESTDIR)$(PREFIX)\n\tcp Makefile $(DESTDIR)$(PREFIX)\n"
PATCH = "--- a/Makefile\n+++ b/Makefile\n@@ -1,2 +1,3 @@\n+# patched\n all:\n install:\n"


def noted(folder: Path) -> tuple[Material, ...]:
    return MATERIALS.validate_json((folder / "parts/.materials/it.json").read_bytes())


def test_a_download_is_noted_once_it_was_made(tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_bytes(b"content")
    part = part_of(Download, tmp_path, url="file.txt", sha256=DIGEST)
    assert not (tmp_path / "parts").exists()
    part.install()
    (found,) = noted(tmp_path)
    assert (found.kind, found.name, found.digests) == (MaterialKind.FILE, "file.txt", {"sha256": DIGEST})


def test_a_compiled_part_notes_its_source_and_its_patches(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/Makefile").write_text(MAKEFILE)
    (tmp_path / "fix.patch").write_text(PATCH)
    part_of(Cmmi, tmp_path, path="source", configure_command="", patches="fix.patch").install()
    source, patch = noted(tmp_path)
    assert (source.kind, source.name) == (MaterialKind.FOLDER, "source")
    assert (patch.kind, patch.digests) == (MaterialKind.PATCH, {"sha256": sha256(PATCH.encode()).hexdigest()})


def test_a_debian_package_is_noted_as_apt_names_it() -> None:
    found = deb.material(Package("liba_1%3a2-1+b1_amd64.deb", 5, DIGEST))
    assert (found.name, found.version, found.architecture, found.digests["sha256"]) == (
        "liba",
        "1:2-1+b1",
        "amd64",
        DIGEST,
    )


def test_a_debian_source_is_its_description_and_its_files() -> None:
    names = ("a_1.orig.tar.gz", "a_1-2.dsc", "a_1-2.debian.tar.xz")
    found = materials(SourcePackage("a", "1-2", dict.fromkeys(names, DIGEST)))
    kinds = {each.name: each.kind for each in found}
    assert kinds == {"a": MaterialKind.DEB_SOURCE, names[0]: MaterialKind.FILE, names[2]: MaterialKind.FILE}


def test_pip_tells_which_files_it_took() -> None:
    wheel = {
        "download_info": {"url": "https://me:secret@mirror/six.whl", "archive_info": {"hashes": {"sha256": DIGEST}}},
        "metadata": {"name": "six", "version": "1.17.0", "summary": "x"},
    }
    folder = {"download_info": {"url": "file:///x", "dir_info": {}}, "metadata": {"name": "own", "version": "1"}}
    six, own = python.read_report(json.dumps({"install": [wheel, folder]}))
    assert (six.name, six.version, six.digests, six.url) == ("six", "1.17.0", {"sha256": DIGEST}, "")
    assert own.digests == {}
    assert python.read_report("{}") == []

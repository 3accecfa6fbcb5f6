"""Bills of materials and provenance of releases that were really built (recorded), and of hostile ones."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from slap.cache.provenance.npm import npm_packages
from slap.cache.provenance.release import Used, read_materials
from slap.cache.provenance.sbom import bill, make_sbom, package_url
from slap.cache.provenance.statement import Build, builder_uri, make_provenance
from slap.model.cache.material import Material, MaterialKind, plain_url
from tests.unit.cache.trust_world import PLATFORM, ROOT, URL

RECORDED: dict[str, dict[str, str]] = json.loads(
    Path(__file__).with_name("recorded").joinpath("releases.json").read_text()
)
SIX = "4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274"


def release(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def profile(**parts: dict[str, str]) -> str:
    """An .installed.cfg with these parts."""
    sections = [f"[{name}]\n" + "".join(f"{k} = {v}\n" for k, v in each.items()) for name, each in parts.items()]
    return f"[buildout]\nparts = {' '.join(parts)}\n\n" + "\n".join(sections)


def components(sbom: bytes) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in json.loads(sbom)["components"]}


@pytest.mark.parametrize("name", RECORDED)
def test_the_bill_is_what_the_standard_wants(name: str, tmp_path: Path) -> None:
    sbom = make_sbom(release(tmp_path, RECORDED[name]), URL)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(sbom.decode()) is None
    for each in json.loads(sbom)["components"]:
        assert "purl" not in each or PackageURL.from_string(each["purl"]).to_string() == each["purl"]


@pytest.mark.parametrize("name", RECORDED)
def test_the_same_build_has_the_same_bill(name: str, tmp_path: Path) -> None:
    one = make_sbom(release(tmp_path / "one", RECORDED[name]), URL)
    backwards = dict(reversed(RECORDED[name].items()))
    assert make_sbom(release(tmp_path / "other", backwards), URL) == one


def test_redis_is_told_by_its_source(tmp_path: Path) -> None:
    found = components(make_sbom(release(tmp_path, RECORDED["redis"]), URL))
    assert found["redis"]["purl"].startswith("pkg:deb/debian/redis@5:7.0.15-")
    tarball = found["redis_7.0.15.orig.tar.gz"]
    assert tarball["hashes"][0]["content"] == "4b1dc4ee6d622a09fff9c6777191209750fb5e5a725ef78ea012d6eef4c22982"
    assert tarball["properties"] == [{"name": "slap:part", "value": "redis"}]


def test_helloworld_is_told_by_its_files(tmp_path: Path) -> None:
    found = components(make_sbom(release(tmp_path, RECORDED["helloworld"]), URL))
    assert set(found) == {"server.py", "children.cfg.jinja2"}
    assert all(len(each["hashes"][0]["content"]) == 64 for each in found.values())


def test_packages_of_all_kinds_are_told_with_their_digests(tmp_path: Path) -> None:
    found = components(make_sbom(release(tmp_path, RECORDED["mixed"]), URL))
    assert found["socat"]["purl"].startswith("pkg:deb/debian/socat@1.7.4.4-2?arch=amd64")
    assert found["six"]["purl"] == "pkg:pypi/six@1.17.0"
    assert found["six"]["hashes"] == [{"alg": "SHA-256", "content": SIX}]
    assert found["six"]["licenses"] == [{"license": {"name": "MIT"}}]
    assert found["left-pad"]["hashes"][0]["alg"] == "SHA-512"
    assert len(found["repo"]["version"]) == 40
    assert all(each.get("hashes") for name, each in found.items() if name not in ("repo", "srcdir"))


def test_it_ends_in_no_name_of_a_registry(tmp_path: Path) -> None:
    assert b"registry" not in make_sbom(release(tmp_path, RECORDED["mixed"]), URL)


class TestRecipesOfOthers:
    """SlapOS's recipes leave no record: what they fetched is in their options."""

    @pytest.mark.parametrize(
        ("options", "digests"),
        [
            ({"md5sum": "0" * 32}, {"md5": "0" * 32}),
            ({"sha256": "0" * 64, "md5sum": "1" * 32}, {"sha256": "0" * 64, "md5": "1" * 32}),
            ({"md5sum": "none"}, {}),
            ({}, {}),
        ],
    )
    def test_url_and_digest(self, options: dict[str, str], digests: dict[str, str], tmp_path: Path) -> None:
        options = {"url": "https://example.com/zlib-1.3.tar.gz", **options}
        (used,) = read_materials(release(tmp_path, {".installed.cfg": profile(zlib=options)}))
        assert (used.material.name, used.material.digests, used.part) == ("zlib-1.3.tar.gz", digests, "zlib")

    def test_a_digest_at_the_end_of_the_url(self, tmp_path: Path) -> None:
        options = {"url": f"https://example.com/a.tar.gz#{'0' * 32}"}
        (used,) = read_materials(release(tmp_path, {".installed.cfg": profile(a=options)}))
        assert (used.material.url, used.material.digests) == ("https://example.com/a.tar.gz", {"md5": "0" * 32})

    def test_values_that_buildout_wrote_as_literals(self, tmp_path: Path) -> None:
        options = {"url": r"!py!'https://example.com/a\x24b'", "other": "!py!(((", "more": "!py!" + "(" * 3000}
        (used,) = read_materials(release(tmp_path, {".installed.cfg": profile(a=options)}))
        assert used.material.name == "a$b"

    def test_eggs_that_buildout_installed(self, tmp_path: Path) -> None:
        head = "Metadata-Version: 2.1\nName: {}\nVersion: 1.0\nLicense: {}\n\ntext\nName: other\n"
        files = {
            "eggs/a-1.0-py3.11.egg/EGG-INFO/PKG-INFO": head.format("a", "MIT"),
            "eggs/B.c-1.0-py3.11.egg/b_c-1.0.dist-info/METADATA": head.format("B.c", "a whole text\n  of lines"),
        }
        found = components(make_sbom(release(tmp_path, files), URL))
        assert (found["a"]["purl"], found["B.c"]["purl"]) == ("pkg:pypi/a@1.0", "pkg:pypi/b.c@1.0")
        assert "licenses" in found["a"] and "licenses" not in found["B.c"]


class TestHostileReleases:
    def test_secrets_in_urls_are_not_told(self, tmp_path: Path) -> None:
        options = {"url": "https://me:secret@example.com/a.tar.gz?token=secret#secret", "recipe": "x"}
        git = {"repository": "https://me:secret@example.com/r.git", "revision": "0" * 40}
        sbom = make_sbom(release(tmp_path, {".installed.cfg": profile(a=options, b=git)}), URL)
        assert b"secret" not in sbom and b"https://example.com/a.tar.gz" in sbom

    @pytest.mark.parametrize("name", ["parts/v/lib/python3/site-packages/a.dist-info/METADATA", ".installed.cfg"])
    def test_links_out_of_the_release_are_not_followed(self, name: str, tmp_path: Path) -> None:
        outside = tmp_path / "outside"
        outside.write_text("Name: secret\nVersion: 1\n[buildout]\nparts = a\n[a]\nurl = https://secret/x\n")
        (tmp_path / "release" / name).parent.mkdir(parents=True)
        (tmp_path / "release" / name).symlink_to(outside)
        assert read_materials(tmp_path / "release") == ()

    def test_linked_folders_are_not_followed(self, tmp_path: Path) -> None:
        release(tmp_path / "outside", {"lib/python3/site-packages/a.dist-info/METADATA": "Name: a\nVersion: 1\n"})
        (tmp_path / "release/parts").mkdir(parents=True)
        (tmp_path / "release/parts/v").symlink_to(tmp_path / "outside")
        assert read_materials(tmp_path / "release") == ()

    @pytest.mark.parametrize(
        "files",
        [
            {},
            {".installed.cfg": "no sections"},
            {".installed.cfg": "[buildout]\nparts = gone\n"},
            {".installed.cfg": "\0\xff[\n]=="},
            {".installed.cfg": profile(a={"url": "x"}).replace("url = x", "x" * (5 << 20))},
            {"parts/v/lib/python3/site-packages/a.dist-info/METADATA": "nothing"},
        ],
    )
    def test_what_cannot_be_read_is_left_out(self, files: dict[str, str], tmp_path: Path) -> None:
        assert read_materials(release(tmp_path, files)) == ()

    @pytest.mark.parametrize("noted", ["", "{}", "[1]", '[{"kind": "deb"}]', "["])
    def test_a_record_that_is_none_is_as_if_there_were_none(self, noted: str, tmp_path: Path) -> None:
        files = {".installed.cfg": profile(a={"url": "https://x/a"}), "parts/.materials/a.json": noted}
        (used,) = read_materials(release(tmp_path, files))
        assert used.material.name == "a"

    @pytest.mark.parametrize("text", ["", "[]", '{"packages": 1}', "{", '{"packages": {"": {"version": "1"}}}'])
    def test_a_lock_that_is_none(self, text: str) -> None:
        assert npm_packages(text) == ()

    def test_odd_digests_of_npm_are_left_out(self) -> None:
        lock = {"packages": {"node_modules/@a/b": {"version": "1", "integrity": "sha512-!!! md5-AAAA", "license": {}}}}
        (found,) = npm_packages(json.dumps(lock))
        assert (found.name, found.digests, found.license) == ("@a/b", {}, "")


@pytest.mark.parametrize(
    ("material", "purl"),
    [
        (Material(kind=MaterialKind.NPM, name="@a/b", version="1.0.0"), "pkg:npm/%40a/b@1.0.0"),
        (Material(kind=MaterialKind.WHEEL, name="Foo_Bar", version="1+local"), "pkg:pypi/foo-bar@1%2Blocal"),
        (Material(kind=MaterialKind.FILE, name="x"), ""),
        (
            Material(kind=MaterialKind.GIT, name="r", version="0" * 40, url="https://example.com/r.git"),
            f"pkg:generic/r@{'0' * 40}?vcs_url=git%2Bhttps://example.com/r.git%40{'0' * 40}",
        ),
        (Material(kind=MaterialKind.GIT, name="r", version="0" * 40, url="/srv/r"), f"pkg:generic/r@{'0' * 40}"),
    ],
)
def test_names_by_which_scanners_look_things_up(material: Material, purl: str) -> None:
    assert package_url(material) == purl
    assert not purl or PackageURL.from_string(purl).to_string() == purl


def test_one_material_in_two_parts_is_told_once() -> None:
    six = Material(kind=MaterialKind.WHEEL, name="six", version="1")
    (component,) = json.loads(bill([Used(six, "b"), Used(six, "a")], URL))["components"]
    assert [each["value"] for each in component["properties"]] == ["a", "b"]


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("https://u:p@h:1/a/b?c=d#e", "https://h:1/a/b"),
        ("/srv/a", "/srv/a"),
        ("git@example.com:a/b.git", "git@example.com:a/b.git"),
    ],
)
def test_urls_without_what_is_nobodys_business(url: str, plain: str) -> None:
    assert plain_url(url) == plain


BUILD = Build(URL, ROOT, "f" * 32, PLATFORM, "lille 1", 1_800_000_000, 1_800_000_060, "abc", "0.1.0")


def test_provenance_says_who_built_what_from_what(tmp_path: Path) -> None:
    used = read_materials(release(tmp_path, RECORDED["redis"]))
    digest = hashlib.sha512(b"manifest").hexdigest()
    text = make_provenance(BUILD, {"manifest": digest}, used)
    statement = json.loads(text)
    predicate = statement["predicate"]
    assert statement["subject"] == [{"name": "manifest", "digest": {"sha512": digest}}]
    assert (statement["_type"], statement["predicateType"]) == (
        "https://in-toto.io/Statement/v1",
        "https://slsa.dev/provenance/v1",
    )
    assert predicate["buildDefinition"]["externalParameters"] == {"softwareRelease": URL}
    assert predicate["buildDefinition"]["internalParameters"]["platform"] == PLATFORM.model_dump()
    assert predicate["runDetails"]["builder"]["id"] == "urn:slap:builder:lille%201"
    assert predicate["runDetails"]["metadata"]["finishedOn"] == "2027-01-15T08:01:00Z"
    names = [each.get("name") for each in predicate["buildDefinition"]["resolvedDependencies"]]
    assert "redis" in names and len(names) == 4
    assert make_provenance(BUILD, {"manifest": digest}, tuple(reversed(used))) == text


def test_a_builder_that_is_a_uri_stays_one() -> None:
    assert builder_uri("https://ci.example/1") == "https://ci.example/1"

"""Keys as files and as lines, and what a node remembers of whom it trusts."""

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from slap.cache.trust.keys import generate_key, load_key, parse_public_key, public_file
from slap.cache.trust.store import RevokedKey, SeenEntry, SlaposKey, TrustedKey, TrustStore
from slap.model.errors import Conflict, Forbidden, InvalidInput, NotFound, SlapError
from tests.unit.cache.trust_world import NOW, World


def test_a_key_is_its_owners_and_its_line_is_everybodys(tmp_path: Path) -> None:
    public = generate_key(tmp_path / "keys" / "builder", "builder of Lille")
    assert stat.S_IMODE((tmp_path / "keys/builder").stat().st_mode) == 0o600
    line = public_file(tmp_path / "keys/builder").read_text()
    assert parse_public_key(line) == public == load_key(tmp_path / "keys/builder").public
    assert parse_public_key(line).comment == load_key(tmp_path / "keys/builder").public.comment == "builder of Lille"
    assert (line.count("\n"), len(public.id)) == (1, 64)


def test_what_signs_is_not_printed(tmp_path: Path) -> None:
    generate_key(tmp_path / "k")
    key = load_key(tmp_path / "k")
    assert "private" not in repr(key)


@pytest.mark.parametrize("taken", ["k", "k.pub"])
def test_a_key_is_never_written_over(taken: str, tmp_path: Path) -> None:
    (tmp_path / taken).write_text("mine")
    with pytest.raises(Conflict, match=taken):
        generate_key(tmp_path / "k")
    assert (tmp_path / taken).read_text() == "mine"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_signs_nothing(mode: int, tmp_path: Path) -> None:
    generate_key(tmp_path / "k")
    (tmp_path / "k").chmod(mode)
    with pytest.raises(Forbidden, match="chmod 600"):
        load_key(tmp_path / "k")


def test_what_is_no_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="keygen"):
        load_key(tmp_path / "none")
    other = ec.generate_private_key(ec.SECP256R1())
    texts = (b"", b"nonsense", other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), b"x" * 20_000)
    for text in texts:
        (tmp_path / "k").write_bytes(text)
        (tmp_path / "k").chmod(0o600)
        with pytest.raises(InvalidInput, match="no Ed25519 key"):
            load_key(tmp_path / "k")
    with pytest.raises(InvalidInput):
        (tmp_path / "folder").mkdir(0o700)
        load_key(tmp_path / "folder")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "slap-ed25519",
        "slap-ed25519 AAAA",
        "ssh-ed25519 " + "A" * 43 + "=",
        "slap-ed25519 " + "A" * 42 + "==",
        "slap-ed25519 " + "!" * 44,
        "slap-ed25519 " + "A" * 43 + "= " + "c" * 2000,
        "slap-ed25519 " + "A" * 43 + "= \x1b[31mred",
    ],
)
def test_a_line_that_is_no_key_is_refused(line: str) -> None:
    with pytest.raises(InvalidInput, match="not the public key of a cache"):
        parse_public_key(line)


@pytest.mark.parametrize("comment", ["two\nlines", "c" * 201, "\x1b[31m"])
def test_a_comment_is_one_line(comment: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="comment"):
        generate_key(tmp_path / "k", comment)
    assert not (tmp_path / "k").exists()


class TestStore:
    def test_a_key_is_trusted_with_its_limits_until_that_ends(self, world: World) -> None:
        trusted = TrustedKey(world.key("other").public, ("https://a/", "https://b/"), follows=True)
        world.store.trust(trusted)
        assert world.store.find(trusted.key.id) == trusted
        assert [each.key.comment for each in world.store.trusted()] == ["builder", "other"]
        world.store.trust(TrustedKey(trusted.key))
        assert world.store.find(trusted.key.id) == TrustedKey(trusted.key)
        world.store.distrust(trusted.key.id)
        assert world.store.find(trusted.key.id) is None
        with pytest.raises(NotFound):
            world.store.distrust(trusted.key.id)

    def test_a_revoked_key_is_not_trusted_again(self, world: World) -> None:
        world.store.revoke(RevokedKey(world.key().public.id, NOW, "stolen"))
        world.store.revoke(RevokedKey(world.key().public.id, NOW + 1, "no, it is fine"))
        assert world.store.revoked() == (RevokedKey(world.key().public.id, NOW, "stolen"),)
        with pytest.raises(Conflict, match="stolen"):
            world.trust()

    def test_versions_only_grow(self, world: World) -> None:
        for version in (5, 7, 6, 7):
            world.store.note("question", "signer", SeenEntry(version, f"digest {version}"))
        assert world.store.highest("question", "signer") == SeenEntry(7, "digest 7")
        assert world.store.highest("question", "other") is None

    def test_keys_of_slapos_caches_are_trusted_apart(self, world: World) -> None:
        key = SlaposKey("0" * 64, "PEM", "old cache")
        assert world.store.former() == ()
        world.store.trust_slapos_key(key)
        assert world.store.former() == (key,)
        assert world.store.find(key.id) is None
        world.store.distrust_slapos_key(key.id)
        assert world.store.former() == ()

    def test_two_processes_see_the_same(self, world: World) -> None:
        other = TrustStore(world.folder / "trust.sqlite")
        world.trust("second")
        assert other.trusted() == world.store.trusted()
        other.close()

    def test_a_change_that_fails_half_way_changes_nothing(self, world: World) -> None:
        key = TrustedKey(world.key("second").public, (object(),))  # type: ignore[arg-type]
        with pytest.raises(SlapError):
            world.store.trust(key)
        assert world.store.find(key.key.id) is None

    def test_others_cannot_read_it_and_a_broken_one_is_told(self, world: World, tmp_path: Path) -> None:
        assert stat.S_IMODE((world.folder / "trust.sqlite").stat().st_mode) == 0o600
        (tmp_path / "broken").write_bytes(b"not a database" * 1000)
        with pytest.raises(SlapError, match="none is"):
            TrustStore(tmp_path / "broken")

"""What keys say of themselves: revoked, replaced."""

from base64 import b64decode, b64encode

import pytest

from slap.cache.trust.envelope import sign_statement
from slap.cache.trust.errors import RejectedStatement, RejectionReason
from slap.cache.trust.key_statements import apply_key_statement
from slap.cache.trust.sign import renew_entry, sign_revocation, sign_succession
from slap.cache.trust.store import RevokedKey
from slap.cache.trust.verify import verify
from slap.model.cache import REVOCATION_TYPE, Revocation, SignedEntry
from tests.unit.cache.trust_world import DAY, ENTRY, NOW, QUESTION, World


def refused(world: World, notice: SignedEntry) -> RejectionReason:
    with pytest.raises(RejectedStatement) as caught:
        apply_key_statement(notice, world.store, NOW)
    return caught.value.reason


def reason(world: World, *names: str, version: int = NOW) -> RejectionReason | None:
    """Why an entry that these keys signed is refused now; None when it is taken."""
    entry = ENTRY.model_copy(update={"version": version})
    try:
        verify(world.signed(entry, *names), world.store, QUESTION)
    except RejectedStatement as error:
        return error.reason
    return None


class TestRevocation:
    def test_a_key_revokes_itself(self, world: World) -> None:
        notice = sign_revocation(world.key(), NOW, "stolen")
        assert apply_key_statement(notice, world.store, NOW).endswith("revoked itself: stolen")
        assert apply_key_statement(notice, world.store, NOW) == ""
        assert reason(world) is RejectionReason.REVOKED_KEY

    def test_nobody_revokes_another(self, world: World) -> None:
        world.trust("second")
        forged = sign_revocation(world.key("second"), NOW)
        for changed in (
            _about(world, forged, world.key("second").public.id, world.key().public.id),
            forged.model_copy(update={"payload": sign_revocation(world.key(), NOW).payload}),
        ):
            assert refused(world, changed) is RejectionReason.BAD_SIGNATURE
        assert reason(world) is None

    def test_a_trusted_key_that_truly_signs_about_another_is_refused(self, world: World) -> None:

        world.trust("second")
        notice = sign_statement(REVOCATION_TYPE, Revocation(key=world.key().public.id, at=NOW), world.key("second"))
        assert refused(world, notice) is RejectionReason.BAD_SIGNATURE

    def test_of_keys_that_are_not_trusted_nothing_is_remembered(self, world: World) -> None:
        assert refused(world, sign_revocation(world.key("stranger"), NOW)) is RejectionReason.UNKNOWN_KEY
        assert world.store.revoked() == ()


class TestSuccession:
    def test_without_the_operators_switch_nobody_follows(self, world: World) -> None:
        assert (
            refused(world, sign_succession(world.key(), world.key("next").public, NOW)) is RejectionReason.LIMITED_KEY
        )
        assert reason(world, "next") is RejectionReason.UNKNOWN_KEY

    def test_with_it_the_successor_signs_from_then_on(self, world: World) -> None:
        world.trust(follows=True)
        said = apply_key_statement(sign_succession(world.key(), world.key("next").public, NOW - DAY), world.store, NOW)
        assert "is replaced by" in said
        assert reason(world, "next") is None
        assert reason(world, version=NOW - 2 * DAY) is None
        assert reason(world, version=NOW) is RejectionReason.REPLACED_KEY

    def test_the_successor_has_the_limits_of_who_named_it(self, world: World) -> None:
        world.trust(follows=True, urls=("https://elsewhere.example/",))
        apply_key_statement(sign_succession(world.key(), world.key("next").public, NOW), world.store, NOW)
        assert reason(world, "next") is RejectionReason.LIMITED_KEY

    def test_the_first_successor_counts(self, world: World) -> None:
        world.trust(follows=True)
        apply_key_statement(sign_succession(world.key(), world.key("next").public, NOW), world.store, NOW)
        assert apply_key_statement(sign_succession(world.key(), world.key("thief").public, NOW), world.store, NOW) == ""
        assert reason(world, "thief") is RejectionReason.UNKNOWN_KEY

    def test_when_a_key_is_revoked_so_are_those_that_it_named(self, world: World) -> None:
        world.trust(follows=True)
        apply_key_statement(sign_succession(world.key(), world.key("next").public, NOW), world.store, NOW)
        apply_key_statement(sign_succession(world.key("next"), world.key("third").public, NOW), world.store, NOW)
        assert reason(world, "third") is None
        world.store.revoke(RevokedKey(world.key().public.id, NOW))
        assert reason(world, "third") is RejectionReason.REVOKED_KEY
        world.trust("third")  # by the operator, and no more because another key said so
        assert reason(world, "third") is None

    def test_a_circle_of_successors_ends(self, world: World) -> None:
        world.trust(follows=True)
        world.trust("next", follows=True)
        apply_key_statement(sign_succession(world.key(), world.key("next").public, NOW), world.store, NOW)
        apply_key_statement(sign_succession(world.key("next"), world.key().public, NOW), world.store, NOW)
        assert reason(world, "next", version=NOW) is None

    def test_whom_the_operator_trusts_stays_trusted_as_the_operator_said(self, world: World) -> None:
        world.trust(follows=True)
        world.trust("next", urls=("https://elsewhere.example/",))
        apply_key_statement(sign_succession(world.key(), world.key("next").public, NOW), world.store, NOW)
        assert reason(world, "next") is RejectionReason.LIMITED_KEY

    @pytest.mark.parametrize("when", ["future", "revoked", "itself"])
    def test_nonsense_is_refused(self, world: World, when: str) -> None:
        world.trust(follows=True)
        world.store.revoke(RevokedKey(world.key("bad").public.id, NOW))
        heirs = {"future": "next", "revoked": "bad", "itself": "builder"}
        at = NOW + DAY if when == "future" else NOW
        notice = sign_succession(world.key(), world.key(heirs[when]).public, at)
        assert refused(world, notice) in (RejectionReason.FROM_THE_FUTURE, RejectionReason.REVOKED_KEY)
        assert reason(world) is None


def test_an_entry_is_no_notice_and_a_notice_is_no_entry(world: World) -> None:
    assert refused(world, world.signed()) is RejectionReason.WRONG_TYPE
    with pytest.raises(RejectedStatement) as caught:
        verify(sign_revocation(world.key(), NOW), world.store, QUESTION)
    assert caught.value.reason is RejectionReason.WRONG_TYPE
    assert renew_entry(ENTRY, NOW).version == NOW


def _about(world: World, notice: SignedEntry, former: str, other: str) -> SignedEntry:
    """The notice with another key's id put into its payload."""

    payload = b64encode(b64decode(notice.payload).replace(former.encode(), other.encode())).decode()
    return notice.model_copy(update={"payload": payload})

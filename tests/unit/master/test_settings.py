"""Settings of a master that do not fit together are refused before it starts."""

import pytest
from pydantic import ValidationError

from slap.master.settings import MasterSettings, TlsMode
from slap.master.tls import hosts_of

DATABASE = {"database_url": "sqlite:////m.sqlite"}


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"open_to_this_machine": True, "host": "0.0.0.0"}, "loopback"),
        ({"open_to_this_machine": True, "host": "::"}, "loopback"),
        ({"open_to_this_machine": True, "host": "192.0.2.1"}, "loopback"),
        ({"open_to_this_machine": True, "host": "master.example"}, "loopback"),
        ({"tls": "files"}, "certificate"),
        ({"tls": "yes"}, "off"),
        ({"old_registration": True, "host": "192.0.2.1"}, "tls"),
        ({"certificate_days": 0}, "greater"),
        ({"certificate_days": 10_000}, "less"),
    ],
)
def test_bad_settings(settings: dict[str, object], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        MasterSettings.model_validate(DATABASE | settings)


def test_settings_of_a_file_are_words() -> None:
    words = {
        "tls": "own",
        "names": "a.example, b.example  c.example",
        "old_registration": "yes",
        "certificate_days": "7",
    }
    found = MasterSettings.model_validate(DATABASE | words)
    assert found.names == ("a.example", "b.example", "c.example")
    assert found.access.own_tls
    assert found.access.own_authority
    assert found.access.server_makes_keys
    assert found.access.lifetime == 7 * 24 * 3600


def test_a_server_is_certified_for_where_it_listens_and_for_its_names() -> None:
    found = hosts_of(MasterSettings(**DATABASE, tls=TlsMode.OWN, host="192.0.2.1", names=("a.example",)))
    assert found[:2] == ["a.example", "192.0.2.1"]
    assert {"localhost", "127.0.0.1", "::1"} <= set(found)
    everywhere = hosts_of(MasterSettings(**DATABASE, tls=TlsMode.OWN, host="0.0.0.0"))
    assert "0.0.0.0" not in everywhere


def test_a_master_that_is_told_nothing_is_closed() -> None:
    found = MasterSettings(**DATABASE)
    assert not found.open_to_this_machine
    assert not found.old_registration
    assert found.tls is TlsMode.OFF

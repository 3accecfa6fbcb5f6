"""Registration by one-time tokens, and SlapOS's old one."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode

import pytest

from slap.client.credentials import Credentials
from slap.client.enrolment import EnrolmentClient, fetch_authority, refuse_open_network
from slap.master.access.authority import new_authority
from slap.model.certificate import NodeRegistration, fingerprint_in, token_words
from slap.model.errors import Conflict, Forbidden, InvalidInput, SlapError
from slap.system.transport import Reply
from slap.system.trust.certificates import new_key_and_request
from tests.contract.master.secure import Holder, Secure, secure_master


@pytest.fixture
def secure(fresh_database: str, tmp_path: Path) -> Iterator[Secure]:
    with secure_master(fresh_database, tmp_path) as master:
        yield master


@pytest.fixture
def old(fresh_database: str, tmp_path: Path) -> Iterator[Secure]:
    """A master that serves SlapOS's old registration."""
    with secure_master(fresh_database, tmp_path, old_registration=True) as master:
        yield master


def test_a_token_registers_once(secure: Secure) -> None:
    words = secure.user().token("one")
    node = secure.computer("one", words)
    with pytest.raises(Forbidden, match="no use") as refusal:
        secure.computer("one", words)
    assert "used" in refusal.value.details
    assert [each.guid for each in secure.user().api.computers()] == [node.guid]


@pytest.mark.sql
def test_of_many_who_use_a_token_at_once_one_registers(secure: Secure) -> None:
    words = secure.user().token()

    def attempt(number: int) -> int:
        try:
            secure.computer(f"box{number}", words)
        except Forbidden:
            return 0
        return 1

    with ThreadPoolExecutor(6) as threads:
        assert sum(threads.map(attempt, range(6))) == 1
    assert len(secure.user().api.computers()) == 1


def test_a_token_is_for_its_title_and_a_refusal_leaves_it_as_it_was(secure: Secure) -> None:
    words = secure.user().token("one")
    with pytest.raises(Forbidden, match="named two"):
        secure.computer("two", words)
    with pytest.raises(InvalidInput):
        EnrolmentClient(secure.url, Credentials(authority=secure.authority)).register(
            NodeRegistration(token=words, title="one", request="bad")
        )
    assert secure.computer("one", words).guid


def test_a_name_that_is_taken_is_a_conflict(secure: Secure) -> None:
    secure.computer("one")
    words = secure.user().token()
    with pytest.raises(Conflict):
        secure.computer("one", words)
    assert secure.computer("two", words).guid


def test_a_token_expires(fresh_database: str, tmp_path: Path) -> None:
    with secure_master(fresh_database, tmp_path, registration_hours=1 / 3600) as secure:
        words = secure.user().token("one")
        time.sleep(1.2)  # until its end has passed
        with pytest.raises(Forbidden) as refusal:
            secure.computer("one", words)
        assert "expired" in refusal.value.details


@pytest.mark.parametrize("words", ["register:unknown:" + "0" * 64, "register:unknown"])
def test_a_token_that_was_never_made_is_refused(secure: Secure, words: str) -> None:
    wanted = NodeRegistration(token=words, title="one", request=new_key_and_request("one").request)
    with pytest.raises(Forbidden):
        EnrolmentClient(secure.url, Credentials(authority=secure.authority)).register(wanted)


def test_a_master_with_another_fingerprint_is_not_sent_the_token(secure: Secure) -> None:
    words = token_words("secret", new_authority().fingerprint)
    with pytest.raises(Forbidden, match="not the master"):
        secure.computer("one", words)
    assert secure.user().api.computers() == []


@pytest.mark.parametrize("words", ["", "user:abc", "register:", "register:a:b", "register:a:" + "z" * 64])
def test_what_is_no_token_is_said_before_anything_is_sent(words: str) -> None:
    with pytest.raises(InvalidInput):
        fingerprint_in(words)


@pytest.mark.parametrize(
    ("url", "is_refused"),
    [
        ("http://192.0.2.1:5000", True),
        ("http://master.example", True),
        ("http://127.0.0.1:5000", False),
        ("http://localhost:5000", False),
        ("https://192.0.2.1", False),
    ],
)
def test_no_token_is_sent_in_the_open(url: str, is_refused: bool) -> None:
    if is_refused:
        with pytest.raises(InvalidInput, match="show the token"):
            refuse_open_network(url)
    else:
        refuse_open_network(url)


def test_without_tls_a_node_gets_a_token(fresh_database: str, tmp_path: Path) -> None:
    with secure_master(fresh_database, tmp_path, tls="off") as plain:
        words = plain.user().token("one")
        assert fingerprint_in(words) == ""
        wanted = NodeRegistration(token=words, title="one", request=new_key_and_request("one").request)
        answer = EnrolmentClient(plain.url, Credentials()).register(wanted)
        assert not answer.certificate
        node = Holder(plain, Credentials(answer.token), answer.guid)
        assert node.api.desired_state(node.guid).computer == node.guid


def post(secure: Secure, path: str, token: str, **form: str) -> Reply:
    way = Credentials(authority=secure.authority).transport()
    return way.send("POST", f"{secure.url}/{path}", {"X-Access-Token": token}, urlencode(form).encode(), 20)


def test_the_old_registration_gives_a_key_and_a_name_in_the_text(old: Secure) -> None:
    words = old.user().token("one")
    reply = post(old, "Person_requestComputer", words, title="one")
    pair = json.loads(reply.body)
    text = pair["certificate"]
    begin = text.find("COMP-")
    guid = text[begin : text.find("/email", begin)]
    node = old.holder(pair["key"] + text, "old")
    assert node.api.desired_state(guid).computer == guid
    assert post(old, "Person_requestComputer", words, title="one").status == 403


@pytest.mark.parametrize(
    ("token", "title", "status", "says"),
    [
        (lambda old: "", "one", 403, b"no use"),
        (lambda old: "wrong", "one", 403, b"no use"),
        (lambda old: old.user().credentials.token, "one", 403, b"no use"),
        (lambda old: old.user().token("two"), "one", 403, b"two"),
        (lambda old: old.user().token(), "", 403, b"not a name"),
        (lambda old: old.user().token(), "a/b", 403, b"not a name"),
        (lambda old: old.user().token(), "taken", 409, b"Certificate still active."),
    ],
)
def test_the_old_registration_refuses(
    old: Secure, token: Callable[[Secure], str], title: str, status: int, says: bytes
) -> None:
    old.computer("taken")
    reply = post(old, "Person_requestComputer", token(old), title=title)
    assert (reply.status, says in reply.body) == (status, True), reply


def test_a_user_gets_a_certificate_the_old_way(old: Secure) -> None:
    reply = post(old, "Person_getCertificate", old.user().credentials.token)
    pair = json.loads(reply.body)
    assert old.holder(pair["key"] + pair["certificate"], "alice").api.computers() == []
    assert post(old, "Person_getCertificate", "wrong").status == 403


def test_the_old_registration_is_off_unless_enabled(secure: Secure) -> None:
    alice = secure.user()
    for path, token in (("Person_requestComputer", alice.token()), ("Person_getCertificate", alice.credentials.token)):
        reply = post(secure, path, token, title="one")
        assert reply.status == 403
        assert b"makes no keys" in reply.body


def test_nobody_is_met_at_a_port_where_nobody_is() -> None:
    with pytest.raises(SlapError):
        fetch_authority("https://127.0.0.1:1", "0" * 64)

"""Who is at the other end of a connection on this machine."""

import os
import socket

import pytest

from slap.system.trust.peer import home_name, is_loopback, user_of_socket


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_kernel_knows_the_user_of_a_socket(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener, socket.socket(family) as ours:
        ours.connect(listener.getsockname())
        accepted, its = listener.accept()
        with accepted:
            assert user_of_socket(its[:2], accepted.getsockname()[:2]) == os.geteuid()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a socket of somebody else")
def test_the_user_is_the_one_who_made_the_socket() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        os.seteuid(65534)
        try:
            ours = socket.create_connection(listener.getsockname())
        finally:
            os.seteuid(0)
        with ours:
            accepted, its = listener.accept()
            with accepted:
                assert user_of_socket(its, accepted.getsockname()) == 65534


def test_what_was_closed_after_it_was_sent_is_of_nobody_and_not_of_root() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()) as ours:
            accepted, its = listener.accept()
            ours.sendall(b"POST")
        with accepted:
            assert accepted.recv(4) + accepted.recv(1) == b"POST"  # closed: there is no more
            assert user_of_socket(its, accepted.getsockname()) is None


def test_a_connection_that_is_not_there_is_of_nobody() -> None:
    assert user_of_socket(("127.0.0.1", 1), ("127.0.0.1", 2)) is None


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("192.0.2.1", False),
        ("", False),
        ("0.0.0.0", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
    ],
)
def test_loopback(host: str, here: bool) -> None:
    assert is_loopback(host) is here


def test_homes() -> None:
    assert home_name(0) == "root"
    assert home_name(4_000_000_000) == ""

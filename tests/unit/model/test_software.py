"""One release has one URL, however it was typed."""

import pytest

from slap.model.errors import InvalidInput
from slap.model.software import normalise_release_url, software_id


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("software/web", "/home/me/software/web/software.cfg"),
        ("./web/", "/home/me/web/software.cfg"),
        ("../web/software.cfg", "/home/web/software.cfg"),
        ("/opt//web/./other.cfg", "/opt/web/other.cfg"),
        (" /opt/web \n", "/opt/web/software.cfg"),
        ("/", "/software.cfg"),
        ("a?b#c", "/home/me/a?b#c/software.cfg"),
        ("file:///opt/web", "/opt/web/software.cfg"),
        ("file:/opt/web/software.cfg", "/opt/web/software.cfg"),
        ("file:///opt/my%20web/software.cfg", "/opt/my web/software.cfg"),
        ("https://example.com/web/software.cfg", "https://example.com/web/software.cfg"),
        ("https://example.com/web/", "https://example.com/web/software.cfg"),
        ("HTTP://example.com", "http://example.com/software.cfg"),
        ("https://example.com/web/software.cfg?ref=1.0", "https://example.com/web/software.cfg?ref=1.0"),
    ],
)
def test_what_was_typed_becomes_the_url_of_the_profile(typed: str, url: str) -> None:
    assert normalise_release_url(typed, "/home/me") == url
    assert normalise_release_url(url, "/elsewhere") == url


@pytest.mark.parametrize("typed", ["", "  ", "ftp://example.com/software.cfg", "javascript:alert(1)", "C:\\web"])
def test_what_is_no_release_is_refused_with_advice(typed: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        normalise_release_url(typed, "/home/me")
    assert caught.value.resolution


def test_the_folder_of_a_release_is_named_as_in_slapos() -> None:
    assert software_id("https://example.com/software.cfg") == "cfbd1bb32dcf28fe14adee1696634322"

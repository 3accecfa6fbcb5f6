"""The section [networkcache]: SlapOS's names and ours."""

from pathlib import Path

import pytest

from slap.cache.client.settings import Settings, read_settings
from slap.model.errors import InvalidInput

ROOT = Path("/opt/slapos")


def read(**options: str) -> Settings:
    return read_settings({name.replace("_", "-"): value for name, value in options.items()}, ROOT)


def test_nothing_said_is_no_cache() -> None:
    settings = read()
    assert (settings.caches, settings.upload, settings.may_download("http://x"), settings.may_upload("http://x")) == (
        (), None, False, False,
    )  # fmt: skip


def test_one_url_names_a_cache_of_ours() -> None:
    settings = read(cache_url="http://a:5300/\nhttp://b", upload_url="https://a")
    assert [cache.own for cache in settings.caches] == ["http://a:5300", "http://b"]
    assert settings.upload and settings.upload.blobs == "https://a/cache"


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("http://a/cache", "http://a"),
        ("http://a:5300/shacache/", "http://a:5300"),
        ("http://a/deep/cache", "http://a/deep"),
        ("http://a/blobs", ""),
    ],
)
def test_slapos_urls_are_asked_for_our_protocol_where_it_would_be(url: str, own: str) -> None:
    settings = read(download_binary_cache_url=url, download_binary_dir_url="http://a/dir")
    assert settings.caches[0].own == own


def test_a_password_in_a_url_is_not_in_its_name() -> None:
    assert read(cache_url="http://me:secret@a:1").caches[0].name == "http://a:1"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cache-url": "ftp://a"}, "'ftp://a'"),
        ({"cache-url": "http://"}, "'http://'"),
        ({"cache-uri": "http://a"}, "cache-uri"),
        ({"chunk-limit": "much"}, "'much'"),
        ({"download-binary-cache-url": "http://a/cache"}, "different numbers"),
    ],
)
def test_mistakes_are_named(options: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_settings(options, ROOT)
    assert words in caught.value.details


def test_urls_that_are_not_to_be_cached() -> None:
    settings = read(
        cache_url="http://a", upload_url="http://a",
        download_from_binary_cache_url_blacklist="http://no/\nhttp://never/",
        upload_to_binary_cache_url_blacklist="http://mine/",
    )  # fmt: skip
    assert not settings.may_download("http://never/x.cfg") and settings.may_download("http://mine/x.cfg")
    assert not settings.may_upload("http://mine/x.cfg") and settings.may_upload("http://never/x.cfg")


def test_files_have_usual_places_and_relative_ones_are_below_the_root() -> None:
    settings = read(token_file="etc/t", chunk_limit="3 GiB")
    assert (settings.token_file, settings.key_file) == (ROOT / "etc/t", ROOT / "etc/cache.key")
    assert settings.chunk_limit == 3 << 30

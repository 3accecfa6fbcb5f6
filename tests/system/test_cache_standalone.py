"""The cache of a small cloud: it is up with the cloud, stays where it is, and its node is told of it."""

import hashlib
import json
import os
import time
import urllib.request

from slap.node.core.config import read
from tests.system.cloud import HELLOWORLD, Cloud


def test_the_cloud_has_a_cache_that_its_node_knows(cloud: Cloud) -> None:
    section = read(cloud.cfg).networkcache
    url = section["download-binary-cache-url"].removesuffix("/cache")
    assert section["upload-binary-dir-url"] == f"{url}/dir"
    with urllib.request.urlopen(f"{url}/api/v1/status", timeout=10) as answer:
        assert json.load(answer)["writes"] is True
    status = cloud.slapos("standalone", "status", "--folder", str(cloud.folder), "-f", "json")
    assert (f"The cache: {url}" in status.stderr, status.json) == (True, [])


def test_up_again_leaves_the_cache_where_it_is(cloud: Cloud) -> None:
    former = read(cloud.cfg)
    cloud.up()
    assert read(cloud.cfg) == former


def test_a_cache_that_somebody_named_is_left_alone(cloud: Cloud) -> None:
    former = cloud.cfg.read_text()
    other = former.partition("[networkcache]")[0] + "[networkcache]\ncache-url = http://192.0.2.1:1\n"
    cloud.cfg.write_text(other)
    try:
        cloud.up()
        assert read(cloud.cfg).networkcache == {"cache-url": "http://192.0.2.1:1"}
    finally:
        cloud.cfg.write_text(former)


def test_what_is_supplied_outlives_its_age(cloud: Cloud) -> None:
    section = read(cloud.cfg).networkcache
    url = section["download-binary-cache-url"].removesuffix("/cache")
    cloud.up()  # the cache as well, whatever was named before
    cloud.slapos("supply", str(HELLOWORLD), cloud.computer)
    for release in (str(HELLOWORLD), "http://192.0.2.1/other.cfg"):
        digest = urllib.request.urlopen(f"{url}/cache", release.encode(), timeout=10).read().decode()
        about = json.dumps({"sha512": digest, "software_url": release})
        body = json.dumps([about, "c2ln"]).encode()
        key = hashlib.md5(release.encode()).hexdigest()
        urllib.request.urlopen(urllib.request.Request(f"{url}/dir/{key}", body, method="PUT"), timeout=10).close()
    old = time.time() - 90 * 86_400
    for path in (cloud.folder / "cache/objects").rglob("*"):
        if path.is_file():
            os.utime(path, (old, old))
    words = ("cache", "gc", "--folder", str(cloud.folder / "cache"), "-f", "json", "--unused", "30", "--dry-run")
    numbers = [
        {row["what"]: row["number"] for row in cloud.slapos(*words, *more).json} for more in ((), ("--keep-supplied",))
    ]
    assert numbers == [{"blob": 2, "entry of SlapOS": 2}, {"blob": 1, "entry of SlapOS": 1}]

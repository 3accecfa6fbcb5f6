"""The release software/redis is built from source once, and a Redis of it is ordered, used, changed, broken and destroyed."""

import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from slap.model.software import software_id
from slap.model.state import Status
from slap.system.processes import is_alive
from tests.system.cloud import PROJECT, Cloud, eventually

REDIS = PROJECT / "software/redis/software.cfg"

Answer = bytes | int | list["Answer"] | None


class RedisError(Exception):
    """What the server answered instead."""


@dataclass
class Redis:
    """A client of a few lines: commands are lists of strings, https://redis.io/docs/reference/protocol-spec/."""

    host: str
    port: int
    password: str

    def ask(self, *words: str) -> Answer:
        with socket.create_connection((self.host, self.port), timeout=10) as connection:
            stream = connection.makefile("rwb")
            for command in (("AUTH", self.password), words) if self.password else (words,):
                parts = (f"${len(word.encode())}\r\n{word}\r\n" for word in command)
                stream.write(f"*{len(command)}\r\n{''.join(parts)}".encode())
            stream.flush()
            if self.password:
                assert _read(stream) == b"OK"
            return _read(stream)

    def setting(self, name: str) -> bytes:
        found = self.ask("CONFIG", "GET", name)
        assert isinstance(found, list)
        assert isinstance(found[1], bytes)
        return found[1]


def _read(stream: Any) -> Answer:
    kind, rest = (line := stream.readline().rstrip())[:1], line[1:]
    if kind == b"-":
        raise RedisError(rest.decode())
    if kind == b"+":
        return bytes(rest)
    if kind == b":":
        return int(rest)
    if kind == b"*":
        return [_read(stream) for _ in range(int(rest))]
    return None if int(rest) < 0 else bytes(stream.read(int(rest) + 2)[:-2])


@pytest.fixture(scope="module")
def built(cloud: Cloud) -> Path:
    """The folder of the release: built by the node, as a user has it built."""
    cloud.supply(REDIS)
    return cloud.folder / "opt" / software_id(str(REDIS))


@pytest.fixture
def redis(cloud: Cloud, built: Path) -> Iterator[Redis]:
    yield order(cloud)
    cloud.slapos("service", "destroy", "redis", check=False)


def order(cloud: Cloud, *parameters: str) -> Redis:
    words = ("--parameters", *parameters) if parameters else ()
    connection = cloud.slapos("request", "redis", str(REDIS), *words, "-f", "json").json
    url = f"redis://:{connection['password']}@{connection['host']}:{connection['port']}/0"
    assert connection["url"] == url
    return Redis(connection["host"], int(connection["port"]), connection["password"])


def server_pid(cloud: Cloud) -> int:
    """Of the process while it runs, 0 otherwise."""
    processes = cloud.processes(cloud.master().instances("redis")[0].partition)
    return next((each.pid for each in processes if each.name == "redis" and each.state.is_alive), 0)


def test_it_is_built_from_debians_source_with_debians_fixes(built: Path) -> None:
    assert f"command = {built}/parts/redis/bin/redis-server\n" in (built / "instance.cfg").read_text()
    assert "patching file src/" in (built / "parts/.log/redis.log").read_text()


def test_it_talks_to_who_knows_the_password_and_to_nobody_else(redis: Redis) -> None:
    assert redis.ask("PING") == b"PONG"
    version = redis.ask("INFO", "server")
    assert isinstance(version, bytes)
    assert b"redis_version:7.0.15" in version
    with pytest.raises(RedisError, match="NOAUTH"):
        Redis(redis.host, redis.port, "").ask("GET", "secret")
    with pytest.raises(RedisError, match="WRONGPASS"):
        Redis(redis.host, redis.port, "wrong").ask("GET", "secret")


def test_a_changed_parameter_is_seen_and_data_stay(cloud: Cloud, redis: Redis) -> None:
    assert redis.setting("maxmemory") == b"0"
    redis.ask("SET", "colour", "blue")
    changed = order(cloud, "maxmemory=64mb", "maxmemory-policy=allkeys-lru")
    assert changed == redis, "address and password stay"
    assert redis.setting("maxmemory") == str(64 << 20).encode()
    assert redis.setting("maxmemory-policy") == b"allkeys-lru"
    assert redis.ask("GET", "colour") == b"blue"


def test_parameters_outside_of_its_schema_are_refused_and_change_nothing(cloud: Cloud, redis: Redis) -> None:
    words = ("request", "redis", str(REDIS), "--parameters", "maxmemory=much", "databases=0", "speed=high")
    refused = cloud.slapos(*words, check=False)
    assert refused.status == 1
    assert [word for word in ("maxmemory", "databases", "speed") if word not in refused.stderr] == []
    assert redis.setting("maxmemory") == b"0"


def test_stopped_it_answers_nobody_and_started_it_has_its_data(cloud: Cloud, redis: Redis) -> None:
    redis.ask("SET", "colour", "green")
    pid = server_pid(cloud)
    cloud.slapos("service", "stop", "redis")
    assert not is_alive(pid)
    with pytest.raises(ConnectionRefusedError):
        redis.ask("PING")
    cloud.slapos("service", "start", "redis")
    assert redis.ask("GET", "colour") == b"green"


def test_killed_it_comes_back_by_itself_with_its_data(cloud: Cloud, redis: Redis) -> None:
    redis.ask("CONFIG", "SET", "appendfsync", "always")
    redis.ask("SET", "colour", "red")
    killed = server_pid(cloud)
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: server_pid(cloud) not in (0, killed))
    eventually(lambda: cloud.master().instances("redis")[0].status is Status.STARTED)
    assert redis.ask("GET", "colour") == b"red"


def test_destroyed_it_leaves_nothing(cloud: Cloud, redis: Redis) -> None:
    redis.ask("SET", "colour", "black")
    pid, partition = server_pid(cloud), cloud.master().instances("redis")[0].partition
    cloud.slapos("service", "destroy", "redis")
    assert not is_alive(pid)
    assert list((cloud.srv / partition).iterdir()) == []
    assert list((cloud.folder / "log/partition" / partition).iterdir()) == []
    assert not (cloud.folder / f"etc/supervisord.conf.d/{partition}.conf").exists()
    assert cloud.master().instances("redis") == []

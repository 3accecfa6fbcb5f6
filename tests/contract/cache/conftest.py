"""Storage of either kind: in a folder, and on a real S3 server."""

from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex

import pytest

from slap.cache.storage.folder import Folder
from slap.cache.storage.s3 import open_s3
from slap.cache.storage.storage import Storage
from slap.system.trust.cloud_keys import CloudKeys
from tests.contract.cache.s3_server import BUCKET, running_s3

KEYS = CloudKeys("S3RVER", "S3RVER")


@pytest.fixture(scope="session")
def s3_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_s3(tmp_path_factory.mktemp("s3")) as endpoint:
        yield endpoint


@pytest.fixture(params=["folder", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return Folder(tmp_path / "objects")
    endpoint = request.getfixturevalue("s3_endpoint")
    return open_s3(f"s3://{BUCKET}/{token_hex(4)}/deep?endpoint={endpoint}", KEYS)

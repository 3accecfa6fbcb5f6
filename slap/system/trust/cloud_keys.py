"""Credentials for object stores, from where all their clients look: the environment, or ~/.aws."""

from configparser import ConfigParser
from configparser import Error as SyntaxMistake
from dataclasses import dataclass, field
from pathlib import Path

from slap.model.errors import InvalidInput, NotFound
from slap.system import environment


@dataclass(frozen=True)
class CloudKeys:
    """Who we are to an object store."""

    key_id: str
    secret: str = field(repr=False)
    session_token: str = field(default="", repr=False)
    region: str = ""


def find_cloud_keys(home: Path) -> CloudKeys:
    """What the environment says, or the profile in ~/.aws/credentials; raises NotFound."""
    region = environment.variable("AWS_REGION") or environment.variable("AWS_DEFAULT_REGION")
    key_id, secret = environment.variable("AWS_ACCESS_KEY_ID"), environment.variable("AWS_SECRET_ACCESS_KEY")
    if key_id and secret:
        return CloudKeys(key_id, secret, environment.variable("AWS_SESSION_TOKEN"), region)
    path = Path(environment.variable("AWS_SHARED_CREDENTIALS_FILE") or home / ".aws/credentials")
    return _in_file(path, environment.variable("AWS_PROFILE", "default"), region)


def _in_file(path: Path, profile: str, region: str) -> CloudKeys:
    parser = ConfigParser(interpolation=None)
    try:
        parser.read(path)
        found = parser[profile]
        token = found.get("aws_session_token", "")
        return CloudKeys(
            found["aws_access_key_id"], found["aws_secret_access_key"], token, region or found.get("region", "")
        )
    except KeyError:
        raise NotFound(
            "There are no credentials for the object store.",
            f"Neither the environment nor the profile {profile} of {path} has them.",
            "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write that file.",
        ) from None
    except SyntaxMistake as error:
        raise InvalidInput(f"{path} cannot be understood.", "", "Mend the file.") from error

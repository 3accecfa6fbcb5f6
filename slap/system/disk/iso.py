"""Small ISO 9660 images of a few files, as virtual machines read them. Names are kept by Rock Ridge and by Joliet."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

from pycdlib import PyCdlib
from pycdlib.pycdlibexception import PyCdlibException

from slap.system import files

_ANY_NAME = 4  # the level of ISO 9660 that bears lower case and hyphens


def write_iso(path: Path, label: str, content: Mapping[str, bytes], mode: int = 0o600) -> bool:
    """Have an image with this label and exactly these files; whether it had to be written.

    An image that holds them already is left as it is: it may be in a running machine.
    """
    if read_iso(path) == dict(content):
        return False
    files.write(path, _image(label, content), mode)
    return True


def read_iso(path: Path) -> dict[str, bytes] | None:
    """The files at the top of an image by their names; None for what is no such image, or is not there."""
    iso = PyCdlib()
    try:
        iso.open(str(path))
    except (PyCdlibException, OSError):
        return None
    try:
        return {name: _file(iso, name) for _, _, names in iso.walk(rr_path="/") for name in names}
    except PyCdlibException:
        return None
    finally:
        iso.close()


def _image(label: str, content: Mapping[str, bytes]) -> bytes:
    iso, image = PyCdlib(), BytesIO()
    iso.new(interchange_level=_ANY_NAME, vol_ident=label, rock_ridge="1.09", joliet=3)
    for name, data in sorted(content.items()):
        iso.add_fp(BytesIO(data), len(data), iso_path=f"/{name.upper()}", rr_name=name, joliet_path=f"/{name}")
    iso.write_fp(image)
    iso.close()
    return image.getvalue()


def _file(iso: PyCdlib, name: str) -> bytes:
    content = BytesIO()
    iso.get_file_from_iso_fp(content, rr_path=f"/{name}")
    return content.getvalue()

"""A CD-ROM that a computer starts from: the smallest that says so, on its serial line, again and again."""

import struct

_SECTOR = 2048
_CATALOG, _CODE = 19, 20  # sectors


def boot_iso(words: str) -> bytes:
    """ISO 9660 without a file, and with one boot record, El Torito's, of a program for the BIOS."""
    program = _program(f"{words}\r\n".encode())
    sectors = {
        16: b"\1CD001\1\0" + bytes(32) + b"BOOT".ljust(32) + bytes(8) + _both(_CODE + 1),
        17: b"\0CD001\1EL TORITO SPECIFICATION".ljust(0x47, b"\0") + struct.pack("<I", _CATALOG),
        18: b"\xffCD001\1",
        _CATALOG: _validation() + struct.pack("<BBHBBHI", 0x88, 0, 0, 0, 0, 4, _CODE),
        _CODE: program,
    }
    return b"".join(sectors.get(number, b"").ljust(_SECTOR, b"\0") for number in range(_CODE + 1))


def _both(number: int) -> bytes:
    """In both orders of bytes."""
    return struct.pack("<I", number) + struct.pack(">I", number)


def _validation() -> bytes:
    """Its words add up to nothing."""
    entry = b"\1" + bytes(29) + b"\x55\xaa"
    total = sum(struct.unpack("<16H", entry))
    return entry[:28] + struct.pack("<H", -total & 0xFFFF) + entry[30:]


def _program(words: bytes) -> bytes:
    """mov dx, COM1; (mov al, letter; out dx, al) for each; sti; mov cx, 18; hlt; loop; and again after that second."""
    say = b"\xba\xf8\x03" + b"".join(b"\xb0" + bytes([letter]) + b"\xee" for letter in words)
    wait = b"\xfb\xb9\x12\x00" + b"\xf4\xe2\xfd"
    return say + wait + b"\xe9" + struct.pack("<h", -(len(say) + len(wait) + 3))

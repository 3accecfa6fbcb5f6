"""Waits until the process that started it is gone, and becomes another program then. It waits with 5 MiB of memory.

`python -m slap.system.host.watchdog PROGRAM ARGUMENT...`: supervisord runs this with the command that starts supervisord, so
that it comes back also when it is killed together with the agent, which otherwise starts it again.
"""

import os
import select
import sys

from slap.system.lazy_import import Later

# They take three times the memory of all else here, and are needed for the last moment only.
_environment, _process = Later("slap.system.environment"), Later("slap.system.process")


def main() -> None:
    parent = os.getppid()
    try:
        descriptor = os.pidfd_open(parent)
    except ProcessLookupError:
        descriptor = -1
    if descriptor >= 0 and os.getppid() == parent:  # the number is still that of our parent
        gone = select.poll()
        gone.register(descriptor, select.POLLIN)
        gone.poll()
    _process.become(sys.argv[1:], _environment.whole())


if __name__ == "__main__":
    main()

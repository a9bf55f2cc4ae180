"""`python -m closegap.api`: the API on a socket that the process which started this one listens at already."""

from __future__ import annotations

import argparse
import gc
import logging
import socket
import sys

from closegap import journal
from closegap.api.server import ready
from closegap.errors import ServiceError
from closegap.settings import Settings
from closegap.store.store import awaited

COLLECTED_AFTER = 50_000
"""New objects after which garbage is looked for: a long answer is made of many that all are still in use."""
STORE_SECONDS = 60.0
"""How long a store that is away is waited for; who connects meanwhile waits, too."""


def main() -> int:
    """Until SIGTERM or Ctrl-C; exit status."""
    parser = argparse.ArgumentParser(prog="python -m closegap.api", description=__doc__)
    parser.add_argument("--descriptor", type=int, required=True, help="number of the socket's descriptor")
    place = socket.socket(fileno=parser.parse_args().descriptor)
    try:
        settings = Settings.load()
        journal.begin(settings, level=logging.WARNING)
        awaited(settings, patience=0.5, seconds=STORE_SECONDS).close()
        server = ready(settings, auth=True)
        gc.freeze()  # what is imported stays
        gc.set_threshold(COLLECTED_AFTER)
        server.run(sockets=[place])
    except ServiceError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m closegap_workers {worker|attempt|run|ray}`: what the command line and the worker start."""

from __future__ import annotations

import argparse
import json
import sys


def main() -> int:
    """Run one command. Orders and secrets come by stdin or the environment, never as arguments."""
    parser = argparse.ArgumentParser(prog="closegap_workers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("ray", help="keep an embedded Ray head; order on stdin")
    arguments = parser.parse_args()
    from closegap_workers.cluster import keep

    return keep(json.load(sys.stdin))


if __name__ == "__main__":
    sys.exit(main())

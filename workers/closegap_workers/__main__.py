"""`python -m closegap_workers {worker|attempt|run|ray}`: what the command line and a worker start.

worker   claim and run jobs until SIGTERM (drains; a second one stops hard)
attempt  one attempt; its order on stdin, started by a worker
run      specs on stdin (YAML or JSON), run here without a queue; events on stdout as lines of JSON
ray      keep an embedded Ray head; its order on stdin, started by a worker
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from typing import Any

from closegap.errors import ServiceError, SpecError, StoreUnavailable
from closegap_workers.cluster import ClusterError, keep
from closegap_workers.process import die_with_parent

FAILED, UNREACHABLE, USAGE = 1, 4, 2


def main() -> int:
    """Run one command. Orders and secrets come by stdin or the environment, never as arguments."""
    parser = argparse.ArgumentParser(
        prog="closegap_workers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    worker = commands.add_parser("worker")
    worker.add_argument("--jobs", type=int, help="end after so many attempts")
    worker.add_argument("--until-idle", action="store_true", help="end when no job can be claimed")
    for name in ("attempt", "run", "ray"):
        commands.add_parser(name)
    arguments = parser.parse_args()
    try:
        return _run(arguments)
    except SpecError as error:
        sys.stderr.write(f"{error}\n")
        return USAGE
    except StoreUnavailable as error:
        sys.stderr.write(f"{error}\n")
        return UNREACHABLE
    except (ServiceError, ClusterError) as error:
        sys.stderr.write(f"{error}\n")
        return FAILED


def _run(arguments: argparse.Namespace) -> int:
    # Each command imports only what it needs: an attempt starts in the time that torch takes.
    if arguments.command == "worker":
        from closegap import journal
        from closegap.settings import Settings
        from closegap_workers.supervisor import Supervisor

        settings = Settings.load()
        journal.begin(settings)
        Supervisor(settings).run(arguments.jobs, arguments.until_idle)
        return 0
    if arguments.command == "attempt":
        from closegap_workers.attempt import attempt

        return attempt(json.load(sys.stdin))
    if arguments.command == "run":
        from closegap import journal
        from closegap.settings import Settings
        from closegap.specs import spec
        from closegap_workers.local import Local

        settings = Settings.load()
        journal.begin(settings)
        return Local(settings).run(spec.parse(sys.stdin.read()))
    return _ray(json.load(sys.stdin))


def _ray(order: dict[str, Any]) -> int:
    from closegap import journal

    journal.begin()
    if order["do"] == "keep":
        return keep(order)
    from closegap_workers.leftovers import remove

    die_with_parent(signal.SIGKILL, order["parent"])
    json.dump(remove(order["address"], order["job"]), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m benchmarks [--json] [--rounds N]`: exits 1 when a mark is missed."""

from __future__ import annotations

import argparse
import json
import sys

from benchmarks import browser, core, curve, gpu, http, load, page, peers, queue
from benchmarks.figure import table


def main() -> int:
    """Measure everything, print it, and judge it."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--rounds", type=int, default=core.ROUNDS, help="interleaved rounds (default %(default)s)"
    )
    arguments = parser.parse_args()
    figures = [
        *core.figures(arguments.rounds),
        *gpu.figures(arguments.rounds),
        *queue.figures(),
        *peers.figures(),
        *load.figures(),
        *http.figures(),
        *page.figures(),
        *curve.figures(),
    ]
    missed = [figure.name for figure in figures if figure.passed is False]
    if arguments.json:
        print(json.dumps([figure.to_dict() for figure in figures], indent=2))
    else:
        print(table(figures))
        print("\nall marks reached" if not missed else f"\nmarks missed: {', '.join(missed)}")
    for why in (gpu.absent(), peers.absent(), browser.absent()):
        if why is not None:
            print(why, file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

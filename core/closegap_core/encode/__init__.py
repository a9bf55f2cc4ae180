"""Rows to approximate posteriors with an exported encoder: online (`Encoder`) and as a whole data set."""

from __future__ import annotations

from closegap_core.encode.dataset import EncodingSummary, encode_dataset
from closegap_core.encode.encoder import Encoder, EncoderInfo, Encoding
from closegap_core.encode.quality import Quality, Validation

__all__ = [
    "Encoder",
    "EncoderInfo",
    "Encoding",
    "EncodingSummary",
    "Quality",
    "Validation",
    "encode_dataset",
]

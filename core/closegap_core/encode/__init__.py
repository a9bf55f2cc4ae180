"""Rows to approximate posteriors with an exported encoder: online (`Encoder`) and as a whole data set."""

from __future__ import annotations

from closegap_core.encode.dataset import EncodingSummary, encode_dataset
from closegap_core.encode.encoder import Encoder, EncoderInfo, Encoding

__all__ = ["Encoder", "EncoderInfo", "Encoding", "EncodingSummary", "encode_dataset"]

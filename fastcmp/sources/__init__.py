"""Metadata files, directory trees and single files to named tensors."""

from __future__ import annotations

from fastcmp.sources.dump import Dump, Kind, Role
from fastcmp.sources.loading import load
from fastcmp.sources.named_tensor import NamedTensor, TensorKey

__all__ = ["Dump", "Kind", "NamedTensor", "Role", "TensorKey", "load"]

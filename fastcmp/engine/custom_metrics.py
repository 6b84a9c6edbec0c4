"""Metrics of the user's own, for one pair: both tensors whole, widened, and handed to each function."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastcmp.dtypes import DTYPES
from fastcmp.formats.composed_payload import ComposedPayload
from fastcmp.formats.payload import Payload
from fastcmp.formats.tensor_info import TensorInfo
from fastcmp.kernels.fold import scale_of
from fastcmp.kernels.sums import BLOCK_ELEMENTS
from fastcmp.kernels.widen import widen
from fastcmp.metric_functions import call
from fastcmp.options import FoldOptions
from fastcmp.plan import TaskMetrics

# Elements widened at a time, for what lies in another order than it is used.
_STEP = 1024 * BLOCK_ELEMENTS


def custom_values(
    metrics: TaskMetrics,
    golden: TensorInfo,
    target: TensorInfo,
    opened: Callable[[TensorInfo], Payload | ComposedPayload],
    options: FoldOptions,
) -> tuple[tuple[float | None, ...], tuple[str, ...]]:
    """The numbers of all metrics for one pair, None where there is none, and for each of those a note that says why.

    Parameters
    ----------
    metrics : TaskMetrics
    golden, target : TensorInfo
        Of equal element counts, in orders that can be compared.
    opened : callable
        Opens a payload.
    options : FoldOptions
    """
    dtype = np.dtype(np.complex128 if "complex" in (DTYPES[golden.dtype].kind, DTYPES[target.dtype].kind) else np.float64)
    nbytes = 2 * dtype.itemsize * golden.element_count
    if nbytes > metrics.max_bytes:
        said = f"both tensors take {nbytes} bytes as {dtype.name}, more than --metric-max-bytes {metrics.max_bytes}"
        return (None,) * len(metrics.specs), tuple(f"metric {metric.name}: not computed, {said}" for metric in metrics.specs)
    scale = scale_of(golden.dtype, target.dtype, options)
    # Both in golden's shape: elements are compared in the order they lie, and numpy would stretch (4, 1) against (4,).
    g, t = (_widened(info, dtype, opened, scale).reshape(golden.shape) for info in (golden, target))
    found = [call(metric, g, t) for metric in metrics.specs]
    return tuple(value for value, _ in found), tuple(note for _, note in found if note)


def _widened(
    info: TensorInfo, dtype: np.dtype, opened: Callable[[TensorInfo], Payload | ComposedPayload], scale: float | None
) -> np.ndarray:
    values = np.empty(info.element_count, dtype)
    with opened(info) as payload:
        for first in range(0, info.element_count, _STEP):
            stop = min(first + _STEP, info.element_count)
            widen(payload.piece(first, stop), info.dtype, values[first:stop])
    if scale is not None and DTYPES[info.dtype].kind == "int":
        values *= scale
    values.flags.writeable = False
    return values

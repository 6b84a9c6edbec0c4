"""Tensors of a pickle of torch's: what each of the functions that rebuild one would have been given, as a description."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from fastcmp.formats.layout import NAMES, is_row_major
from fastcmp.formats.malformed import Malformed, shortened
from fastcmp.formats.pt_values import DTypeName, Mapping, Refused, Storage, Tensor, integers, kind_of, view

_LONGEST_KEY: Final = 200
_MOST_METADATA: Final = 64
_PLAIN_COPY: Final = "save what .cpu() gives"

Arguments = tuple[Any, ...]


class Made(NamedTuple):
    """A function or class of theirs by what it would have made: ``make`` takes its arguments and answers a description."""

    name: str
    make: Callable[[Arguments], object]


class StorageType(NamedTuple):
    """A class of storages; ``dtype`` is that of its elements."""

    dtype: str


class Named(NamedTuple):
    """A class that may be mentioned and not called."""

    name: str


def wrong(name: str, arguments: Arguments) -> Malformed:
    found = shortened(", ".join(map(kind_of, arguments[:10])))
    return Malformed("E_PICKLE", f"{name} with arguments that torch does not write: {found}")


# --- storages ----------------------------------------------------------------------------------------------------------------------------


def storage_of(identifier: object) -> Storage:
    """From (storage, class, key, device, elements), behind which a stream has (view key, first element, elements) or None."""
    if type(identifier) is tuple and len(identifier) in (5, 6) and identifier[0] == "storage":
        _, kind, key, _, numel, *views = identifier
        whole = views[0] if views else None
        if type(kind) is StorageType and type(key) is str and len(key) <= _LONGEST_KEY and _is_count(numel):
            if whole is None:
                return Storage(key, kind.dtype, numel, 0, numel)
            if type(whole) is tuple and len(whole) == 3 and _is_count(whole[1]) and _is_count(whole[2]) and whole[1] + whole[2] <= numel:
                return Storage(key, kind.dtype, numel, whole[1], whole[2])
    raise Malformed("E_PICKLE", f"expected the description of a storage, got {kind_of(identifier)}")


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63


# --- tensors -----------------------------------------------------------------------------------------------------------------------------


def _tensor_v1(arguments: Arguments) -> Tensor | Refused:
    """storage, storage_offset, size, stride"""
    storage, first, size, stride = expect("_rebuild_tensor", arguments, 4, 4)
    return _viewed("_rebuild_tensor", arguments, storage, first, size, stride, None)


def _tensor_v2(arguments: Arguments) -> Tensor | Refused:
    """storage, storage_offset, size, stride, requires_grad, backward_hooks, metadata"""
    storage, first, size, stride, _, _, *metadata = expect("_rebuild_tensor_v2", arguments, 6, 7)
    return _refused_by(metadata) or _viewed("_rebuild_tensor_v2", arguments, storage, first, size, stride, None)


def _tensor_v3(arguments: Arguments) -> Tensor | Refused:
    """storage, storage_offset, size, stride, requires_grad, backward_hooks, dtype, metadata"""
    storage, first, size, stride, _, _, dtype, *metadata = expect("_rebuild_tensor_v3", arguments, 7, 8)
    if type(dtype) is not DTypeName:
        raise wrong("_rebuild_tensor_v3", arguments)
    return _refused_by(metadata) or _viewed("_rebuild_tensor_v3", arguments, storage, first, size, stride, dtype)


def _tensor_npu(arguments: Arguments) -> Tensor | Refused:
    """storage, storage_offset, size, stride, requires_grad, backward_hooks, npu_storage_info: True, or an aclFormat

    The format is the one that the tensor had on its device. Its elements were brought to the order of its shape before they were saved by
    every version of torch_npu that could be looked at; for the private formats we do not rely on that.
    """
    storage, first, size, stride, _, _, *rest = expect("_rebuild_npu_tensor", arguments, 6, 7)
    code = rest[0] if rest else True
    if type(code) not in (bool, int):
        raise wrong("_rebuild_npu_tensor", arguments)
    if type(code) is int and not is_row_major(code):
        return _private_format(NAMES.get(code, f"code {shortened(code)}"))
    return _viewed("_rebuild_npu_tensor", arguments, storage, first, size, stride, None)


def _private_format(name: str) -> Refused:
    return Refused(
        "E_TENSOR_KIND",
        f"a tensor of an NPU in the memory format {shortened(name)}, expected ND or another in the order of its shape; {_PLAIN_COPY}",
    )


def expect(name: str, arguments: Arguments, least: int, most: int) -> Arguments:
    if not least <= len(arguments) <= most:
        raise wrong(name, arguments)
    return arguments


def _viewed(
    name: str, arguments: Arguments, storage: object, first: object, size: object, stride: object, dtype: str | None
) -> Tensor | Refused:
    if type(storage) is not Storage or type(first) is not int or first < 0:
        raise wrong(name, arguments)
    try:
        shape, strides = integers(size, "shape"), integers(stride, "strides")
    except Malformed as error:
        if error.code == "E_PICKLE":
            raise
        return Refused(error.code, error.detail)
    if len(shape) != len(strides):
        return Refused("E_BAD_DIMS", f"shape {shortened(shape)} has another number of axes than strides {shortened(strides)}")
    return view(storage, first, shape, strides, storage.dtype if dtype is None else dtype)


def _refused_by(metadata: list[object]) -> Refused | None:
    """What the metadata of a tensor says that its stored elements do not: they are conjugated, negated, or in an order of an NPU's."""
    if not metadata or metadata[0] is None:
        return None
    table = metadata[0]
    if type(table) is not Mapping:
        raise Malformed("E_PICKLE", f"expected a dict as metadata of a tensor, got {kind_of(table)}")
    if len(table.keys) > _MOST_METADATA:
        said = f"{len(table.keys)} values as metadata of a tensor, expected at most {_MOST_METADATA}"
        return Refused("E_TENSOR_KIND", f"{said}; {_PLAIN_COPY}")
    formats: dict[str, str] = {}
    for key, value in zip(table.keys, table.values, strict=True):
        kind, _, rest = key[:_LONGEST_KEY].partition("/") if type(key) is str else (shortened(kind_of(key)), "", "")
        if kind in ("conj", "neg"):
            if value is not False:
                how = "conjugated" if kind == "conj" else "negated"
                said = f"the stored elements are to be {how} when they are read, expected them as they are"
                return Refused("E_TENSOR_KIND", f"{said}; save what .resolve_{kind}() gives")
        elif kind in ("npu_format_", "origin_format_"):
            formats[kind] = rest
        elif kind not in ("base_sizes_", "base_strides_", "storage_sizes_"):
            return Refused("E_TENSOR_KIND", f"metadata {shortened(kind)} of a tensor, whose meaning is not known; {_PLAIN_COPY}")
    format_name = formats.get("npu_format_", "ND")
    if format_name not in ("ND", "NCHW", "NCDHW", "NC", "NCL") and not (
        format_name in ("NHWC", "NDHWC") and formats.get("origin_format_") == format_name
    ):
        return _private_format(format_name)
    return None


# --- tensors in other wrappings ----------------------------------------------------------------------------------------------------------


def _inner(name: str, least: int, most: int) -> Callable[[Arguments], object]:
    """A function whose first argument is the tensor: parameters."""

    def make(arguments: Arguments) -> Tensor | Refused:
        inner = expect(name, arguments, least, most)[0]
        if type(inner) not in (Tensor, Refused):
            raise wrong(name, arguments)
        return inner

    return make


def _from_cpu_tensor(arguments: Arguments) -> Tensor | Refused:
    """tensor, dtype, device, requires_grad: from a device without storages of its own"""
    inner, dtype, _, _ = expect("_rebuild_device_tensor_from_cpu_tensor", arguments, 4, 4)
    if type(inner) is Refused:
        return inner
    if type(inner) is not Tensor or type(dtype) is not DTypeName:
        raise wrong("_rebuild_device_tensor_from_cpu_tensor", arguments)
    if dtype != inner.dtype:
        return Refused("E_DTYPE", f"elements of {inner.dtype} that are to become {shortened(str(dtype))}, expected one dtype")
    return inner


def _from_type(arguments: Arguments) -> object:
    """function, class, arguments, state: a tensor with attributes"""
    function, kind, inner, _ = expect("_rebuild_from_type", arguments, 4, 4)
    if type(function) is not Made or kind not in TENSOR_TYPES or type(inner) is not tuple or not _is_wrappable(function):
        raise wrong("_rebuild_from_type", arguments)
    return function.make(inner)


def _is_wrappable(function: Made) -> bool:
    """A function that makes tensors, but no wrapping, so that none goes deeper than one."""
    return function.name in FUNCTIONS and function.make is not _from_type


def _kind(what: str, advice: str) -> Callable[[Arguments], object]:
    return lambda _: Refused("E_TENSOR_KIND", f"{what}, expected a dense one with elements of its own; {advice}")


TENSOR_TYPES: Final = (Named("torch.Tensor"), Named("torch.nn.parameter.Parameter"), Named("torch.nn.parameter.Buffer"))


def _functions() -> dict[str, object]:
    made: dict[str, Callable[[Arguments], object]] = {
        "torch._utils._rebuild_tensor": _tensor_v1,
        "torch._utils._rebuild_tensor_v2": _tensor_v2,
        "torch._utils._rebuild_tensor_v3": _tensor_v3,
        "torch._utils._rebuild_parameter": _inner("_rebuild_parameter", 3, 3),
        "torch._utils._rebuild_parameter_with_state": _inner("_rebuild_parameter_with_state", 4, 4),
        "torch._utils._rebuild_device_tensor_from_cpu_tensor": _from_cpu_tensor,
        "torch_npu.utils.storage._rebuild_npu_tensor": _tensor_npu,
    }
    for name, what, advice in (
        ("_rebuild_device_tensor_from_numpy", "a tensor pickled as an array of numpy's", "save what .cpu() gives"),
        ("_rebuild_xla_tensor", "a tensor pickled as an array of numpy's", "save what .cpu() gives"),
        ("_rebuild_sparse_tensor", "a sparse tensor", "save what .to_dense() gives"),
        ("_rebuild_sparse_csr_tensor", "a sparse tensor", "save what .to_dense() gives"),
        ("_rebuild_qtensor", "a quantized tensor", "save what .dequantize() gives"),
        ("_rebuild_nested_tensor", "a nested tensor", "save the tensors that .unbind() gives"),
        ("_rebuild_meta_tensor_no_storage", "a tensor without elements (meta)", "load the model on a device, and save it then"),
        ("_rebuild_wrapper_subclass", "a tensor that wraps others", "save those, or what .full_tensor() of a DTensor gives"),
    ):
        made[f"torch._utils.{name}"] = _kind(what, advice)
    for module in ("torch", "torch.tensor", "torch._tensor"):  # the second is that of torch before 1.9
        made |= {f"{module}.{name}": _from_type for name in ("_rebuild_from_type", "_rebuild_from_type_v2")}
    return {name: Made(name, make) for name, make in made.items()}


FUNCTIONS: Final = _functions()
"""``module.name`` of all that makes tensors."""

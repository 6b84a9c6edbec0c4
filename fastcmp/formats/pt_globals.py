"""The names that a pickle of torch's may hold, and what each stands for here. Nothing is imported by them, and nothing of theirs is called.

A name that is not in the list is refused with the whole file. Kinds of tensors that cannot be compared (sparse, quantized, ...) are in the
list, so that the other tensors of their file can be.
"""

from __future__ import annotations

from typing import Final

from fastcmp.formats.pt_tensors import FUNCTIONS, TENSOR_TYPES, Arguments, Made, Named, StorageType, expect, wrong
from fastcmp.formats.pt_values import OPAQUE, DTypeName, Mapping, Opaque, Refused, Unordered, integers


def _mapping(arguments: Arguments) -> Mapping:
    """An empty dict, or one of pairs: OrderedDict, and others whose first argument is the default or the content."""
    made = Mapping()
    source = arguments[0] if arguments else None
    if type(source) is Mapping:
        made.keys, made.values = list(source.keys), list(source.values)
    elif type(source) is list or type(source) is tuple:
        for pair in source:
            if type(pair) not in (list, tuple) or len(pair) != 2:
                raise wrong("dict", arguments)
            made.keys.append(pair[0])
            made.values.append(pair[1])
    return made


def _sequence(arguments: Arguments) -> list[object]:
    return list(arguments[0]) if arguments and type(arguments[0]) in (list, tuple) else []


def _set(arguments: Arguments) -> Unordered:
    return Unordered(_sequence(arguments))


def _size(arguments: Arguments) -> tuple[int, ...]:
    (extents,) = expect("torch.Size", arguments, 1, 1)
    return integers(extents, "torch.Size")


def _npu_format(arguments: Arguments) -> int:
    (code,) = expect("torch_npu Format", arguments, 1, 1)
    if type(code) is not int:
        raise wrong("torch_npu Format", arguments)
    return code


def _nothing(_: Arguments) -> Opaque:
    return OPAQUE


_DTYPES: Final = (
    "float64 double float32 float float16 half bfloat16 float8_e5m2 float8_e4m3fn float8_e5m2fnuz float8_e4m3fnuz float8_e8m0fnu "
    "float4_e2m1fn_x2 int64 long int32 int int16 short int8 uint8 uint16 uint32 uint64 bool complex32 chalf complex64 cfloat complex128 "
    "cdouble qint8 qint32 quint8 quint4x2 quint2x4 bits8 bits16 bits1x8 bits2x4 bits4x2 int1 int2 int3 int4 int5 int6 int7 uint1 uint2 "
    "uint3 uint4 uint5 uint6 uint7"
).split()
_ALIASES: Final = {
    "double": "float64", "float": "float32", "half": "float16", "long": "int64", "int": "int32", "short": "int16", "chalf": "complex32",
    "cfloat": "complex64", "cdouble": "complex128",
}  # fmt: skip
_STORAGES: Final = {
    "Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16", "Long": "int64", "Int": "int32", "Short": "int16",
    "Char": "int8", "Byte": "uint8", "Bool": "bool", "ComplexDouble": "complex128", "ComplexFloat": "complex64", "QInt8": "qint8",
    "QInt32": "qint32", "QUInt8": "quint8", "QUInt4x2": "quint4x2", "QUInt2x4": "quint2x4",
}  # fmt: skip
_QUANTIZATIONS: Final = ("tensor_affine", "tensor_symmetric", "channel_affine", "channel_symmetric", "channel_affine_float_qparams")
_NUMPY: Final = ("numpy.core.multiarray", "numpy._core.multiarray")


def _all_globals() -> dict[str, object]:
    found: dict[str, object] = dict(FUNCTIONS)
    found |= {kind.name: kind for kind in TENSOR_TYPES}
    found |= {f"torch.{name}": DTypeName(_ALIASES.get(name, name)) for name in _DTYPES}
    found |= {f"{module}.{name}Storage": StorageType(dtype) for module in ("torch", "torch.cuda") for name, dtype in _STORAGES.items()}
    found |= {f"torch.storage.{name}": StorageType("uint8") for name in ("UntypedStorage", "_UntypedStorage")}
    found |= {f"torch.per_{name}": Named(f"torch.per_{name}") for name in _QUANTIZATIONS}
    found["torch_npu.npu._format.Format"] = Made("Format", _npu_format)
    return found | _plain_globals()


def _plain_globals() -> dict[str, object]:
    """Containers and values of Python, numpy and torch that are no tensors, and arrays of numpy's."""
    found: dict[str, object] = {
        "torch.Size": Made("torch.Size", _size),
        "torch.device": Made("torch.device", _nothing),
        "torch.serialization._get_layout": Made("_get_layout", _nothing),
        "collections.OrderedDict": Made("OrderedDict", _mapping),
        "collections.defaultdict": Made("defaultdict", _mapping),
        "collections.Counter": Made("Counter", _mapping),
        "collections.deque": Made("deque", _sequence),
        "_codecs.encode": Made("encode", _nothing),
        "numpy.dtype": Made("numpy.dtype", _nothing),
        "numpy.ndarray": Named("numpy.ndarray"),
    }
    for module in ("builtins", "__builtin__"):
        found |= {f"{module}.{name}": Made(name, _nothing) for name in ("bytearray", "complex", "slice", "range", "xrange")}
        found |= {f"{module}.{name}": Made(name, _set) for name in ("set", "frozenset")}
        found |= {f"{module}.{name}": Named(name) for name in ("int", "float", "bool", "str", "bytes", "list", "tuple", "dict")}
    array = Refused("E_TENSOR_KIND", "an array of numpy's in a pickle, expected a tensor of torch's; save torch.from_numpy() of it")
    for module in _NUMPY:
        found |= {f"{module}._reconstruct": Made("_reconstruct", lambda _: array), f"{module}.scalar": Made("scalar", _nothing)}
    found |= {f"{module}._frombuffer": Made("_frombuffer", lambda _: array) for module in ("numpy.core.numeric", "numpy._core.numeric")}
    return found


ALLOWED: Final = _all_globals()
"""``module.name`` to what it stands for."""

"""Archives and pickles among the seeds, made byte by byte, so that they are the same with any version of torch and at any time of day."""

from __future__ import annotations

import io
import pickle
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1] / "planted"))
import pt_files
from pt_files import call, dict_of, integer, list_of, named, npu_tensor, storage, tensor, text, tuple_of


def saved(array: np.ndarray[Any, Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def pickle_seeds() -> dict[str, bytes]:
    """Storage 0 has six float32, storage 1 eight bytes."""
    untyped = storage("1", "torch.storage.UntypedStorage", 8)
    v3 = "torch._utils._rebuild_tensor_v3"
    attributes = call("torch._tensor._rebuild_from_type_v2", named("torch._utils._rebuild_tensor"), named("torch.Tensor"), tuple_of(storage(), integer(0), b")", b")"), dict_of((text("a"), integer(1))))  # fmt: skip
    values = {
        "tensor": tensor(),
        "strided": tensor((3, 2), (1, 3)),
        "expanded": tensor((4, 5, 6), (0, 0, 1)),
        "scalar": tensor((), (), first=5),
        "empty": tensor((0, 3), (3, 1)),
        "float8": tensor((8,), (1,), of=untyped, function=v3, more=(named("torch.float8_e4m3fn"),)),
        "complex32": tensor((2,), (1,), of=untyped, function=v3, more=(named("torch.complex32"), dict_of((text("conj"), pt_files.TRUE)))),
        "parameter": call("torch._utils._rebuild_parameter", tensor(), pt_files.TRUE, call("collections.OrderedDict")),
        "attributes": attributes,
        "npu": npu_tensor(integer(2)),
        "npu_private": npu_tensor(call("torch_npu.npu._format.Format", integer(29))),
        "npu_metadata": tensor(more=(dict_of((text("npu_format_/ND"), pt_files.TRUE), (text("base_sizes_/2/3/"), pt_files.TRUE)),)),
        "state": call("collections.OrderedDict") + b"(" + text("layers.0.weight") + tensor() + text("b") + tensor() + b"u" + dict_of((text("_metadata"), b"}")) + b"b",
        "nested": list_of(tuple_of(dict_of((text("a"), tensor()), (integer(3), tensor((1,), (1,))), (b"N", b")")), b"G?\xf8\0\0\0\0\0\0"), text("x")),
        "one_name_twice": dict_of((text("a.b"), tensor()), (text("a"), dict_of((text("b"), tensor())))),
        "frozen": b"(" + integer(1) + b"\x91",
        "sparse": call("torch._utils._rebuild_sparse_tensor", call("torch.serialization._get_layout", text("torch.sparse_coo")), tuple_of(tensor(), tensor())),
        "sizes": call("torch.Size", tuple_of(integer(2), integer(3))),
        "array": call("numpy.core.multiarray._reconstruct", named("numpy.ndarray"), tuple_of(integer(0)), text("b")),
        "bomb": call("posix.mkdir", text("fastcmp_pickle_bomb_went_off")),
        "other_global": named("builtins.eval"),
        "outside": tensor(first=1),
        "huge_axes": tensor((2**40, 2**40), (0, 0)),
        "negative": tensor((-1, 3), (3, -1)),
        "laughs": b")2\x86" + b"2\x86" * 40,
        "itself": b"]q\0h\0a",
        "deep": b"]" * 70 + b"a" * 69,
        "long_key": dict_of((text("k" * 1100), tensor())),
        "surrogate": dict_of((text("\ud800"), tensor())),
    }  # fmt: skip
    seeds = {name: pt_files.pickled(value) for name, value in values.items()}
    value = {"a": [1, 2.5, None, True, "x", b"y", (3,), {4}], "b": 2**70}
    return seeds | {f"protocol_{protocol}": pickle.dumps(value, protocol) for protocol in range(6)} | {"cut": seeds["tensor"][:-5]}


def pt_seeds() -> dict[str, bytes]:
    kinds = {"plain": tensor(), "big_endian": tensor(), "several": list_of(tensor(), tensor((1,), (1,), of=storage("1", numel=1)))}
    archives = {
        name: pt_files.archive(pt_files.pickled(value), {"0": bytes(24), "1": bytes(4)}, byteorder=b"big" if name == "big_endian" else None)
        for name, value in kinds.items()
    }
    view = storage()[:-2] + b"NtQ"
    stream = pt_files.stream(pt_files.pickled(tensor(of=view)), list_of(text("0")), (6).to_bytes(8, "little") + bytes(24))
    plain = archives["plain"]
    long = zipped_long({"x/data.pkl": pt_files.pickled(tensor()), "x/data/0": bytes(24)})
    return archives | {
        "stream": stream,
        "stream_cut": stream[:-3],
        "long_numbers": long,
        "deflated": pt_files.zipped({"x/data.pkl": pt_files.pickled(tensor()), "x/data/0": bytes(24)}, zipfile.ZIP_DEFLATED),
        "overlapping": plain.replace(b"a/data/1", b"a/data/0"),
        "no_pickle": pt_files.zipped({"x/data": b"1"}),
        "no_directory": pt_files.zipped({"data.pkl": pt_files.pickled(tensor())}),
        "storage_too_short": pt_files.archive(pt_files.pickled(tensor()), {"0": bytes(23)}),
        "cut": plain[:-7],
        "trailing": plain + b"tail",
        "tar": b"storages".ljust(257, b"\0") + b"ustar" + bytes(60),
    }


def zipped_long(members: dict[str, bytes]) -> bytes:
    """With the 64-bit extension in the local headers."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name, content in members.items():
            with made.open(zipfile.ZipInfo(name), "w", force_zip64=True) as member:
                member.write(content)
    return file.getvalue()


def npz_seeds(bomb: bytes) -> dict[str, bytes]:
    """``bomb``: a .npy file that holds one."""
    plain, numbers = saved(np.arange(3, dtype="<f4")), saved(np.asfortranarray(np.arange(6, dtype=">i2").reshape(2, 3)))
    members = {"a.npy": plain, "b.npy": numbers}
    return {
        "plain": pt_files.zipped(members),
        "long_numbers": zipped_long(members),
        "deflated": pt_files.zipped(members, zipfile.ZIP_DEFLATED),
        "pickle_bomb": pt_files.zipped({"a.npy": bomb}),
        "cut_array": pt_files.zipped({"a.npy": plain[:-1]}),
        "trailing": pt_files.zipped({"a.npy": plain + b"tail"}),
        "no_array": pt_files.zipped({"a.txt": b"1"}),
        "name_of_two_bytes": pt_files.zipped({"\xfc.npy": plain}),
        "none": pt_files.zipped({}),
    }

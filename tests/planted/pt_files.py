"""Pickles and archives made by hand: what `torch.save` writes, what torch_npu wrote, and what nobody should have written."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

STOP = b"."
NONE, TRUE, FALSE = b"N", b"\x88", b"\x89"
DICT, LIST = b"}", b"]"


def text(value: str) -> bytes:
    content = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(content)) + content


def integer(value: int) -> bytes:
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    content = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes((len(content),)) + content


def named(path: str) -> bytes:
    """``module.name`` by GLOBAL."""
    module, _, name = path.rpartition(".")
    return f"c{module}\n{name}\n".encode()


def tuple_of(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"t"


def list_of(*parts: bytes) -> bytes:
    return b"](" + b"".join(parts) + b"e"


def dict_of(*pairs: tuple[bytes, bytes]) -> bytes:
    return b"}(" + b"".join(key + value for key, value in pairs) + b"u"


def call(path: str, *arguments: bytes) -> bytes:
    return named(path) + tuple_of(*arguments) + b"R"


def integers(*values: int) -> bytes:
    return tuple_of(*map(integer, values))


def storage(key: str = "0", kind: str = "torch.FloatStorage", numel: int = 6, device: str = "cpu") -> bytes:
    return tuple_of(text("storage"), named(kind), text(key), text(device), integer(numel)) + b"Q"


def tensor(
    shape: tuple[int, ...] = (2, 3),
    strides: tuple[int, ...] = (3, 1),
    *,
    first: int = 0,
    of: bytes | None = None,
    function: str = "torch._utils._rebuild_tensor_v2",
    more: tuple[bytes, ...] = (),
) -> bytes:
    hooks = call("collections.OrderedDict")
    return call(function, storage() if of is None else of, integer(first), integers(*shape), integers(*strides), FALSE, hooks, *more)


def npu_tensor(npu_format: bytes, **rest: object) -> bytes:
    """As `_reduce_ex` of torch_npu made it: the seventh argument is True, a number, or (later) an IntEnum of formats."""
    return tensor(function="torch_npu.utils.storage._rebuild_npu_tensor", more=(npu_format,), of=storage(device="npu:0"), **rest)


def pickled(value: bytes, protocol: int = 2) -> bytes:
    return b"\x80" + bytes((protocol,)) + value + STOP


def archive(
    pickle: bytes, storages: dict[str, bytes] | None = None, *, byteorder: bytes | None = b"little", directory: str = "made"
) -> bytes:
    """A file of `torch.save`, its members not aligned."""
    members = {"data.pkl": pickle, **({} if byteorder is None else {"byteorder": byteorder})}
    members |= {f"data/{key}": content for key, content in ({"0": bytes(24)} if storages is None else storages).items()}
    return zipped({f"{directory}/{name}": content for name, content in (members | {"version": b"3\n"}).items()})


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """An archive that is the same at any time of day."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name, content in members.items():
            made.writestr(zipfile.ZipInfo(name), content, method)
    return file.getvalue()


def stream(pickle: bytes, keys: bytes, storages: bytes, version: int = 1001) -> bytes:
    """A file of torch before 1.6: a pickle of a number, of the version, of nothing that matters, of the value, of the keys; the storages."""
    number = b"\x8a\x0a" + 0x1950A86A20F9469CFC6C.to_bytes(10, "little")
    return b"".join(map(pickled, (number, integer(version), DICT))) + pickle + pickled(keys) + storages


def written(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)

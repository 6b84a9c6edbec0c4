"""`.pt` and `.pth`: against torch, which wrote them."""

from __future__ import annotations

import re
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pt_files
import pytest
import torch
from saved_by_torch import BOTH_FORMATS, OPTIONS, bytes_of, names, save, stored

from fastcmp.dtypes import DTYPES
from fastcmp.errors import TensorError
from fastcmp.formats import scan
from fastcmp.formats.payload import open_payload
from fastcmp.formats.places import member_place
from fastcmp.formats.pt_names import LONGEST_NAME
from fastcmp.formats.whole import read_tensor

# --- dtypes and layouts ------------------------------------------------------------------------------------------------------------------

DTYPE_NAMES = [name for name, row in DTYPES.items() if hasattr(torch, name) and not row.is_sub_byte]
BYTES = torch.arange(64 * 16, dtype=torch.int64).remainder(120).to(torch.uint8)


def made(dtype: str, count: int = 60) -> torch.Tensor:
    found: torch.dtype = getattr(torch, dtype)
    if found == torch.bool:
        return torch.arange(count) % 3 == 0
    return BYTES[: count * found.itemsize].clone().view(found)


LAYOUTS: dict[str, Any] = {
    "contiguous": lambda t: t.reshape(3, 4, 5),
    "transposed": lambda t: t.reshape(3, 4, 5).transpose(0, 2),
    "permuted": lambda t: t.reshape(3, 4, 5).permute(1, 2, 0),
    "sliced": lambda t: t.reshape(3, 4, 5)[1:, 1:3, ::2],
    "row": lambda t: t.reshape(12, 5)[7],
    "column": lambda t: t.reshape(12, 5)[:, 3],
    "element": lambda t: t.reshape(12, 5)[7, 3],
    "expanded": lambda t: t[:5].reshape(1, 5, 1).expand(3, 5, 4),
    "one element expanded": lambda t: t[17].expand(2, 3),
    "overlapping": lambda t: t.as_strided((5, 6), (3, 2), 4),
    "channels last": lambda t: t.reshape(1, 3, 4, 5).contiguous(memory_format=torch.channels_last),
    "diagonal": lambda t: t.reshape(6, 10).diagonal(),
    "axes of one": lambda t: t.reshape(1, 12, 1, 5).transpose(0, 2),
    "empty": lambda t: t[:0].reshape(0, 3),
    "empty slice": lambda t: t.reshape(12, 5)[4:4],
    "0-d": lambda t: t[0],
}


@BOTH_FORMATS
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
def test_every_dtype_in_every_layout_is_what_torch_loads(tmp_path: Path, layout: str, is_zip: bool) -> None:
    tensors = {dtype: LAYOUTS[layout](made(dtype)) for dtype in DTYPE_NAMES}
    path = save(tmp_path / "a.pt", tensors, is_zip)
    assert names(path) == tuple(tensors)
    # torch cannot load float8 from the streams that it writes.
    loaded = torch.load(path, weights_only=True) if is_zip else tensors
    for dtype in tensors:
        info = scan(member_place(path, dtype), OPTIONS)
        assert (info.dtype, info.shape, info.big_endian) == (dtype, tuple(loaded[dtype].shape), False)
        assert stored(path, dtype) == bytes_of(loaded[dtype])
        is_as_it_lies = loaded[dtype].is_contiguous() or loaded[dtype].numel() == 0
        assert (info.strides is None) == is_as_it_lies and (info.strides is None or info.strides == loaded[dtype].stride())


def test_the_dtypes_are_those_that_torch_has() -> None:
    assert {"float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "complex32", "complex128", "uint16", "bool"} <= set(
        DTYPE_NAMES
    )


@BOTH_FORMATS
def test_a_tensor_alone_needs_no_name(tmp_path: Path, is_zip: bool) -> None:
    tensor = torch.randn(5, 7)
    path = save(tmp_path / "a.pth", tensor, is_zip)
    assert names(path) == ("",)
    np.testing.assert_array_equal(read_tensor(path), tensor.numpy())


def test_any_run_of_a_strided_tensor_is_gathered(tmp_path: Path) -> None:
    tensor = torch.arange(24.0).reshape(4, 6)[:, 1].reshape(4, 1, 1).expand(4, 5, 3)
    info = scan(save(tmp_path / "a.pt", tensor), OPTIONS)
    assert info.strides == (6, 0, 0) and info.nbytes == (3 * 6 + 1) * 4
    flat = tensor.reshape(-1).numpy()
    for mapped in (True, False):
        with open_payload(info, mapped=mapped) as payload:
            for start in range(61):
                for stop in range(start, 61):
                    np.testing.assert_array_equal(payload.piece(start, stop), flat[start:stop])


def test_a_view_of_a_large_storage_reads_its_own_bytes_only(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pt", torch.arange(1000.0).reshape(10, 100)[3:5])
    info = scan(path, OPTIONS)
    assert (info.nbytes, info.strides) == (800, None) and read_tensor(path)[0, 0] == 300


@BOTH_FORMATS
def test_tensors_that_share_a_storage_are_each_their_own(tmp_path: Path, is_zip: bool) -> None:
    base = torch.arange(20.0)
    path = save(tmp_path / "a.pt", {"base": base, "head": base[:5], "again": base, "odd": base[1::2]}, is_zip)
    assert scan(member_place(path, "base"), OPTIONS).data_offset == scan(member_place(path, "again"), OPTIONS).data_offset
    for name, tensor in {"base": base, "head": base[:5], "again": base, "odd": base[1::2]}.items():
        np.testing.assert_array_equal(read_tensor(path, member=name), tensor.numpy())


# --- what else a tensor may come with ----------------------------------------------------------------------------------------------------


def test_parameters_gradients_and_attributes_change_nothing(tmp_path: Path) -> None:
    marked = torch.nn.Parameter(torch.ones(3))
    marked.sharded = True
    noted = torch.ones(4)
    noted.origin = {"layer": 3}
    grown = torch.ones(2, requires_grad=True) * 2
    tensors = {
        "parameter": torch.nn.Parameter(torch.arange(3.0)),
        "frozen": torch.nn.Parameter(torch.arange(3), requires_grad=False),
        "buffer": torch.nn.Buffer(torch.arange(5.0)),
        "marked": marked,
        "noted": noted,
        "grown": grown,
    }
    path = save(tmp_path / "a.pt", tensors)
    assert names(path) == tuple(tensors)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(read_tensor(path, member=name), tensor.detach().numpy())


@BOTH_FORMATS
def test_the_state_of_a_model_and_of_its_optimizer_is_read_whole(tmp_path: Path, is_zip: bool) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.randn(5, 3)).sum().backward()
    optimizer.step()
    path = save(tmp_path / "a.pt", {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 7}, is_zip)
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(read_tensor(path, member=f"model.{name}"), tensor.numpy())
    np.testing.assert_array_equal(
        read_tensor(path, member="optimizer.state.0.exp_avg"), optimizer.state_dict()["state"][0]["exp_avg"].numpy()
    )


REFUSED = {
    "sparse": (lambda: torch.eye(3).to_sparse(), "a sparse tensor", ".to_dense()"),
    "sparse csr": (lambda: torch.eye(3).to_sparse_csr(), "a sparse tensor", ".to_dense()"),
    "quantized": (lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8), "a quantized tensor", ".dequantize()"),
    "quantized by channel": (
        lambda: torch.quantize_per_channel(torch.ones(3, 2), torch.ones(3), torch.zeros(3), 0, torch.quint8), "a quantized tensor",
        ".dequantize()",
    ),
    "meta": (lambda: torch.empty(3, device="meta"), "a tensor without elements (meta)", "load the model on a device"),
    "conjugated": (lambda: torch.ones(3, dtype=torch.complex64).conj(), "the stored elements are to be conjugated", ".resolve_conj()"),
    "negated": (lambda: torch.ones(3, dtype=torch.complex64).conj().imag, "the stored elements are to be negated", ".resolve_neg()"),
    "array": (lambda: np.arange(3), "an array of numpy's in a pickle", "torch.from_numpy()"),
}  # fmt: skip


@BOTH_FORMATS
@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.filterwarnings("ignore")  # that torch is about to change or give up some of these
def test_a_tensor_of_another_kind_is_refused_and_its_neighbours_are_not(tmp_path: Path, kind: str, is_zip: bool) -> None:
    make, reason, advice = REFUSED[kind]
    path = save(tmp_path / "a.pt", {"plain": torch.arange(3), "odd": make(), "last": torch.arange(4)}, is_zip)
    assert names(path) == ("plain", "odd", "last")
    assert read_tensor(path, member="last").tolist() == [0, 1, 2, 3]
    with pytest.raises(TensorError, match=re.escape(f"tensor 'odd': {reason}")) as error:
        scan(member_place(path, "odd"), OPTIONS)
    assert error.value.code == "E_TENSOR_KIND"
    assert re.search(rf"; [^;]*{re.escape(advice)}[^;]* \[E_TENSOR_KIND\]$", str(error.value)) and str(error.value).count("; ") == 1


@pytest.mark.parametrize("dtype", ["float8_e4m3fnuz", "float8_e5m2fnuz", "float4_e2m1fn_x2"])
def test_a_dtype_that_no_kernel_has_is_an_error_of_that_tensor(tmp_path: Path, dtype: str) -> None:
    path = save(tmp_path / "a.pt", [torch.zeros(4, dtype=torch.uint8).view(getattr(torch, dtype)), torch.ones(2)])
    with pytest.raises(TensorError, match=rf"tensor '0': elements of torch\.{dtype}, which no kernel compares.*E_DTYPE"):
        scan(member_place(path, "0"), OPTIONS)
    assert read_tensor(path, member="1").tolist() == [1, 1]


def test_resolved_conjugates_are_read(tmp_path: Path) -> None:
    tensor = torch.tensor([1 + 2j, 3 - 4j])
    path = save(tmp_path / "a.pt", [tensor.conj().resolve_conj(), tensor.imag])
    assert read_tensor(path, member="0").tolist() == [1 - 2j, 3 + 4j]
    assert read_tensor(path, member="1").tolist() == [2, -4]


# --- containers and names ----------------------------------------------------------------------------------------------------------------


def test_names_are_the_keys_and_positions_that_lead_to_a_tensor(tmp_path: Path) -> None:
    one = torch.ones(1)
    value = {
        "hidden": (one, [one, None, {"k": one}]),
        7: one,
        "state": OrderedDict([("layers.0.weight", one), ("", one)]),
        "many": defaultdict(list, {"a": [one]}),
        None: one,
        True: one,
        2.5: one,
        (0, "x"): one,
        "ü\ud800": one,
        "text": "no tensor",
        "empty": [],
        "size": torch.Size([1, 2]),
        "set": {1, 2},
        "count": Counter("aab"),
        "device": torch.device("cpu"),
        "bytes": b"123",
        "scalar": np.float32(1.5),
        "complex": 1j,
        "layout": torch.strided,
    }
    path = save(tmp_path / "a.pt", value)
    assert names(path) == (
        "hidden.0", "hidden.1.0", "hidden.1.2.k", "7", "state.layers.0.weight", "state.", "many.a.0", "None", "True", "2.5", "(0, 'x')",
        "ü\\ud800",
    )  # fmt: skip
    for name in names(path):
        assert read_tensor(path, member=name).tolist() == [1]


def test_two_tensors_of_one_name_are_told_apart(tmp_path: Path) -> None:
    value = {"a.b": torch.tensor(1), "a": {"b": torch.tensor(2)}, 0: torch.tensor(3), "0": torch.tensor(4), "c.d": torch.tensor(5)}
    path = save(tmp_path / "a.pt", value)
    assert {name: int(read_tensor(path, member=name)) for name in names(path)} == {"a\\.b": 1, "a.b": 2, "[0]": 3, "0": 4, "c.d": 5}


def test_a_name_that_cannot_be_told_apart_is_refused(tmp_path: Path) -> None:
    one = torch.ones(1)
    path = save(tmp_path / "a.pt", {"a.b": one, "a": {"b": one}, "a\\.b": one})
    with pytest.raises(TensorError, match=r"two tensors have the name 'a\\\\.b', expected one for each.*E_PICKLE"):
        scan(member_place(path, "a.b"), OPTIONS)


def test_a_name_may_have_a_thousand_characters(tmp_path: Path) -> None:
    assert names(save(tmp_path / "a.pt", {"x" * LONGEST_NAME: torch.ones(1)})) == ("x" * LONGEST_NAME,)
    path = save(tmp_path / "b.pt", {"x" * (LONGEST_NAME + 1): torch.ones(1)})
    with pytest.raises(TensorError, match="the name of a tensor has 1025 characters or more, expected at most 1024"):
        scan(path, OPTIONS)


def test_a_dtype_as_a_key_is_another_than_its_name(tmp_path: Path) -> None:
    value = {torch.float32: torch.tensor(1), "float32": torch.tensor(2)}
    path = save(tmp_path / "a.pt", value)
    assert {name: int(read_tensor(path, member=name)) for name in names(path)} == {"torch.float32": 1, "float32": 2}
    path = save(tmp_path / "b.pt", value | {"torch.float32": torch.tensor(3)})
    assert {name: int(read_tensor(path, member=name)) for name in names(path)} == {"[torch.float32]": 1, "float32": 2, "torch\\.float32": 3}


@BOTH_FORMATS
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("make", [lambda one: {one}, lambda one: frozenset({one}), lambda one: {(1, frozenset({one})), 2}])
def test_tensors_of_a_set_do_not_vanish(tmp_path: Path, make: Any, protocol: int, is_zip: bool) -> None:
    value = {"ok": torch.arange(3), "odd": make(torch.ones(2)), "plain": {1, 2}}
    torch.save(value, tmp_path / "a.pt", pickle_protocol=protocol, _use_new_zipfile_serialization=is_zip)
    path = str(tmp_path / "a.pt")
    assert names(path) == ("ok", "odd")
    with pytest.raises(
        TensorError, match=r"tensor 'odd': a set that holds tensors, which have no names in it.*; save a list of them \[E_TENSOR_KIND\]$"
    ):
        scan(member_place(path, "odd"), OPTIONS)


def test_a_storage_does_not_vanish(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pt", {"ok": torch.arange(3), "odd": torch.ones(2).untyped_storage()})
    assert names(path) == ("ok", "odd")
    with pytest.raises(
        TensorError, match=r"tensor 'odd': a storage, which has no shape.*; save the tensor that it is from \[E_TENSOR_KIND\]$"
    ):
        scan(member_place(path, "odd"), OPTIONS)
    path = save(tmp_path / "b.pt", torch.ones(2).untyped_storage())
    with pytest.raises(TensorError, match=r"b\.pt: a storage, which has no shape, expected a tensor of it"):
        scan(path, OPTIONS)


def test_a_name_never_holds_a_nul(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pt", {'stated\0["float32",[4],{"max":1.0},null,""]': torch.arange(3)})
    (name,) = names(path)
    assert name == 'stated\\x00["float32",[4],{"max":1.0},null,""]'
    assert read_tensor(path, member=name).tolist() == [0, 1, 2]


def test_the_names_of_a_file_are_bounded_together(tmp_path: Path) -> None:
    many = [torch.ones(1)] * 40_000
    with pytest.raises(TensorError, match=r"the names of all tensors together have more than 33554432 characters.*E_PICKLE"):
        scan(member_place(save(tmp_path / "a.pt", {"x" * 990: many}), "x"), OPTIONS)


@pytest.mark.parametrize("shape", [(3,), (2**40,)])
@pytest.mark.parametrize("dtype", ["int4", "uint1"])
def test_elements_below_a_byte_are_refused(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    value = pt_files.tensor(
        shape, (1,), first=1, of=pt_files.storage(kind="torch.storage.UntypedStorage", numel=8),
        function="torch._utils._rebuild_tensor_v3", more=(pt_files.named(f"torch.{dtype}"),),
    )  # fmt: skip
    path = pt_files.written(tmp_path / "a.pt", pt_files.archive(pt_files.pickled(value), {"0": bytes(8)}))
    with pytest.raises(TensorError, match=rf"elements of torch\.{dtype}, which no kernel compares.*E_DTYPE"):
        scan(path, OPTIONS)


def test_one_tensor_in_a_dict_needs_no_name(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pt", {"value": torch.arange(3), "meta": {"rank": 1}})
    assert names(path) == ("value",) and read_tensor(path).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("member", "wanted"), [("", "the name of one tensor, the file holds 2 ('a', 'b' ...)"), ("c", "a tensor 'c', the file holds 2")]
)
def test_a_tensor_that_is_not_there_is_told_with_those_that_are(tmp_path: Path, member: str, wanted: str) -> None:
    path = save(tmp_path / "a.pt", {"a": torch.ones(1), "b": torch.ones(1)})
    with pytest.raises(TensorError, match=re.escape(f"expected {wanted}")) as error:
        scan(member_place(path, member), OPTIONS)
    assert error.value.code == "E_MEMBER"

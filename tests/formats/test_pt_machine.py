"""The machine for pickles of torch's: it reads what pickle writes, makes descriptions only, and has an end."""

from __future__ import annotations

import os
import pickle
import re
import time
import tracemalloc
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pt_files
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tries import examples

from fastcmp.formats import pt_machine, pt_names
from fastcmp.formats.malformed import Malformed
from fastcmp.formats.pt_globals import ALLOWED
from fastcmp.formats.pt_machine import load
from fastcmp.formats.pt_names import named_tensors
from fastcmp.formats.pt_values import OPAQUE, Mapping, Storage, Tensor, Unordered

PLAIN = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=300)
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=3), inner) | st.tuples(inner),
    max_leaves=20,
)


def as_python(value: object) -> object:
    if type(value) is Mapping:
        return {as_python(key): as_python(item) for key, item in zip(value.keys, value.values, strict=True)}
    if type(value) is list:
        return [as_python(item) for item in value]
    return tuple(as_python(item) for item in value) if type(value) is tuple else value


@settings(max_examples=examples(200), deadline=None)
@given(VALUES, st.integers(2, 5))
def test_values_are_what_pickle_loads(value: Any, protocol: int) -> None:
    content = pickle.dumps(value, protocol)
    found, end = load(content)
    assert end == len(content) and as_python(found) == pickle.loads(content)
    assert load(b"before" + content + b"behind", 6)[1] == 6 + len(content)


def test_texts_of_python_2_and_what_is_no_value_are_read() -> None:
    assert load(b"\x80\x02U\x03abc.")[0] == "abc"
    assert load(b"\x80\x02T\x03\0\0\0\xe4bc.")[0] == "\xe4bc"
    for value in (b"x", bytearray(b"x"), 2j, slice(1, 2), range(3)):
        for protocol in range(2, 6):
            assert load(pickle.dumps(value, protocol))[0] is OPAQUE
    for value in ({3}, frozenset({3})):
        for protocol in range(2, 6):
            found = load(pickle.dumps(value, protocol))[0]
            assert type(found) is Unordered and found.values == [3]
    assert isinstance(load(pickle.dumps(OrderedDict(a=1), 2))[0], Mapping)


def test_a_list_of_pairs_makes_a_dict() -> None:
    pairs = pt_files.list_of(pt_files.tuple_of(pt_files.text("a"), pt_files.integer(1)))
    found, _ = load(pt_files.pickled(pt_files.call("collections.OrderedDict", pairs)))
    assert as_python(found) == {"a": 1}


# --- what is refused ---------------------------------------------------------------------------------------------------------------------


class Bomb:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.made = (function, arguments)

    def __reduce__(self) -> Any:
        return self.made


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("function", [os.mkdir, eval, getattr, __import__], ids=lambda function: function.__name__)
def test_a_bomb_is_named_and_does_not_go_off(tmp_path: Path, function: Any, protocol: int) -> None:
    marker = tmp_path / "marker"
    arguments = {os.mkdir: (str(marker),), eval: (f"__import__('os').mkdir({str(marker)!r})",), getattr: (1, "real"), __import__: ("os",)}
    content = pickle.dumps(Bomb(function, *arguments[function]), protocol)
    pickle.loads(content)  # the bomb is a real one
    if marker.exists():
        marker.rmdir()
    with pytest.raises(
        Malformed, match=rf"the pickle names '\w+\.{function.__name__}', which is not among .*; nothing was executed"
    ) as error:
        load(content)
    assert error.value.code == "E_PICKLE" and not marker.exists()


OURS = ("fastcmp.formats.pt_globals", "fastcmp.formats.pt_tensors", "fastcmp.formats.pt_values")


def test_no_name_in_the_list_is_an_object_of_theirs() -> None:
    """Each is a description of ours, or one of our functions that make descriptions."""
    for name, value in ALLOWED.items():
        assert type(value).__module__ in OURS, name
        made = getattr(value, "make", None)
        assert made is None or made.__module__ in OURS, name
        assert not name.startswith(("os.", "posix.", "sys.", "subprocess.", "importlib.")), name


named, call, text, integer, tuple_of, tensor = (
    pt_files.named,
    pt_files.call,
    pt_files.text,
    pt_files.integer,
    pt_files.tuple_of,
    pt_files.tensor,
)
WRONG_ARGUMENTS = "with arguments that torch does not write:"

REFUSED = [
    ("nothing", b"", "E_TRUNCATED", "byte 0: the pickle does not end here"),
    ("no stop", b"\x80\x02N", "E_TRUNCATED", "byte 3: the pickle does not end here"),
    ("no value", b"\x80\x02.", "E_PICKLE", "byte 2: the pickle ends with 0 values, expected one"),
    ("two values", b"\x80\x02NN.", "E_PICKLE", "byte 4: the pickle ends with 2 values, expected one"),
    ("open mark", b"\x80\x02(N.", "E_PICKLE", "the pickle ends with 1 values, expected one"),
    ("protocol 0", b"I1\n.", "E_PICKLE", "byte 0: expected an operation of pickle protocol 2 to 5, got b'I'"),
    ("protocol 1", b"\x80\x01N.", "E_PICKLE", "byte 0: expected pickle protocol 2 to 5, got 1"),
    ("protocol 9", b"\x80\x09N.", "E_PICKLE", "expected pickle protocol 2 to 5, got 9"),
    ("text is cut", b"\x80\x02X\xff\xff\xff\xff", "E_TRUNCATED", "byte 2: the pickle ends 4294967295 bytes early"),
    ("text of 2^63", b"\x80\x04\x8d" + b"\xff" * 8, "E_TRUNCATED", "byte 2: the pickle ends 18446744073709551615 bytes early"),
    ("text is no UTF-8", b"\x80\x02X\x02\0\0\0\xff\xfe.", "E_PICKLE", r"byte 2: expected text in UTF-8, got b'\xff\xfe'"),
    ("an integer of 256 bytes", b"\x80\x02\x8b\x00\x01\0\0" + bytes(256) + b".", "E_PICKLE", "an integer of 256 bytes, expected at most 255"),
    ("take from nothing", b"\x80\x020.", "E_PICKLE", "byte 2: the pickle takes a value where there is none"),
    ("take from below a mark", b"\x80\x02N(0.", "E_PICKLE", "byte 4: the pickle takes a value where there is none"),
    ("take two of one", b"\x80\x02N\x86.", "E_PICKLE", "byte 3: the pickle takes a value where there is none"),
    ("keep what is not there", b"\x80\x02(q\x00.", "E_PICKLE", "byte 3: the pickle takes a value where there is none"),
    ("a number is cut", b"\x80\x02M\x01", "E_TRUNCATED", "byte 2: the pickle ends 1 bytes early"),
    ("no mark", b"\x80\x02Nt.", "E_PICKLE", "byte 3: the pickle goes back to a mark where there is none"),
    ("not kept", b"\x80\x02h\x05.", "E_PICKLE", "byte 2: the pickle refers to value 5, which it has not kept"),
    ("append to a number", b"\x80\x02K\x01Na.", "E_PICKLE", "the pickle appends to a value of kind int"),
    ("append to a tuple", b"\x80\x02)(Ne.", "E_PICKLE", "the pickle appends to a value of kind tuple"),
    ("items of a list", b"\x80\x02]NNs.", "E_PICKLE", "the pickle sets 1 items of a value of kind list"),
    ("half an item", b"\x80\x02}(Nu.", "E_PICKLE", "the pickle sets 0.5 items of a value of kind dict"),
    ("attributes of a number", b"\x80\x02K\x01}b.", "E_PICKLE", "the pickle sets attributes of a value of kind int"),
    ("attributes of a tensor", pt_files.pickled(tensor() + b"}b"), "E_PICKLE", "the pickle sets attributes of a value of kind Tensor"),
    ("call of a number", b"\x80\x02K\x01)R.", "E_PICKLE", "the pickle calls 'int', which torch does not; nothing was executed"),
    ("call of a class", pt_files.pickled(call("builtins.str", integer(1))), "E_PICKLE", "the pickle calls 'str', which torch does not; nothing was executed"),
    ("call without a tuple", pt_files.pickled(named("collections.OrderedDict") + b"NR"), "E_PICKLE", "the pickle calls 'Made', which torch does not"),
    ("new object of a class", pt_files.pickled(named("torch.Tensor") + b")\x81"), "E_PICKLE", "the pickle calls 'torch.Tensor', which torch does not"),
    ("a name by half", b"\x80\x02cos", "E_TRUNCATED", "expected a name of at most 256 bytes, got b'os'"),
    ("a name of a megabyte", b"\x80\x02c" + b"x" * 2**20 + b"\nx\n.", "E_PICKLE", "expected a name of at most 256 bytes, got b'xxx"),
    ("a name of numbers", b"\x80\x04K\x01K\x02\x93.", "E_PICKLE", "expected the name of a class or function, got int and int"),
    ("a name with dots", b"\x80\x04\x8c\x05torch\x8c\x0d_utils.os.dup\x93.", "E_PICKLE", "the pickle names 'torch._utils.os.dup', which is not among"),
    ("a long name on the stack", b"\x80\x04" + text("m" * 5000) + text("n" * 5000) + b"\x93.", "E_PICKLE", "the pickle names 'mmm"),
    ("an extension", b"\x80\x02\x82\x01.", "E_PICKLE", r"expected an operation of pickle protocol 2 to 5, got b'\x82'"),
    ("an instance", b"\x80\x02(ios\nmkdir\n.", "E_PICKLE", "expected an operation of pickle protocol 2 to 5, got b'i'"),
    ("a buffer from outside", b"\x80\x05\x97.", "E_PICKLE", r"expected an operation of pickle protocol 2 to 5, got b'\x97'"),
    ("storage is text", pt_files.pickled(text("storage") + b"Q"), "E_PICKLE", "expected the description of a storage, got str"),
    ("storage of a module", pt_files.pickled(tuple_of(text("module"), text("x"), text("y"), text("z"), integer(1)) + b"Q"), "E_PICKLE", "expected the description of a storage, got tuple"),
    ("storage of a number", pt_files.pickled(tuple_of(text("storage"), integer(1), text("0"), text("cpu"), integer(1)) + b"Q"), "E_PICKLE", "expected the description of a storage, got tuple"),
    ("storage of less than none", pt_files.pickled(pt_files.storage(numel=-1)), "E_PICKLE", "expected the description of a storage, got tuple"),
    ("storage of 2^63", pt_files.pickled(pt_files.storage(numel=2**63)), "E_PICKLE", "expected the description of a storage, got tuple"),
    ("storage with a long key", pt_files.pickled(pt_files.storage(key="1" * 201)), "E_PICKLE", "expected the description of a storage, got tuple"),
    ("view outside its storage", pt_files.pickled(tuple_of(text("storage"), named("torch.FloatStorage"), text("0"), text("cpu"), integer(6), tuple_of(text("1"), integer(5), integer(2))) + b"Q"), "E_PICKLE", "expected the description of a storage"),
    ("tensor of nothing", pt_files.pickled(call("torch._utils._rebuild_tensor_v2")), "E_PICKLE", f"_rebuild_tensor_v2 {WRONG_ARGUMENTS} ''"),
    ("tensor of a number", pt_files.pickled(tensor(of=integer(1))), "E_PICKLE", f"_rebuild_tensor_v2 {WRONG_ARGUMENTS} 'int, int, tuple, tuple, bool, dict'"),
    ("tensor with a shape of text", pt_files.pickled(call("torch._utils._rebuild_tensor", pt_files.storage(), integer(0), text("ab"), text("cd"))), "E_PICKLE", "expected a tuple of integers as shape of a tensor, got str"),
    ("tensor with a shape of tuples", pt_files.pickled(call("torch._utils._rebuild_tensor", pt_files.storage(), integer(0), tuple_of(b")"), b")")), "E_PICKLE", "expected a tuple of integers as shape of a tensor, got one with tuple"),
    ("tensor without a dtype", pt_files.pickled(tensor(function="torch._utils._rebuild_tensor_v3", more=(pt_files.NONE,))), "E_PICKLE", f"_rebuild_tensor_v3 {WRONG_ARGUMENTS}"),
    ("metadata of text", pt_files.pickled(tensor(more=(text("conj"),))), "E_PICKLE", "expected a dict as metadata of a tensor, got str"),
    ("NPU format of text", pt_files.pickled(pt_files.npu_tensor(text("ND"))), "E_PICKLE", f"_rebuild_npu_tensor {WRONG_ARGUMENTS}"),
    ("NPU format enum of text", pt_files.pickled(call("torch_npu.npu._format.Format", text("ND"))), "E_PICKLE", f"torch_npu Format {WRONG_ARGUMENTS} 'str'"),
    ("parameter of a number", pt_files.pickled(call("torch._utils._rebuild_parameter", integer(1), pt_files.TRUE, b"}")), "E_PICKLE", f"_rebuild_parameter {WRONG_ARGUMENTS} 'int, bool, dict'"),
    ("wrapping of a wrapping", pt_files.pickled(call("torch._tensor._rebuild_from_type_v2", named("torch._tensor._rebuild_from_type_v2"), named("torch.Tensor"), b")", b"}")), "E_PICKLE", f"_rebuild_from_type {WRONG_ARGUMENTS}"),
    ("subclass of a number", pt_files.pickled(call("torch._tensor._rebuild_from_type_v2", named("torch.Size"), named("torch.Tensor"), b")", b"}")), "E_PICKLE", f"_rebuild_from_type {WRONG_ARGUMENTS}"),
    ("dict of numbers", pt_files.pickled(call("collections.OrderedDict", pt_files.list_of(integer(1)))), "E_PICKLE", f"dict {WRONG_ARGUMENTS} 'list'"),
    ("tensor of an xla device and another dtype", pt_files.pickled(call("torch._utils._rebuild_device_tensor_from_cpu_tensor", integer(1), named("torch.half"), text("xla"), pt_files.TRUE)), "E_PICKLE", WRONG_ARGUMENTS),
]  # fmt: skip


@pytest.mark.parametrize(("content", "code", "message"), [pytest.param(*row[1:], id=row[0]) for row in REFUSED])
def test_a_malformed_pickle_is_refused_with_its_byte(content: bytes, code: str, message: str) -> None:
    with pytest.raises(Malformed, match=re.escape(message)) as error:
        load(content)
    assert error.value.code == code and len(error.value.detail) < 500 and "\n" not in error.value.detail


def test_tensors_of_devices_without_storages_are_read_from_their_copy() -> None:
    function = "torch._utils._rebuild_device_tensor_from_cpu_tensor"
    found, _ = load(pt_files.pickled(call(function, tensor(), named("torch.float"), text("xla:0"), pt_files.TRUE)))
    assert isinstance(found, Tensor) and found.shape == (2, 3)
    sparse, _ = load(
        pt_files.pickled(call(function, call("torch._utils._rebuild_sparse_tensor"), named("torch.float"), text("xla:0"), pt_files.TRUE))
    )
    assert getattr(sparse, "code", "") == "E_TENSOR_KIND"
    other, _ = load(pt_files.pickled(call(function, tensor(), named("torch.half"), text("xla:0"), pt_files.TRUE)))
    assert getattr(other, "code", "") == "E_DTYPE"


def test_views_of_storages_of_old_torch_begin_where_they_say() -> None:
    view = tuple_of(text("1"), integer(2), integer(4))
    of = tuple_of(text("storage"), named("torch.FloatStorage"), text("0"), text("cpu"), integer(6), view) + b"Q"
    found, _ = load(pt_files.pickled(tensor((3,), (1,), first=1, of=of)))
    assert isinstance(found, Tensor) and found.first_byte == 12 and found.storage == Storage("0", "float32", 6, 2, 4)
    refused, _ = load(pt_files.pickled(tensor((4,), (1,), first=1, of=of)))
    assert getattr(refused, "code", "") == "E_OBJ_RANGE"


# --- bounds ------------------------------------------------------------------------------------------------------------------------------


def test_a_billion_laughs_are_not_counted_one_by_one() -> None:
    root, _ = load(b"\x80\x04" + tensor() + b"2" * 1 + b"\x86" + b"2\x86" * 40 + b".")
    began = time.monotonic()
    with pytest.raises(Malformed, match="more than 131072 tensors"):
        named_tensors(root)
    empty, _ = load(b"\x80\x04)2\x86" + b"2\x86" * 40 + b".")
    with pytest.raises(Malformed, match="more than 1048576 values, counting those that stand in several containers once for each"):
        named_tensors(empty)
    assert time.monotonic() - began < 60


def test_keys_that_take_for_ever_to_hash_are_not_hashed() -> None:
    key = b")2\x86" + b"2\x86" * 60
    root, _ = load(b"\x80\x04}" + key + tensor() + b"s.")
    with pytest.raises(Malformed, match="a tensor stands under a key of kind 'tuple', expected text or a number"):
        named_tensors(root)
    assert named_tensors(load(b"\x80\x04}" + key + b"Ns.")[0]) == {}


def test_containers_may_not_be_nested_without_end() -> None:
    root, _ = load(b"\x80\x02" + b"]" * 64 + tensor() + b"a" * 64 + b".")
    assert list(named_tensors(root)) == [".".join("0" * 64)]
    for content in (b"\x80\x02" + b"]" * 66 + b"a" * 65 + b".", b"\x80\x02]q\x00h\x00a."):
        with pytest.raises(Malformed, match="containers are nested deeper than 64"):
            named_tensors(load(content)[0])


def test_a_deep_pickle_is_made_and_forgotten_without_recursion() -> None:
    load(b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".")
    load(b"\x80\x02)" + b"\x85" * 100_000 + b".")


def test_operations_are_counted_and_so_is_what_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pt_machine, "MOST_OPERATIONS", 1000)
    with pytest.raises(Malformed, match="the pickle takes more than 1000 operations"):
        load(b"\x80\x02" + b"N0" * 600 + b"N.")
    copies = b"\x80\x02](" + b"N" * 300 + b"e\x85" + b"q\x00" + (named("collections.deque") + b"h\x00R0") * 4 + b"."
    with pytest.raises(Malformed, match="the pickle takes more than 1000 operations"):
        load(copies)


def test_a_pickle_takes_no_more_memory_than_its_bytes_allow() -> None:
    content = b"\x80\x02" + b"}" * 100_000
    tracemalloc.start()
    try:
        with pytest.raises(Malformed, match="does not end"):
            load(content)
        assert tracemalloc.get_traced_memory()[1] < 300 * len(content)
    finally:
        tracemalloc.stop()


def test_the_last_of_two_equal_keys_counts() -> None:
    content = pt_files.pickled(pt_files.dict_of((integer(1), tensor((2,), (1,))), (pt_files.TRUE, tensor((3,), (1,)))))
    assert [value.shape for value in named_tensors(load(content)[0]).values() if isinstance(value, Tensor)] == [(3,)]


def test_names_are_bounded_before_they_are_written_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pt_names, "MOST_TENSORS", 3)
    root, _ = load(pt_files.pickled(pt_files.list_of(*[tensor()] * 4)))
    with pytest.raises(Malformed, match="more than 3 tensors"):
        named_tensors(root)

"""Headers made by a grammar that knows where they may go wrong, against slow readings of the same rules.

``TRY_HEADERS`` is how many of each kind are made.
"""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

from fuzz_targets import BETWEEN_PARTS, metadata_document, npy_header
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from little_memory import little_memory
from tries import examples, tries

from fastcmp import _native
from fastcmp.dtypes import BY_ACL_CODE

MANY = settings(max_examples=examples(tries("HEADERS", 300)), deadline=None, database=None, suppress_health_check=list(HealthCheck))

BOUNDARIES = [sign * 2**power + near for power in (0, 7, 16, 31, 32, 53, 63, 64) for near in (-1, 0, 1) for sign in (1, -1)]
ODD_WORDS = [
    "",
    " ",
    "1_0",
    "+1",
    " 1",
    "1 ",
    "-",
    "-0",
    "007",
    "0x10",
    "1.0",
    "1e3",
    "١",
    "²",
    "\xa01",
    "nan",
    "True",
    "9" * 19,
    "9" * 20,
    "9" * 400,
]
INTEGERS = st.one_of(st.integers(0, 6).map(str), st.sampled_from(BOUNDARIES).map(str), st.sampled_from(ODD_WORDS))


def mostly(plain: st.SearchStrategy[str], odd: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Six times out of seven as it should be, so that a header of many parts gets past its first."""
    return st.integers(0, 6).flatmap(lambda number: odd if number == 6 else plain)


# --- .bin --------------------------------------------------------------------------------------------------------------------------------

DIMS = mostly(st.lists(st.integers(0, 4).map(str), max_size=3).map(",".join), st.lists(INTEGERS, max_size=70).map(",".join))
DTYPES = mostly(st.sampled_from([str(code) for code in BY_ACL_CODE]), INTEGERS)
ODD_LINES = st.sampled_from(
    ["dtype=0", "dims=2", "$Version=1.0", "$Version=2.0", "$Object.Length=4", "$Object.other=0,4", "$Object.data=0,4", "=x", "x", "", "x=", "max=1", "data=1.bin",
     "format=2", "format=x", "p=" + "p" * 4100, "\x00=1", "$End=0", "$End=1 ", "\r"]
)  # fmt: skip


@st.composite
def bin_files(draw: st.DrawFn) -> bytes:
    """A `.bin` file whose parts fit together, or nearly."""
    dims, dtype = draw(DIMS), draw(DTYPES)
    need = slow_bytes(dtype, dims)
    size = draw(st.sampled_from([need, need, need, need + 1, max(0, need - 1), need * 2]))
    length = draw(mostly(st.just(str(size)), INTEGERS))
    lines = [
        "$Version=1.0",
        f"$Object.Count={draw(mostly(st.sampled_from('01'), INTEGERS))}",
        f"$Object.Length={length}",
        "format=2",
        f"dtype={dtype}",
        f"dims={dims}",
    ]
    if draw(st.integers(0, 9)) == 0:
        lines = lines[4:]  # the dialect without objects
    elif size:
        lines.append(f"$Object.data={draw(mostly(st.just('0'), INTEGERS))},{draw(mostly(st.just(length), INTEGERS))}")
    for line in draw(st.lists(ODD_LINES, max_size=2)) if draw(st.booleans()) else []:
        lines.insert(draw(st.integers(0, len(lines))), line)
    if draw(st.integers(0, 9)) == 0:
        lines.pop(draw(st.integers(0, len(lines) - 1)))
    end = draw(st.sampled_from(["$End=1\n"] * 6 + ["$END=1\n", "$End=1", "", "$End=1\r\n"]))
    return ("".join(f"{line}\n" for line in lines) + end).encode() + bytes(size)


def slow_integer(text: str) -> int | None:
    found = re.fullmatch(r"-?[0-9]{1,19}", text, re.ASCII)
    return int(text) if found and -(2**63) <= int(text) < 2**63 else None


def slow_bytes(dtype: str, dims: str) -> int:
    """What a tensor takes, as far as it makes sense and a test can have it; else 24."""
    code, axes = slow_integer(dtype), [slow_integer(word) for word in dims.split(",")] if dims else []
    if code not in BY_ACL_CODE or None in axes:
        return 24
    count = 1
    for extent in axes:
        count *= extent or 0
    size = count * ((BY_ACL_CODE[code].bits + 7) // 8)
    return size if 0 <= size <= 4096 else 24


def slow_reading(content: bytes) -> str | tuple[int, tuple[int, ...], int, int]:
    """The first rule that a file breaks, or what it says: dtype code, dims, offset and bytes. One rule after the other, as documented."""
    if not re.match(rb"[A-Za-z_$][\w.$-]*(=|\Z)", content[:4096], re.ASCII):
        return "E_BAD_MAGIC"
    lines = content.split(b"\n")
    ends = [number for number, line in enumerate(lines[:-1]) if number and line in (b"$End=1", b"$END=1")]
    if not ends or any(len(line) > 4096 for line in lines[: ends[0]]):
        return "E_NO_END"
    header = b"\n".join(lines[: ends[0] + 1]) + b"\n"
    words = [line.decode("latin-1").partition("=") for line in lines[: ends[0]]]
    if any(not key or not equals for key, equals, _ in words):
        return "E_BAD_MAGIC"
    keys = [key for key, _, _ in words]
    fields = {key: value for key, _, value in words}
    if len(set(keys)) < len(keys):
        return "E_DUP_KEY"
    if fields.get("$Version", "1.0") != "1.0":
        return "E_VERSION"
    code = slow_integer(fields.get("dtype", ""))
    if code is None or code not in BY_ACL_CODE:
        return "E_DTYPE"
    return slow_payload(fields, code, len(header), len(content) - len(header))


def slow_payload(fields: dict[str, str], code: int, header: int, left: int) -> str | tuple[int, tuple[int, ...], int, int]:
    item = (BY_ACL_CODE[code].bits + 7) // 8
    axes = [slow_integer(word) for word in fields["dims"].split(",")] if fields.get("dims") else []
    count = 1
    for extent in axes:
        count *= extent if extent is not None else 1
    if "dims" not in fields or any(extent is None or extent < 0 for extent in axes) or len(axes) > 64 or count * item >= 2**63:
        return "E_BAD_DIMS"
    dims = tuple(extent for extent in axes if extent is not None)
    object_keys = [key for key in fields if key.startswith("$Object.")]
    objects = [key for key in object_keys if key not in ("$Object.Count", "$Object.Length")]
    offset, size, has_object = 0, left, True
    if object_keys:
        length = slow_integer(fields.get("$Object.Length", ""))
        places = [tuple(map(slow_integer, fields[key].split(",", 1))) for key in objects]
        if (
            length is None
            or length < 0
            or any(len(place) != 2 or None in place or min(place) < 0 or sum(place) > length for place in places)
        ):
            return "E_OBJ_RANGE"
        spans = sorted(place for place in places if place[1])
        touching = all(first[0] + first[1] <= second[0] for first, second in itertools.pairwise(spans))
        number = slow_integer(fields.get("$Object.Count", "0"))
        if not touching or sum(place[1] for place in places) != length or number is None or number < 0:
            return "E_OBJ_RANGE"
        if len(objects) > 1 and "$Object.data" not in objects:
            return "E_OBJ_RANGE"
        has_object = bool(objects)
        if objects:
            offset, size = places[objects.index("$Object.data") if "$Object.data" in objects else 0]
        else:
            size = 0
        if length > left:
            return "E_TRUNCATED"
    if not has_object and count:
        return "E_ALIAS" if "data" in fields else "E_STATS_ONLY" if {"max", "min", "mean", "l2norm"} & set(fields) else "E_NO_DATA"
    if size != count * item:
        is_packed = BY_ACL_CODE[code].bits % 8 and size == (count * BY_ACL_CODE[code].bits + 7) // 8
        if BY_ACL_CODE[code].bits % 8 and not is_packed:
            return "E_SIZE"
        if not is_packed:
            return "E_SIZE_SHORT" if size < count * item else "E_SIZE_LONG"
    if "format" in fields and slow_integer(fields["format"]) is None:
        return "E_FORMAT"
    return code, dims, header + offset, size


def test_bin_headers_are_read_as_the_rules_say(tmp_path: Path) -> None:
    path = tmp_path / "tensor.bin"
    codes: dict[str, int] = {}

    @MANY
    @given(bin_files())
    def check(content: bytes) -> None:
        path.write_bytes(content)
        expected = slow_reading(content)
        with little_memory():  # a header that lies takes none
            found = _native.scan_bin([str(path)], "error", [], None, 0, 0)[0]
        got = found[0] if isinstance(found[0], str) else (found[0], tuple(found[2]), found[3], found[4])
        assert got == expected, content[:600]
        codes[expected if isinstance(expected, str) else "read"] = codes.get(expected if isinstance(expected, str) else "read", 0) + 1

    check()
    assert codes["read"] > sum(codes.values()) // 20 and len(codes) > 6, codes


# --- .npy --------------------------------------------------------------------------------------------------------------------------------

BLANKS = mostly(st.sampled_from(["", " "]), st.sampled_from(["\n", "\t", "\r", "\f", "\xa0", "\x1d", "  \n ", "#", "\\\n"]))
DESCRS = mostly(
    st.sampled_from(["'<f4'", "'>f8'", "'|u1'", "'|b1'", "'<c16'", "'<V2'", '"<i2"']),
    st.sampled_from(
        [
            "'|O'",
            "'O'",
            "'<f3'",
            "'<U8'",
            "'|V1'",
            "[('a','<f4')]",
            "'=f4'",
            "b'<f4'",
            "'<f4' ''",
            "None",
            "'<\\x664'",
            "('<f4',(2,))",
            "<f4",
        ]
    ),
)
EXTENTS = mostly(st.integers(0, 4).map(str), INTEGERS)


@st.composite
def npy_files(draw: st.DrawFn) -> bytes:
    """A `.npy` file, from the three fields in any order to nearly anything."""
    extents = draw(st.lists(EXTENTS, max_size=draw(st.sampled_from([0, 1, 2, 3, 66]))))
    shape = "(" + ",".join(extents) + ("," if len(extents) == 1 else draw(st.sampled_from(["", ""] + [","] * bool(extents)))) + ")"
    fields = draw(
        st.permutations(
            [("descr", draw(DESCRS)), ("fortran_order", draw(mostly(st.sampled_from(["True", "False"]), st.sampled_from(["0", "'True'", "None"])))),
             ("shape", draw(mostly(st.just(shape), st.sampled_from(["[2]", "3", "(3)", "((2,),)", "(2L,)", "(*(),)", "(2,,)"]))))]
        )
    )  # fmt: skip
    fields = fields[: draw(st.sampled_from([3, 3, 3, 3, 2]))] + (fields[:1] if draw(st.integers(0, 9)) == 0 else [])
    gap = lambda: draw(BLANKS)  # noqa: E731
    text = (
        "{"
        + ",".join(f"{gap()}'{name}'{gap()}:{gap()}{value}{gap()}" for name, value in fields)
        + draw(st.sampled_from([",", ", ", "", ",,"]))
        + "}"
    )
    text = (
        draw(mostly(st.just(""), BLANKS))
        + text
        + draw(mostly(st.just("\n"), st.sampled_from(["", "\n\n", "  \n", "\n  ", "}", "\x00", " " * 9990])))
    )
    version = draw(st.sampled_from([1, 1, 2, 3, 0, 4]))
    header = text.encode("latin-1", "replace")
    length = draw(st.sampled_from([len(header)] * 6 + [len(header) - 1, len(header) + 1, 65535]))
    prefix = b"\x93NUMPY" + bytes((version, draw(st.sampled_from([0] * 9 + [1]))))
    return prefix + length.to_bytes(2 if version < 2 else 4, "little") + header + bytes(draw(st.sampled_from([2048, 2048, 0, 7])))


@MANY
@given(npy_files())
def test_npy_headers_mean_what_they_mean_to_numpy(content: bytes) -> None:
    npy_header(content)


# --- metadata.json -----------------------------------------------------------------------------------------------------------------------

TEXTS = st.one_of(st.sampled_from(["0", "7", "", "..", "/x", "*", "0123456789abcdef" * 2, "=1", "\ud800"]), st.text(max_size=6))
PATHS = st.one_of(st.sampled_from(["a.npy", "../a", "/h/tensors/thread_7/0/*_M/x.bin", "\0", "x" * 5000]), TEXTS)
VALUES = st.one_of(PATHS, PATHS, st.lists(PATHS | st.none(), max_size=3), st.none(), st.floats(), st.integers(), st.booleans(), st.just({}))
DOCUMENTS = st.dictionaries(TEXTS, st.dictionaries(TEXTS, VALUES, max_size=3) | st.lists(TEXTS, max_size=2) | TEXTS, max_size=3)


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    """metadata.json, whole, cut, or with a byte that does not belong there; perhaps with dtypes beside an empty journal."""
    content = json.dumps(draw(DOCUMENTS), indent=draw(st.sampled_from([None, 1]))).encode()
    if draw(st.integers(0, 4)) == 0:
        at = draw(st.integers(0, len(content)))
        content = (
            content[:at]
            + draw(st.sampled_from([b"", b"\xff", b"\0", b'"', b"{" * 70, b"[" * 100_000, b",", b"\\ud800"]))
            + content[at + draw(st.integers(0, 3)) :]
        )
    return BETWEEN_PARTS.join([content, b"", json.dumps(draw(DOCUMENTS)).encode()][: draw(st.sampled_from([1, 1, 3]))])


@MANY
@given(documents())
def test_metadata_is_rows_or_one_line(content: bytes) -> None:
    metadata_document(content)


def test_the_slow_reading_knows_a_tensor_from_none() -> None:
    good = b"$Version=1.0\n$Object.Count=1\n$Object.Length=4\ndtype=0\ndims=\n$Object.data=0,4\n$End=1\n"
    assert slow_reading(good + bytes(4)) == (0, (), len(good), 4)
    assert slow_reading(good + bytes(3)) == "E_TRUNCATED"

"""The seeds that are made, by target: ``python tests/fuzz/fuzz_seeds.py`` writes them. Findings lie beside them, under names of their own."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path
from typing import Any, Final

import ml_dtypes
import numpy as np
from fuzz_archive_seeds import npz_seeds, pickle_seeds, pt_seeds

from fastcmp.dump_layout import JournalEntry, JournalHeader, entry_line, header_line

ROOT: Final = Path(__file__).resolve().parents[2]
PYTHON_SEEDS: Final = ROOT / "tests" / "fuzz" / "seeds"
CPP_SEEDS: Final = ROOT / "cpp" / "fuzz" / "seeds"

Seeds = dict[str, bytes]

# --- Python ------------------------------------------------------------------------------------------------------------------------------


class Bomb:
    """Unpickled, it makes a directory of the name that `fuzz_targets` looks for."""

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.mkdir, ("fastcmp_pickle_bomb_went_off",)


def saved(array: np.ndarray[Any, Any], version: tuple[int, int] = (1, 0)) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=version, allow_pickle=True)
    return file.getvalue()


def framed(text: str, data: bytes = bytes(24), version: int = 1) -> bytes:
    header = text.encode("latin-1")
    return b"\x93NUMPY" + bytes((version, 0)) + len(header).to_bytes(2 if version == 1 else 4, "little") + header + data


def described(descr: str = "'<f4'", order: str = "False", shape: str = "(2, 3)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


def npy_seeds() -> Seeds:
    numbers = np.arange(6, dtype="<f4").reshape(2, 3)
    kinds = ("|b1", "|i1", "<i2", ">i4", "<u8", "<f2", ">f8", "<c8", "<c16")
    pickled = b"\x93NUMPY\x01\x00\x76\x00" + described("'|O'", shape="()").ljust(117).encode() + b"\n" + pickle.dumps(Bomb(), 2)
    return {
        "plain": saved(numbers),
        "fortran": saved(np.asfortranarray(numbers)),
        "version_2": saved(numbers, (2, 0)),
        "version_3": saved(numbers, (3, 0)),
        "bfloat16": saved(numbers.astype(ml_dtypes.bfloat16)),
        **{f"kind_{kind[1:]}": saved(np.zeros(2, kind)) for kind in kinds},
        "scalar": saved(np.float64(1).reshape(())),
        "empty": saved(np.zeros((0, 3), "<f4")),
        "short_header": framed("{'shape':(2,3),'fortran_order':True,\"descr\":'>f4'}", version=2),
        "pickle_bomb": pickled,
        "structured": framed(described("[('a', '<f4'), ('b', '<i2', (2,))]")),
        "call": framed(described(shape="__import__('os').system('true')")),
        "deep": framed(described(shape="(" * 300 + ")" * 300)),
        "huge_axes": framed(described(shape="(4294967296, 4294967296)")),
        "axes_of_none": framed(described(shape="(9223372036854775807, 0, 3)"), b""),
        "long_integer": framed(described(shape="(99999999999999999999,)")),
        "octal": framed(described(shape="(007,)")),
        "python_2": framed(described(shape="(2L, 3L)")),
        "twice": framed("{'descr': '<f4', 'descr': '<f8', 'fortran_order': False, 'shape': ()}"),
        "many_axes": framed(described(shape=f"({'1,' * 65})")),
        "length_beyond_file": b"\x93NUMPY\x02\x00\xff\xff\xff\x7f{",
        "version_9": framed(described(), version=9),
        "zip": b"PK\x03\x04" + bytes(26) + b"a.npy",
        "cut": saved(numbers)[:-1],
        "trailing": saved(numbers) + b"tail",
    }  # fmt: skip


def parted(*parts: bytes) -> bytes:
    return b"\n\xff\n".join(parts)


def metadata_seeds() -> Seeds:
    md5 = "0123456789abcdef0123456789abcdef"
    low_level = "/h/tensors/thread_7/0/0_M/after/outtensor0.bin"
    documents: dict[str, Any] = {
        "seed_era": {"7": {"0": "./71_cmp_dump_data/golden_tensor/0/7_tensor.npy", "1": "a.npy"}, "8": {"0": "/abs/b.bin"}},
        "weights": {"0": {md5: ["a.npy", "b.npy"]}},
        "two_sides": {"7": {"0": ["g.pth", "m.pth"], "1": ["g.pth", None]}},
        "low_level": {"x": {"0": low_level}, "y": {"*": low_level.replace("0_M", "*_M")}},
        "up": {"0": {"0": "../../../etc/passwd", "1": "/proc/self/mem", "2": "/dev/zero", "3": "a\0b", "4": ""}},
        "empty_object": {},
        "no_object": [],
        "number": {"0": {"1": 5}},
        "surrogates": {"\ud800": {"\udcff": "\udc80.npy"}},
        "formula": {"=1+1": {"@x": "-1.npy"}},
    }
    header = header_line(JournalHeader(7, "1", "/", "golden"))
    lines = entry_line(JournalEntry("7", "0", "new.npy", "bfloat16", "uint16")) + entry_line(JournalEntry("9", "0", "c.npy", "float32"))
    plain = json.dumps(documents["seed_era"]).encode()
    return {
        **{name: json.dumps(document).encode() for name, document in documents.items()},
        "twice": b'{"0":{"1":"a"},"1":{"1":"c"},"0":{"2":"b","1":"d"}}',
        "byte_order_mark": b'\xef\xbb\xbf{"0":{"1":"a"}}',
        "not_a_number": b'{"0": {"1": NaN, "2": -Infinity, "3": 1e999}}',
        "half": plain[: len(plain) // 2],
        "deep": b'{"0":' * 70 + b"1" + b"}" * 70,
        "deep_in_text": b'{"}}}}\\"]]{{{{[[[[": {"0": "a"}}',
        "escapes": b'{"\\u0000\\ud83d\\ude00\\/": {"\\n": "\\u002e\\u002e/x"}}',
        "digits": b'{"0": {"1": ' + b"9" * 400 + b"}}",
        "not_utf8": b'{"\xff\xfe": {"0": "\x80.npy"}}',
        "with_journal": parted(plain, header + lines),
        "with_torn_journal": parted(plain, header + lines[:-9]),
        "with_all": parted(plain, header + lines, b'{"7": {"0": "bfloat16"}, "8": {"0": "nonsense"}}'),
        "odd_dtypes": parted(plain, header, b'{"7": [1]}'),
        "empty_with_journal": parted(b"{}", header + b"{}\n[]\n\x00\n" + lines),
    }


def journal_seeds() -> Seeds:
    header = header_line(JournalHeader(7, "", "/work", "acl"))
    lines = b"".join(entry_line(JournalEntry(str(number % 2), str(number), f"./{number}.npy", "float32")) for number in range(3))
    return {
        "plain": header + lines,
        "stored": header + entry_line(JournalEntry("a", "0", "a.npy", "bfloat16", "uint16")) + entry_line(JournalEntry("a", "0", "b.npy")),
        "torn": (header + lines)[:-5],
        "no_header": lines,
        "other_version": header.replace(b'journal": 1', b'journal": 2') + lines,
        "foreign_lines": header + b'\n{}\n[]\n"x"\n{"data_id": 1}\n' + lines,
        "deep": header + b"[" * 1500 + b"\n" + lines,
        "digits": header + b'{"data_id":' + b"9" * 4400 + b"}\n",
        "utf16": header + '{"data_id":"a","token_id":"0","path":"x"}'.encode("utf-16") + b"\n",
        "empty_path": header + b'{"data_id":"a","token_id":"0","path":""}\n',
        "surrogates": header + entry_line(JournalEntry("\ud800", "\udcff", "\udc80")),
    }


def word_seeds() -> dict[str, Seeds]:
    thresholds = ("cosine_similarity >= 0.999", "max_relative_error<1e-3", " mismatch_count == 0 ", "signal_to_noise_db > +40.", "cosine >= 1",
                  "cosine_similarity => 1", "__import__('os') > 1", "kl_divergence <= .5E-7", "rounding_floor < -1e400", "mean_absolute_error <= ١")  # fmt: skip
    pairs = (("7", "07"), ("layers.0/attn", "layers.0%2Fattn"), ("", "%empty"), ("..", "."), ("x" * 201, "x" * 200 + "y"), ("=1+1", "'=1+1"),
             ("-1", "+1"), ("@SUM(A1)", "\t=1"), ('a,"b"', "a\nb"), ("\0", "%00"), ("\ud800", "\udcff"), ("\u202egnp", "😀" * 60), ("con", "\r\n"))  # fmt: skip
    maps = (("layers.{n:int}.{op:**}/output -> {n+2}_Layer/{op} @ -1 # x\n\n# y\n*?a -> {1}", "layers.12.mlp.x/output"), ("**a**a**a**b -> x", "a" * 900),
            (r"\*\{\}\\ -> \?", "*{}\\"), ("{n:int} -> {n-9}", "8" * 30), ("*** -> x", ""), ("{a}.{a} -> b", "a"), ("a -> {b}", "a"), ("a -> *", "a"),
            ("a->b", "a"), ("{__class__} -> {__class__+1}", "a"), ("\ufeffa -> b", "a"), ("{x:**}{y}{z} -> {z}{y}{x}", "a./b"))  # fmt: skip
    return {
        "map": {f"{number:02}": parted(*(text.encode() for text in pair)) for number, pair in enumerate(maps)},
        "threshold": {f"{number:02}": text.encode() for number, text in enumerate(thresholds)},
        "names": {f"{number:02}": parted(*(text.encode("utf-8", "surrogatepass") for text in pair)) for number, pair in enumerate(pairs)},
    }


# --- C++ ---------------------------------------------------------------------------------------------------------------------------------


def cut(*parts: bytes) -> bytes:
    return b"\xff".join(parts)


def bin_record(dims: str = "2,3", data: bytes = bytes(range(24)), dtype: int = 0, more: str = "") -> bytes:
    size = len(data)
    head = (
        f"$Version=1.0\n$Object.Count=1\n$Object.Length={size}\nformat=2\ndtype={dtype}\ndims={dims}\n{more}$Object.data=0,{size}\n$End=1\n"
    )
    return head.encode() + data


def header_seeds() -> Seeds:
    """Beside those that were taken from the writers' own files: one broken rule each."""

    def lines(*more: str, dtype: str = "0", dims: str = "2,3", length: str = "24", count: str = "1") -> bytes:
        head = [f"$Object.Count={count}", f"$Object.Length={length}", f"dtype={dtype}", f"dims={dims}", *more, "$End=1"]
        return "".join(f"{line}\n" for line in head).encode() + bytes(24)

    whole = "$Object.data=0,24"
    return {
        "key_twice": lines("dtype=0", whole),
        "version_2": b"$Version=2.0\n" + lines(whole),
        "dtype_is_text": lines(whole, dtype="bf16"),
        "dtype_unknown": lines(whole, dtype="28"),
        "dims_negative": lines(whole, dims="2,-3"),
        "dims_no_integer": lines(whole, dims="2,,3"),
        "dims_beyond_64_bits": lines(whole, dims="9223372036854775808"),
        "many_axes": lines(whole, dims=",".join("1" * 65)),
        "no_dims": b"dtype=0\nformat=2\n$End=1\n",
        "no_length": b"$Object.Count=1\ndtype=0\ndims=\n$Object.data=0,4\n$End=1\n0000",
        "object_without_comma": lines("$Object.data=24"),
        "object_negative": lines("$Object.data=-1,24"),
        "objects_overlap": lines("$Object.a=0,12", "$Object.b=11,13"),
        "objects_with_a_gap": lines("$Object.a=0,8", "$Object.data=12,12"),
        "objects_without_data": lines("$Object.a=0,12", "$Object.b=12,12", count="2"),
        "length_beyond_file": lines("$Object.data=0,99", length="99"),
        "one_write": lines("$Object.data=0,2147483648", length="2147483648"),
        "count_differs": lines(whole, count="7"),
        "too_short": lines("$Object.data=0,20", length="20"),
        "too_long": lines(whole, dims="2,2"),
        "sub_byte_of_no_packing": lines(whole, dtype="29", dims="7"),
        "format_is_text": lines(whole, "format=ND"),
        "all_statistics": lines("max=1", "min=-1", "mean=nan", "l2norm=\x7f", length="0"),
        "line_without_key": lines("=x", whole),
        "other_kind": b"\x7fELF\x02\x01",
        "endless_line": b"a=" + b"x" * 5000,
        "many_lines": b"".join(b"k%d=1\n" % number for number in range(300)),
        "cut_in_the_end": lines(whole)[:70],
    }


def scan_seeds() -> Seeds:
    plain, second = bin_record(), bin_record("3,2", bytes(24))
    return {
        "plain": plain,
        "two_records": plain + second,
        "second_is_cut": plain + second[:-3],
        "second_is_none": plain + b"$Version=",
        "trailing": plain + b"tail",
        "header_beyond_first_read": bin_record(more=f"pad={'p' * 4000}\nmore={'m' * 400}\n"),
        "dialect": b"dtype=0\ndims=2,3\n$End=1\n" + bytes(24),
        "no_elements": bin_record("0,3", b""),
        "packed": bin_record("4", b"ab", 29),
        "end_of_lines": b"a=1\n" * 300,
        "one_byte": b"$",
    }


def paths_seeds() -> Seeds:
    numbers = b"\x07\x01\x02\x03"
    paths = {
        "probe": b"0_71/3/0_Model/after/outtensor0.bin",
        "thread": b"/home/tensors/thread_140012/3/0_Model/inTensor1.bin",
        "up": b"0_71/../../x.bin",
        "up_behind_tensors": b"tensors/7/../../../etc/passwd",
        "empty_names": b"a//./b/",
        "dots": b"7/..x/a..b/.hidden",
        "control": b"7/a\nb\0c",
        "longest_name": b"7/" + b"x" * 207,
        "too_long_a_name": b"7/" + b"x" * 208,
        "longest_path": (b"7/" * 2048)[:4095] + b"x",
        "no_suffix": b"7/3/x.d/outTensor",
    }
    return {name: cut(path, b"71_4", b"/home/tensors", numbers) for name, path in paths.items()} | {
        "task": cut(b"h/tensors/71/71_4/3/x", b"71_4")
    }


def lists_seeds() -> Seeds:
    lines = b"0/0_M/*_L/6_N/after/outtensor0.bin\n7/x/inTensor1.bin\n*/y/before/x.bin\n"
    questions = (
        b"0/0_M/12_L/6_N/after/outTensor0.bin",
        b"7/x/intensor1.bin",
        b"9/y/before/x.bin",
        b"0/0_M/12_L",
        b"7",
        b"*/y/before/x.bin",
    )
    return {
        "plain": cut(lines, b"\x50\0\x07\0", *questions),
        "torn": cut(lines[:-4], b"\x10\0\0\0", *questions),
        "cut_in_a_line": cut(lines, b"\x05\0\0\0", *questions),
        "refused_lines": cut(b"../x\n/abs\na//b\na\0b\n" + b"x" * 5000 + b"\n7/good\n", b"\0\x10\x07\0", b"7/good", b"../x", b"/abs"),
        "stars": cut(b"1*/x\n**/x\n*\n*1\n7_*\n", b"\0\0\0\0", b"12/x", b"7", b"*", b"7_3", b"07_3", b"\x01"),
        "large_tokens": cut(b"18446744073709551615/x\n007/y\n18446744073709551616/z\n", b"\0\0\xfe\xff", b"7/y"),
        "twice": cut(b"7/outTensor0\n7/outtensor0\n", b"\x0e\0\x07\0", b"7/outTensor0", b"7/outtensor0", b"7/outTENSOR0"),
    }


def settings_seeds() -> Seeds:
    def variables(**values: str) -> bytes:
        return cut(*(f"{name}={value}".encode() for name, value in values.items()))

    return {
        "atb": variables(ATB_SAVE_TENSOR="1", ATB_SAVE_TENSOR_RANGE="0,2,9,9", ATB_SAVE_TENSOR_PART="2", ATB_SAVE_TENSOR_TIME="2", ATB_OUTPUT_DIR="out/"),
        "atb_operations": variables(ATB_SAVE_TENSOR="2", ATB_SAVE_TENSOR_RANGE="all", ATB_SAVE_TENSOR_IDS="0_1,5", ATB_SAVE_TENSOR_RUNNER="Norm", ATB_SAVE_CHILD="1"),
        "atb_mistakes": variables(ATB_SAVE_TENSOR="x", ATB_SAVE_TENSOR_RANGE="5,2,a", ATB_SAVE_TENSOR_PART="9", ATB_DUMP_TYPE="a|b", ATB_TIMESTAMP="../x"),
        "acltransformer": variables(ACLTRANSFORMER_SAVE_TENSOR="1", ACLTRANSFORMER_SAVE_TENSOR_MAX="3", ACLTRANSFORMER_SAVE_TENSOR_RUNNER="NormOps"),
        "largest_rounds": variables(ACLTRANSFORMER_SAVE_TENSOR="1", ACLTRANSFORMER_SAVE_TENSOR_MAX="99999999999999999999"),
        "ours": variables(FASTCMP_DUMP="off", FASTCMP_SELECT="registered", FASTCMP_RESAVE="error", FASTCMP_DUMP_LIMIT="20G", FASTCMP_MIN_FREE="512 MiB"),
        "stall": variables(FASTCMP_MAX_STALL_S="1e308", FASTCMP_ALLOWLIST="/a", FASTCMP_LEGACY_ALLOWLIST="1", AIT_CMP_TASK_PID="7", AIT_CMP_TASK_ID="7_0"),
        "no_number": variables(FASTCMP_MAX_STALL_S="nan", FASTCMP_LEGACY_ALLOWLIST="1", AIT_CMP_TASK_PID="../..", FASTCMP_DUMP_LIMIT="99999999999T"),
        "bytes": b"ATB_SAVE_TENSOR=\xc3\n\x01\"\\",
        "one_byte": b"=",
    }  # fmt: skip


def save_seeds() -> Seeds:
    path, data = b"0_71/3/0_M/after/outtensor0.bin", bytes(24)
    own = b"".join(number.to_bytes(8, "little") for number in (2, 3, 2))
    return {
        "plain": cut(b"\0", path, b"2", b"0", b"2,3", data),
        "scalar": cut(b"\0", path, b"2", b"0", b"", data[:4]),
        "no_data": cut(b"\1", path, b"2", b"0", b"2,3", data),
        "no_elements": cut(b"\0", path, b"2", b"0", b"0,3", b""),
        "own_type": cut(b"\2", path, b"", b"", own, data),
        "on_device": cut(b"\x42", path, b"", b"", own, data),
        "too_many_dims": cut(b"\2", path, b"", b"", (60).to_bytes(8, "little"), data),
        "legacy": cut(b"\4", b"thread_7/3/x.bin", b"2", b"0", b"6", data),
        "logs": cut(b"\x80", b"71_72/3/x.bin", b"2", b"0", b"6", data),
        "huge": cut(b"\x08", path, b"2", b"0", b"2,3", data),
        "tiling": cut(b"\x10", b"0_71/3/tiling.bin", b"", b"", b"", data),
        "tiling_up": cut(b"\x10", b"../../x.bin", b"", b"", b"", data),
        "old_abi": cut(b"\x20", path, b"29", b"1", b"24", data),
        "up": cut(b"\0", b"0_71/../../../../x.bin", b"2", b"0", b"2,3", data),
        "absolute": cut(b"\0", b"/tmp/x.bin", b"2", b"0", b"2,3", data),
        "through_a_link": cut(b"\0", b"link/x.bin", b"2", b"0", b"2,3", data),
        "dangling": cut(b"\0", b"dangling/x.bin", b"2", b"0", b"2,3", data),
        "in_place_of_a_link": cut(b"\0", b"link.bin", b"2", b"0", b"2,3", data),
        "attribute_with_a_line": cut(b"\0", path, b"2", b"0", b"2,3\n$Object.data=0,0", data),
        "attribute_too_long": cut(b"\0", path, b"2" * 17, b"0", b"2,3", data),
        "negative": cut(b"\0", path, b"2", b"0", b"-2,-3", data),
        "name_too_long": cut(b"\0", b"7/" + b"x" * 300, b"2", b"0", b"2,3", data),
    }


def safetensors_seeds() -> dict[str, bytes]:
    """`.safetensors` files, whole and not."""

    def file(header: bytes, payload: bytes = bytes(16)) -> bytes:
        return len(header).to_bytes(8, "little") + header + payload

    one, two = (b'"%s":{"dtype":"F32","shape":[2],"data_offsets":[%d,%d]}' % entry for entry in ((b"a", 0, 8), (b"b", 8, 16)))
    return {
        "plain": file(b"{" + one + b"," + two + b"}"),
        "padded": file(b"{" + one + b"," + two + b"}   "),
        "metadata": file(b'{"__metadata__":{"format":"pt","a {":"\\"}"},' + one + b"," + two + b"}"),
        "any_order": file(b'{"a":{"data_offsets":[0,16],"shape":[],"dtype":"C128"}}'),
        "names": file(b'{"\\u00fc\xc3\xbc":{"dtype":"I64","shape":[2],"data_offsets":[0,16]}}'),
        "scalar": file(b'{"a":{"dtype":"BF16","shape":[],"data_offsets":[0,2]}}', bytes(2)),
        "empty": file(b'{"a":{"dtype":"U8","shape":[0,3],"data_offsets":[0,0]}}', b""),
        "four_bits": file(b'{"a":{"dtype":"F4","shape":[4],"data_offsets":[0,2]}}', bytes(2)),
        "overlapping": file(b"{" + one + b',"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}'),
        "holes": file(b"{" + two + b"}"),
        "huge_axes": file(b'{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}}'),
        "twice": file(b"{" + one + b"," + one + b"}"),
        "deep": file(b'{"a":' + b"[" * 300 + b"}"),
        "long": (2**62).to_bytes(8, "little") + b"{}",
        "cut": file(b"{" + one + b"," + two + b"}")[:70],
        "nothing": file(b"{}", b""),
    }


def dims_seeds() -> dict[str, bytes]:
    """Notations of how ranks divide a tensor."""
    words = (
        "b s h[tp] d", "s[cp,sp] h[tp:partial]", "s[cp:zigzag]=3:9 (a*b)[tp] 1 1", "d # tp:replicated dp:first", "# tp:partial", "h[", "b b", "v[tp]=0",
    )  # fmt: skip
    odd = {"control": b"s[p," + bytes([3]) * 100 + bytes(100) + b"]"}
    return {f"{number:02}": word.encode() for number, word in enumerate(words)} | odd


def all_seeds() -> dict[Path, bytes]:
    """Where each seed lies, and its bytes."""
    python = {
        "npy": npy_seeds(),
        "npz": npz_seeds(npy_seeds()["pickle_bomb"]),
        "pickle": pickle_seeds(),
        "pt": pt_seeds(),
        "safetensors": safetensors_seeds(),
        "dims": dims_seeds(),
        "metadata": metadata_seeds(),
        "journal": journal_seeds(),
        **word_seeds(),
    }
    cpp = {
        "header": header_seeds(),
        "scan": scan_seeds(),
        "paths": paths_seeds(),
        "lists": lists_seeds(),
        "settings": settings_seeds(),
        "save": save_seeds(),
    }
    return {
        base / target / name: content
        for base, targets in ((PYTHON_SEEDS, python), (CPP_SEEDS, cpp))
        for target, seeds in targets.items()
        for name, content in seeds.items()
    }


if __name__ == "__main__":
    for path, content in all_seeds().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

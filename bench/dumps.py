"""Dumps to compare: always the same bytes, a few pairs of each with a planted difference.

Golden lies as .npy, target as the acceleration library's .bin, whose payload starts at an odd offset.
Nothing of fastcmp is used to make them: `ab_server.py` needs the same values beside older revisions of it.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import ml_dtypes
import numpy as np
from cases import LARGE_DTYPES, SMALL_ELEMENTS, SMALL_IDS_PER_TOKEN, MiB, Size

# Part of the marker beside a dump: raise it when the same size should give other bytes.
RECIPE = 3
SEED = 20240101
ACL_CODES = {"float32": 0, "float16": 1, "bfloat16": 27}
# Well inside the default verdict of each dtype.
NOISE = {"float32": 1e-6, "float16": 1e-4, "bfloat16": 1e-3}
PLANTED_VALUE = 4096.0
ONE_BLOCK_ELEMENTS = 16 * MiB


@dataclass(frozen=True)
class Planted:
    """One element of one target tensor that is far off."""

    data_id: str
    token_id: str
    index: int


@dataclass(frozen=True)
class BenchDump:
    """Both sides of one dump, and what a comparison has to find in it."""

    golden: Path
    target: Path
    pairs: int
    planted: tuple[Planted, ...]

    def files(self) -> list[str]:
        """Every tensor file, golden and target of a pair side by side."""
        sides = [json.loads(path.read_text(encoding="utf-8")) for path in (self.golden, self.target)]
        return [
            str(path.parent / side[data_id][token])
            for data_id in sides[0]
            for token in sides[0][data_id]
            for path, side in zip((self.golden, self.target), sides, strict=True)
        ]


def large(directory: Path, size: Size) -> BenchDump:
    """Pairs of large tensors, 4096 wide, in the dtypes of `LARGE_DTYPES` by turns; two have a planted difference."""
    recipe = {"pairs": size.large_pairs, "bytes": size.large_tensor_bytes}
    planted = (Planted("layers.3", "0", 12_345), Planted(f"layers.{size.large_pairs - 1}", "0", 1_000_000))
    dump = BenchDump(directory / "golden/metadata.json", directory / "target/metadata.json", size.large_pairs, planted)
    if not start_making(directory, recipe):
        return dump
    bases = {dtype: base_values(size.large_tensor_bytes // itemsize(dtype), dtype) for dtype in set(LARGE_DTYPES)}
    writer = PairWriter(dump)
    for number in range(size.large_pairs):
        dtype = LARGE_DTYPES[number % len(LARGE_DTYPES)]
        golden, target = (np.roll(values, 64 * number) for values in bases[dtype])
        writer.write(f"layers.{number}", "0", golden, target, dtype, (golden.size // 4096, 4096))
    writer.close()
    finish_making(directory, recipe)
    return dump


def repeated(dump: BenchDump, times: int) -> BenchDump:
    """The same files, each named under ``times`` tokens for each of its own: more work, no more disk."""
    if times == 1:
        return dump

    def more(token: str) -> list[str]:
        return [str(int(token) * times + turn) for turn in range(times)]

    sides = renamed(dump, str(times), lambda _, tokens: {name: file for token, file in tokens.items() for name in more(token)})
    planted = tuple(Planted(one.data_id, token, one.index) for one in dump.planted for token in more(one.token_id))
    return BenchDump(*sides, dump.pairs * times, planted)


def part(dump: BenchDump, name: str, keep: Callable[[str, str], bool]) -> BenchDump:
    """Those pairs of a dump whose data_id and token_id `keep` wants."""
    sides = renamed(dump, name, lambda data_id, tokens: {token: file for token, file in tokens.items() if keep(data_id, token)})
    pairs = sum(map(len, json.loads(sides[0].read_text(encoding="utf-8")).values()))
    return BenchDump(*sides, pairs, tuple(one for one in dump.planted if keep(one.data_id, one.token_id)))


def renamed(dump: BenchDump, name: str, change: Callable[[str, dict[str, str]], dict[str, str]]) -> list[Path]:
    """metadata.json of both sides once more beside the first, with what `change` makes of each data_id's files."""
    paths = []
    for path in (dump.golden, dump.target):
        changed = {data_id: change(data_id, tokens) for data_id, tokens in json.loads(path.read_text(encoding="utf-8")).items()}
        paths.append(path.with_name(f"{path.stem}_{name}.json"))
        paths[-1].write_text(json.dumps({data_id: tokens for data_id, tokens in changed.items() if tokens}), encoding="utf-8")
    return paths


def floats(dump: BenchDump) -> BenchDump:
    """The float32 pairs of the large tensors."""
    return part(dump, "float32", lambda data_id, _: LARGE_DTYPES[int(data_id.partition(".")[2]) % len(LARGE_DTYPES)] == "float32")


def half(dump: BenchDump) -> BenchDump:
    """The first half of the small pairs."""
    return part(dump, "half", lambda _, token: int(token) < dump.pairs // SMALL_IDS_PER_TOKEN // 2)


def one(directory: Path, size: Size) -> BenchDump:
    """One pair of float32, as many bytes as all large tensors; one element of it has a planted difference."""
    count = size.large_bytes // 2 // 4
    recipe = {"elements": count}
    dump = BenchDump(directory / "golden/metadata.json", directory / "target/metadata.json", 1, (Planted("cache", "0", count // 2 + 77),))
    if not start_making(directory, recipe):
        return dump
    shape = (count // 4096, 4096)
    golden, target = base_values(min(count, ONE_BLOCK_ELEMENTS), "float32")
    names = "0/cache_tensor.npy", "0/cache/outtensor0.bin"
    write_blocks(dump.golden.parent / names[0], npy_header(shape), golden, count)
    target_path, header = dump.target.parent / names[1], bin_header(4 * count, "float32", shape)
    write_blocks(target_path, header, target, count)
    with target_path.open("r+b") as file:
        file.seek(len(header) + 4 * dump.planted[0].index)
        file.write(np.float32(PLANTED_VALUE).tobytes())
    for path, name in zip((dump.golden, dump.target), names, strict=True):
        path.write_text(json.dumps({"cache": {"0": name}}), encoding="utf-8")
    finish_making(directory, recipe)
    return dump


def write_blocks(path: Path, header: bytes, block: np.ndarray, count: int) -> None:
    """A file of ``count`` elements, the block again and again: it never is in memory as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(header)
        for begin in range(0, count, block.size):
            file.write(block[: count - begin].data)


def npy_header(shape: tuple[int, ...]) -> bytes:
    """Of a float32 array."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return header.getvalue()


def small(directory: Path, pairs: int) -> BenchDump:
    """Pairs of 8 KB float16 tensors, 200 to a token, as decoding leaves them; three have a planted difference."""
    recipe = {"pairs": pairs}
    last = pairs - 1
    planted = tuple(Planted(*small_key(number), index) for number, index in ((7, 0), (last // 2, 100), (last, SMALL_ELEMENTS - 1)))
    dump = BenchDump(directory / "golden/metadata.json", directory / "target/metadata.json", pairs, planted)
    if not start_making(directory, recipe):
        return dump
    golden_base, target_base = base_values(64 * SMALL_ELEMENTS, "float16")
    writer = PairWriter(dump)
    for number in range(pairs):
        begin = number * 61 % (63 * SMALL_ELEMENTS)
        piece = slice(begin, begin + SMALL_ELEMENTS)
        writer.write(*small_key(number), golden_base[piece], target_base[piece], "float16", (1, SMALL_ELEMENTS))
    writer.close()
    finish_making(directory, recipe)
    return dump


def tiny(directory: Path) -> BenchDump:
    """One pair of 4096 elements per dtype of the large ones, the first with a planted difference."""
    dtypes = tuple(dict.fromkeys(LARGE_DTYPES))
    dump = BenchDump(directory / "golden/metadata.json", directory / "target/metadata.json", len(dtypes), (Planted(dtypes[0], "0", 5),))
    if not start_making(directory, {"tiny": dtypes}):
        return dump
    writer = PairWriter(dump)
    for dtype in dtypes:
        writer.write(dtype, "0", *base_values(4096, dtype), dtype, (1, 4096))
    writer.close()
    finish_making(directory, {"tiny": dtypes})
    return dump


def small_key(number: int) -> tuple[str, str]:
    """data_id and token_id of a small pair."""
    return f"op.{number % SMALL_IDS_PER_TOKEN}", str(number // SMALL_IDS_PER_TOKEN)


class PairWriter:
    """Writes both sides and their metadata.json."""

    def __init__(self, dump: BenchDump) -> None:
        self.dump = dump
        self.planted = {(planted.data_id, planted.token_id): planted.index for planted in dump.planted}
        self.golden_paths: dict[str, dict[str, str]] = {}
        self.target_paths: dict[str, dict[str, str]] = {}

    def write(self, data_id: str, token_id: str, golden: np.ndarray, target: np.ndarray, dtype: str, shape: tuple[int, ...]) -> None:
        """One pair; the planted difference goes into the target."""
        planted_at = self.planted.get((data_id, token_id))
        if planted_at is not None:
            target = target.copy()
            target[planted_at] = encode(np.array([PLANTED_VALUE], np.float32), dtype)[0]
        self.golden_paths.setdefault(data_id, {})[token_id] = golden_path = f"{token_id}/{data_id}_tensor.npy"
        self.target_paths.setdefault(data_id, {})[token_id] = target_path = f"{token_id}/{data_id}/outtensor0.bin"
        write_npy(self.dump.golden.parent / golden_path, golden, dtype, shape)
        write_bin(self.dump.target.parent / target_path, target, dtype, shape)

    def close(self) -> None:
        """Name the files."""
        self.dump.golden.write_text(json.dumps(self.golden_paths), encoding="utf-8")
        self.dump.target.write_text(json.dumps(self.target_paths), encoding="utf-8")


def base_values(count: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Golden and target values in storage form: normal numbers, and the same with a little relative noise."""
    random = np.random.default_rng(SEED)
    golden = random.standard_normal(count, dtype=np.float32)
    noisy = golden * (1 + np.float32(NOISE[dtype]) * random.standard_normal(count, dtype=np.float32))
    return encode(golden, dtype), encode(noisy, dtype)


def encode(values: np.ndarray, dtype: str) -> np.ndarray:
    """float32 values as they are stored; bfloat16 as its bits, rounded to nearest even."""
    if dtype == "float32":
        return values
    if dtype == "float16":
        return values.astype(np.float16)
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def itemsize(dtype: str) -> int:
    return 4 if dtype == "float32" else 2


def write_npy(path: Path, values: np.ndarray, dtype: str, shape: tuple[int, ...]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = values.view(ml_dtypes.bfloat16) if dtype == "bfloat16" else values
    np.save(path, stored.reshape(shape))


def write_bin(path: Path, values: np.ndarray, dtype: str, shape: tuple[int, ...]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(bin_header(values.nbytes, dtype, shape))
        file.write(values.tobytes())


def bin_header(nbytes: int, dtype: str, shape: tuple[int, ...]) -> bytes:
    return (
        f"$Version=1.0\n$Object.Count=1\n$Object.Length={nbytes}\nformat=2\ndtype={ACL_CODES[dtype]}\n"
        f"dims={','.join(map(str, shape))}\n$Object.data=0,{nbytes}\n$End=1\n"
    ).encode("ascii")


def start_making(directory: Path, recipe: dict[str, object]) -> bool:
    """False if a dump of this recipe is already there; else clears the way for it."""
    marker = directory / "made.json"
    if marker.exists() and marker.read_text(encoding="utf-8") == json.dumps([RECIPE, recipe]):
        return False
    shutil.rmtree(directory, ignore_errors=True)
    for side in ("golden", "target"):
        (directory / side).mkdir(parents=True)
    return True


def finish_making(directory: Path, recipe: dict[str, object]) -> None:
    (directory / "made.json").write_text(json.dumps([RECIPE, recipe]), encoding="utf-8")


def payload_bytes(files: list[str]) -> Iterator[int]:
    """Sizes of the files, headers included: what both the tool and the yardstick have to read."""
    return (Path(path).stat().st_size for path in files)

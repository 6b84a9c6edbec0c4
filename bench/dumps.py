"""Dumps to compare: always the same bytes, a few pairs of each with a planted difference.

Golden lies as .npy, target as the acceleration library's .bin, whose payload starts at an odd offset.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import ml_dtypes
import numpy as np
from cases import LARGE_DTYPES, SMALL_ELEMENTS, SMALL_IDS_PER_TOKEN, Size

# Part of the marker beside a dump: raise it when the same size should give other bytes.
RECIPE = 2
SEED = 20240101
ACL_CODES = {"float32": 0, "float16": 1, "bfloat16": 27}
# Well inside the default verdict of each dtype.
NOISE = {"float32": 1e-6, "float16": 1e-4, "bfloat16": 1e-3}
PLANTED_VALUE = 4096.0


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
    planted = (Planted("layers.3", "0", 12_345), Planted(f"layers.{size.large_pairs - 1}", "0", 1_000_000))
    dump = BenchDump(directory / "golden/metadata.json", directory / "target/metadata.json", size.large_pairs, planted)
    if not start_making(directory, asdict(size)):
        return dump
    bases = {dtype: base_values(size.large_tensor_bytes // itemsize(dtype), dtype) for dtype in set(LARGE_DTYPES)}
    writer = PairWriter(dump)
    for number in range(size.large_pairs):
        dtype = LARGE_DTYPES[number % len(LARGE_DTYPES)]
        golden, target = (np.roll(values, 64 * number) for values in bases[dtype])
        writer.write(f"layers.{number}", "0", golden, target, dtype, (golden.size // 4096, 4096))
    writer.close()
    finish_making(directory, asdict(size))
    return dump


def repeated(dump: BenchDump, times: int) -> BenchDump:
    """The same files, each named under ``times`` tokens: more work, no more disk."""
    sides = [path.with_name(f"metadata_{times}.json") for path in (dump.golden, dump.target)]
    for path, repeated_path in zip((dump.golden, dump.target), sides, strict=True):
        names = json.loads(path.read_text(encoding="utf-8"))
        more = {data_id: {str(token): file for file in tokens.values() for token in range(times)} for data_id, tokens in names.items()}
        repeated_path.write_text(json.dumps(more), encoding="utf-8")
    planted = tuple(Planted(one.data_id, str(token), one.index) for one in dump.planted for token in range(times))
    return BenchDump(*sides, dump.pairs * times, planted)


def small(directory: Path, size: Size) -> BenchDump:
    """Pairs of 8 KB float16 tensors, 200 to a token, as decoding leaves them; three have a planted difference."""
    last = size.small_pairs - 1
    planted = tuple(Planted(*small_key(number), index) for number, index in ((7, 0), (last // 2, 100), (last, SMALL_ELEMENTS - 1)))
    dump = BenchDump(directory / "golden/metadata.json", directory / "target/metadata.json", size.small_pairs, planted)
    if not start_making(directory, asdict(size)):
        return dump
    golden_base, target_base = base_values(64 * SMALL_ELEMENTS, "float16")
    writer = PairWriter(dump)
    for number in range(size.small_pairs):
        begin = number * 61 % (63 * SMALL_ELEMENTS)
        piece = slice(begin, begin + SMALL_ELEMENTS)
        writer.write(*small_key(number), golden_base[piece], target_base[piece], "float16", (1, SMALL_ELEMENTS))
    writer.close()
    finish_making(directory, asdict(size))
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
    header = (
        f"$Version=1.0\n$Object.Count=1\n$Object.Length={values.nbytes}\nformat=2\ndtype={ACL_CODES[dtype]}\n"
        f"dims={','.join(map(str, shape))}\n$Object.data=0,{values.nbytes}\n$End=1\n"
    )
    with path.open("wb") as file:
        file.write(header.encode("ascii"))
        file.write(values.tobytes())


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

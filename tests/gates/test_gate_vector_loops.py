"""The loops that see every element work on whole vector registers: one scalar instruction in them costs a factor of six to eight."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import assembly
import numpy as np
import pytest
from numba import njit
from numba.core.registry import CPUDispatcher

from fastcmp import kernels
from fastcmp.kernels import blocks
from fastcmp.kernels.vector import larger, load_value, pointer
from fastcmp.kernels.widen_block import same_words, widen_floats, widen_integers

# What the loops read, and what they know it by.
TAGS = {"float32": np.float32(0), "float16": np.uint16(0), "bfloat16": np.int16(0), "float64": np.float64(0)}
CARRIERS = tuple(TAGS)
MIXED = ("float32", "bfloat16")
# Kernels that only see some of them; and an argument between n and the rooms that is no float64.
ONLY = {"narrow_counts": ("float16", "bfloat16"), "narrow_sums": ("float16", "bfloat16")}
FLOORS = {"narrow_counts": np.float32(1)}


def why_not_here() -> str:
    """A reason to skip, or ""."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return f"the assembly of {platform.machine()} is not read here"
    flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").split()
    return "" if "avx2" in flags else "this CPU has no AVX2"


on_vector_cpu = pytest.mark.skipif(bool(why_not_here()), reason=why_not_here() or "runs here")


def loops_over_elements() -> Iterator[CPUDispatcher]:
    """Every kernel that loads element after element straight from a payload: its parameters begin with g and its loop runs to n."""
    for module in pkgutil.iter_modules(kernels.__path__):
        for name, kernel in sorted(vars(importlib.import_module(f"{kernels.__name__}.{module.name}")).items()):
            if isinstance(kernel, CPUDispatcher) and kernel.py_func.__module__.endswith(module.name) and name == kernel.py_func.__name__:
                source = inspect.getsource(kernel.py_func)
                if parameters(kernel)[0] == "g" and "in range(n)" in source and "load_value(" in source:
                    yield kernel


def parameters(kernel: CPUDispatcher) -> list[str]:
    return list(inspect.signature(kernel.py_func).parameters)


def divides(kernel: CPUDispatcher) -> bool:
    """True if its loop divides by something that is no constant."""
    tree = ast.parse(inspect.getsource(kernel.py_func).strip())
    loops = [node for node in ast.walk(tree) if isinstance(node, ast.For)]
    divisions = [node for loop in loops for node in ast.walk(loop) if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)]
    return any(not isinstance(node.right, ast.Constant) for node in divisions)


def compiled_loop(kernel: CPUDispatcher, golden: str, target: str) -> assembly.Loop:
    """The hot loop of a kernel, compiled for payloads of two storage dtypes and arguments that are not known beforehand."""
    names = parameters(kernel)
    payload = np.ones(64, np.uint8)
    others = [FLOORS.get(kernel.py_func.__name__, 1.0) for name in names[names.index("n") + 1 :] if not name.endswith("_room")]
    call = over_rooms if names[-1].endswith("_room") else over_both if names.index("n") == 2 else over_one
    compiled = njit(call(kernel))
    compiled(payload, payload, TAGS[golden], TAGS[target], 1, *others)
    return assembly.hot_loop(next(iter(compiled.inspect_asm().values())))


def over_both(kernel: CPUDispatcher) -> Callable[..., Any]:
    def call(g, t, golden_tag, target_tag, n, *others):
        return kernel(pointer(g, golden_tag), pointer(t, target_tag), n, *others)

    return call


def over_rooms(kernel: CPUDispatcher) -> Callable[..., Any]:
    def call(g, t, golden_tag, target_tag, n, other):
        rooms = np.empty((2, 64), np.float32)
        room = np.float32(0)
        return kernel(pointer(g, golden_tag), pointer(t, target_tag), n, other, pointer(rooms[0], room), pointer(rooms[1], room))

    return call


def over_one(kernel: CPUDispatcher) -> Callable[..., Any]:
    def call(g, t, golden_tag, target_tag, n, *others):
        return kernel(pointer(g, golden_tag), n, *others)

    return call


def complaints(loop: assembly.Loop, must_divide: bool) -> list[str]:
    """What is not as it should be in a hot loop."""
    found = []
    if loop.scalar:
        found.append(f"one element at a time: {sorted(set(loop.scalar))}")
    if loop.width < 32:
        found.append("no packed arithmetic in registers of 32 bytes or more")
    if must_divide and not any("div" in name for name in loop.packed):
        found.append("no packed division")
    return found


LOOPS = list(loops_over_elements())


def test_the_loops_are_found() -> None:
    names = {kernel.py_func.__name__ for kernel in LOOPS}
    assert "block_stats" in names and len(names) > 3


@on_vector_cpu
@pytest.mark.parametrize(
    ("kernel", "golden", "target"),
    [
        pytest.param(kernel, golden, target, id=f"{kernel.py_func.__name__}-{golden}-{target}")
        for kernel in LOOPS
        for golden, target in [*((dtype, dtype) for dtype in CARRIERS), MIXED]
        if {golden, target} <= set(ONLY.get(kernel.py_func.__name__, CARRIERS))
    ],
)
def test_the_hot_loop_is_packed(kernel: CPUDispatcher, golden: str, target: str) -> None:
    assert not complaints(compiled_loop(kernel, golden, target), divides(kernel))


@on_vector_cpu
@pytest.mark.parametrize("stored", [np.uint16(0), np.int16(0)], ids=["float16", "bfloat16"])
@pytest.mark.parametrize("wide", [np.float32(0), np.float64(0)], ids=["float32", "float64"])
def test_16_bit_floats_are_widened_by_whole_registers(stored: Any, wide: Any) -> None:
    def widen(room, raw, room_tag, raw_tag, n):
        widen_floats(pointer(room, room_tag), pointer(raw, raw_tag), n)

    loop = loop_of(widen, wide, stored)
    assert not loop.scalar and loop.reach >= 32


@on_vector_cpu
@pytest.mark.parametrize("stored", [np.int16(0), np.uint16(0), np.int32(0), np.uint32(0)], ids=lambda stored: stored.dtype.name)
def test_integers_are_widened_by_whole_registers(stored: Any) -> None:
    def widen(room, raw, room_tag, raw_tag, n):
        widen_integers(pointer(room, room_tag), pointer(raw, raw_tag), 0.5, n)

    assert not complaints(loop_of(widen, np.float64(0), stored), False)


@on_vector_cpu
def test_equal_bytes_are_compared_by_whole_registers() -> None:
    def same(g, t, golden_tag, target_tag, n):
        return same_words(pointer(g, golden_tag), pointer(t, target_tag), n)

    loop = loop_of(same, np.uint64(0), np.uint64(0))
    assert not loop.scalar and loop.reach >= 32


def loop_of(call: Callable[..., Any], first: Any, second: Any) -> assembly.Loop:
    compiled = njit(call)
    compiled(np.ones(64, np.uint8), np.ones(64, np.uint8), first, second, 1)
    return assembly.hot_loop(next(iter(compiled.inspect_asm().values())))


# What the gate is there to catch, planted: each of these is an edit that somebody could make without a wrong number.


@njit(error_model="numpy", fastmath=blocks.FAST)
def scalar_by_max(g, t, n):
    largest = total = 0.0
    for i in range(n):
        difference = abs(np.float64(load_value(t, i)) - np.float64(load_value(g, i)))
        total += difference
        largest = max(largest, difference)
    return largest, total


@njit(error_model="numpy", fastmath=False)
def scalar_by_strict_sums(g, t, n):
    total = 0.0
    for i in range(n):
        total += np.float64(load_value(t, i)) * np.float64(load_value(g, i))
    return total


@njit(error_model="python", fastmath=blocks.FAST)
def scalar_by_checked_division(g, t, n):
    total = 0.0
    for i in range(n):
        total += np.float64(load_value(t, i)) / np.float64(load_value(g, i))
    return total


@njit(error_model="numpy", fastmath=blocks.FAST)
def scalar_by_early_end(g, t, n):
    total = 0.0
    for i in range(n):
        if load_value(t, i) > load_value(g, i):
            break
        total += np.float64(load_value(t, i)) * np.float64(load_value(g, i))
    return total


@njit(error_model="numpy", fastmath=blocks.FAST)
def scalar_by_library_call(g, t, n):
    total = 0.0
    for i in range(n):
        total += np.exp(np.float64(load_value(t, i)) - np.float64(load_value(g, i)))
    return total


@njit(error_model="numpy", fastmath=blocks.FAST)
def packed_by_larger(g, t, n):
    largest = total = 0.0
    for i in range(n):
        difference = abs(np.float64(load_value(t, i)) - np.float64(load_value(g, i)))
        total += difference
        largest = larger(largest, difference)
    return largest, total


SCALAR = (scalar_by_max, scalar_by_strict_sums, scalar_by_checked_division, scalar_by_early_end, scalar_by_library_call)


@on_vector_cpu
@pytest.mark.parametrize("dtype", CARRIERS)
@pytest.mark.parametrize("kernel", SCALAR, ids=lambda kernel: kernel.py_func.__name__)
def test_a_scalar_loop_is_caught(kernel: CPUDispatcher, dtype: str) -> None:
    (complaint, *_) = complaints(compiled_loop(kernel, dtype, dtype), divides(kernel))
    assert complaint.startswith("one element at a time")


@on_vector_cpu
@pytest.mark.parametrize("dtype", CARRIERS)
def test_one_plain_maximum_in_the_real_kernel_is_caught(dtype: str) -> None:
    original = blocks.block_stats.py_func
    edited = FunctionType(original.__code__, {**original.__globals__, "larger": max}, original.__name__)
    kernel = njit(error_model="numpy", fastmath=blocks.FAST)(edited)
    assert complaints(compiled_loop(kernel, dtype, dtype), must_divide=True)


@on_vector_cpu
@pytest.mark.parametrize("dtype", CARRIERS)
def test_the_same_loop_made_to_vectorise_is_not(dtype: str) -> None:
    assert not complaints(compiled_loop(packed_by_larger, dtype, dtype), False)


@on_vector_cpu
def test_a_division_that_went_away_is_caught() -> None:
    loop = compiled_loop(packed_by_larger, "float32", "float32")
    assert complaints(loop, must_divide=True) == ["no packed division"]


@pytest.mark.parametrize(
    ("body", "scalar", "packed"),
    [
        ("vaddpd %zmm1, %zmm2, %zmm3", [], ["vaddpd"]),
        ("vfmadd231ps (%rax), %ymm1, %ymm2", [], ["vfmadd231ps"]),
        ("vcvtph2ps (%rax), %zmm1", [], ["vcvtph2ps"]),
        ("vcvtph2psx (%rax), %ymm1", [], ["vcvtph2psx"]),
        ("vcvtsh2ss %xmm0, %xmm0, %xmm0", ["vcvtsh2ss"], []),
        ("vaddsh %xmm1, %xmm2, %xmm3", ["vaddsh"], []),
        ("vaddsd %xmm1, %xmm2, %xmm3", ["vaddsd"], []),
        ("vcvtss2sd %xmm1, %xmm2, %xmm3", ["vcvtss2sd"], []),
        ("vucomisd %xmm1, %xmm2", ["vucomisd"], []),
        ("vpinsrw $1, (%rax), %xmm1, %xmm2", ["vpinsrw"], []),
        ("callq *%rax", ["callq"], []),
    ],
)
def test_instructions_are_told_apart(body: str, scalar: list[str], packed: list[str]) -> None:
    (loop,) = assembly.innermost_loops(f".LBB0_1:\n\t{body}\n\tjne\t.LBB0_1\n")
    assert (loop.scalar, loop.packed) == (scalar, packed)


def test_the_main_loop_is_told_from_its_remainder_however_far_that_is_unrolled() -> None:
    """As LLVM has them for a CPU that computes with half floats."""
    main = "vcvtph2psx (%rcx), %ymm0\n\tvmovups %ymm0, (%rdx)\n\t" * 4
    remainder = "vmovsh (%rcx), %xmm0\n\tvcvtsh2ss %xmm0, %xmm0, %xmm0\n\tvmovss %xmm0, (%rdx)\n\t" * 8
    loop = assembly.hot_loop(f".LBB0_1:\n\t{main}jne\t.LBB0_1\n.LBB0_2:\n\t{remainder}jne\t.LBB0_2\n")
    assert not loop.scalar and loop.packed == ["vcvtph2psx"] * 4


def test_only_innermost_loops_count() -> None:
    outer = ".LBB0_1:\n\tvaddsd %xmm1, %xmm1, %xmm1\n.LBB0_2:\n\tvaddpd %ymm1, %ymm1, %ymm1\n\tjne\t.LBB0_2\n\tjne\t.LBB0_1\n"
    assert [loop.packed for loop in assembly.innermost_loops(outer)] == [["vaddpd"]]

"""LLVM instructions that numba does not offer, each chosen because a loop does not vectorise (or is not correct) without it.

Payloads come as uint8 arrays, because an unaligned or a writable array would each be another numba type, and so another
compilation, and are read through pointers; loads are emitted with alignment 1, which costs nothing on x86-64. A *tag* is a
value that only says which type a pointer points to.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"
# numba reads these signatures itself and knows no annotations in them.

from __future__ import annotations

from fastcmp.kernels.cache_dir import use_cache_dir

use_cache_dir()

from llvmlite import ir  # noqa: E402
from numba import njit, types  # noqa: E402
from numba.extending import intrinsic  # noqa: E402


@intrinsic
def pointer(typingctx, payload, tag):
    """Address of the first element of an array, read as elements of the type of ``tag``."""

    def codegen(context, builder, signature, args):
        array = context.make_array(signature.args[0])(context, builder, args[0])
        return builder.bitcast(array.data, context.get_value_type(signature.return_type))

    return types.CPointer(tag)(payload, tag), codegen


@intrinsic
def reinterpret(typingctx, base, tag):
    """The same address, read as elements of the type of ``tag``."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(signature.return_type))

    return types.CPointer(tag)(base, tag), codegen


@intrinsic
def advance(typingctx, base, count):
    """Address ``count`` elements further on."""

    def codegen(context, builder, signature, args):
        return builder.gep(args[0], [args[1]])

    return base(base, types.int64), codegen


@intrinsic
def load(typingctx, base, index):
    """One element as it is."""

    def codegen(context, builder, signature, args):
        return builder.load(builder.gep(args[0], [args[1]]), align=1)

    return base.dtype(base, types.int64), codegen


@intrinsic
def load_value(typingctx, base, index):
    """One element as a float, exactly: float64 of float64, float32 of the others.

    numba has no float16 on CPUs: it is read through a pointer to uint16, and bfloat16 through one to int16.
    """
    stored = base.dtype
    result = types.float64 if stored == types.float64 else types.float32

    def codegen(context, builder, signature, args):
        raw = builder.load(builder.gep(args[0], [args[1]]), align=1)
        if stored == types.uint16:
            # Becomes vcvtph2ps where the CPU has F16C.
            return builder.fpext(builder.bitcast(raw, ir.HalfType()), ir.FloatType())
        if stored == types.int16:
            wide = builder.shl(builder.zext(raw, ir.IntType(32)), ir.Constant(ir.IntType(32), 16))
            return builder.bitcast(wide, ir.FloatType())
        return raw

    return result(base, types.int64), codegen


@intrinsic
def store(typingctx, base, index, value):
    """Write one number, converted to the type that ``base`` points to."""

    def codegen(context, builder, signature, args):
        number = context.cast(builder, args[2], signature.args[2], base.dtype)
        builder.store(number, builder.gep(args[0], [args[1]]))
        return context.get_dummy_value()

    return types.void(base, types.int64, value), codegen


@intrinsic
def abs_bits(typingctx, x):
    """Bits of ``|x|`` as an unsigned integer; they order as magnitudes do, NaN above infinity."""
    width = x.bitwidth

    def codegen(context, builder, signature, args):
        kind = ir.IntType(width)
        return builder.and_(builder.bitcast(args[0], kind), ir.Constant(kind, (1 << (width - 1)) - 1))

    return (types.uint32 if width == 32 else types.uint64)(x), codegen


@intrinsic
def is_nonfinite(typingctx, bits):
    """True if `abs_bits` came from NaN or an infinity. An integer compare: no fast-math flag can remove it."""
    infinity = 0x7F800000 if bits.bitwidth == 32 else 0x7FF << 52

    def codegen(context, builder, signature, args):
        return builder.icmp_unsigned(">=", args[0], ir.Constant(args[0].type, infinity))

    return types.boolean(bits), codegen


@intrinsic
def is_nan(typingctx, bits):
    """True if `abs_bits` came from NaN."""
    infinity = 0x7F800000 if bits.bitwidth == 32 else 0x7FF << 52

    def codegen(context, builder, signature, args):
        return builder.icmp_unsigned(">", args[0], ir.Constant(args[0].type, infinity))

    return types.boolean(bits), codegen


@intrinsic
def is_negative(typingctx, x):
    """The sign bit."""
    width = x.bitwidth

    def codegen(context, builder, signature, args):
        kind = ir.IntType(width)
        return builder.icmp_signed("<", builder.bitcast(args[0], kind), ir.Constant(kind, 0))

    return types.boolean(x), codegen


@intrinsic
def smaller_index(typingctx, a, b):
    """Signed minimum of two int64."""

    def codegen(context, builder, signature, args):
        return builder.select(builder.icmp_signed("<", args[0], args[1]), args[0], args[1])

    return types.int64(types.int64, types.int64), codegen


def _float_select(operator):
    # Only a compare and a select that both carry the flag are recognised as a vectorisable float reduction;
    # max() and `x if x > s else s` keep the whole loop scalar (4.8 instead of 31 GB/s).
    def codegen(context, builder, signature, args):
        chosen = builder.fcmp_ordered(operator, args[0], args[1], flags=("fast",))
        return builder.select(chosen, args[0], args[1], flags=("fast",))

    return codegen


@intrinsic
def larger(typingctx, a, b):
    """Maximum of two finite floats of one type. Undefined for NaN: blocks that have any take another path."""
    return a(a, a), _float_select(">")


@intrinsic
def smaller(typingctx, a, b):
    """Minimum of two finite floats of one type. Undefined for NaN."""
    return a(a, a), _float_select("<")


# numba gives a function's fast-math flags to every instruction in it, intrinsics included, and to every function it calls
# that does not say otherwise. Only a function of its own that does keeps its plain arithmetic; LLVM inlines it after that,
# and the loop still vectorises.


@njit(fastmath=False)
def plain_add(a, b):
    """A sum that no flag of the calling function may reorder."""
    return a + b


@njit(fastmath=False)
def plain_subtract(a, b):
    """A difference that no flag of the calling function may reorder."""
    return a - b


@njit(fastmath={"contract"})
def subtract_multiple(x, count, high, low):
    """``x - count * (high + low)``, the parts in this order."""
    return (x - count * high) - count * low


@intrinsic
def multiply_add(typingctx, a, b, c):
    """``a * b + c`` of float64, rounded once where the CPU can."""

    def codegen(context, builder, signature, args):
        double = ir.DoubleType()
        fused = builder.module.declare_intrinsic("llvm.fmuladd", [double], ir.FunctionType(double, [double] * 3))
        return builder.call(fused, args)

    return types.float64(types.float64, types.float64, types.float64), codegen


@intrinsic
def power_of_two_below(typingctx, x):
    """``2**floor(log2(|x|))`` for a normal float64: its exponent bits alone; 0.0 for zero and subnormals."""

    def codegen(context, builder, signature, args):
        kind = ir.IntType(64)
        bits = builder.and_(builder.bitcast(args[0], kind), ir.Constant(kind, 0x7FF << 52))
        return builder.bitcast(bits, ir.DoubleType())

    return types.float64(types.float64), codegen


@intrinsic
def scale_by_magic(typingctx, value, shifted):
    """``value * 2**n`` where ``shifted`` is ``n + 1.5 * 2**52``: n is added to the exponent bits.

    No conversion of a float to int64, which AVX2 cannot vectorise. The result must be a normal number.
    """

    def codegen(context, builder, signature, args):
        kind = ir.IntType(64)
        exponent = builder.shl(builder.bitcast(args[1], kind), ir.Constant(kind, 52))
        return builder.bitcast(builder.add(builder.bitcast(args[0], kind), exponent), ir.DoubleType())

    return types.float64(types.float64, types.float64), codegen


@intrinsic
def choose(typingctx, condition, a, b):
    """``a`` if true, else ``b``; both are computed."""

    def codegen(context, builder, signature, args):
        return builder.select(args[0], args[1], args[2])

    return a(types.boolean, a, a), codegen


@intrinsic
def count_if(typingctx, counter, condition):
    """``counter + 1`` if true, else ``counter``, of an int32: numba's own sum would be an int64, half as many in a register."""

    def codegen(context, builder, signature, args):
        return builder.add(args[0], builder.zext(args[1], ir.IntType(32)))

    return types.int32(types.int32, types.boolean), codegen


@intrinsic
def load_complex(typingctx, base, index):
    """Real and imaginary part of one complex128 element."""

    def codegen(context, builder, signature, args):
        doubles = builder.bitcast(args[0], ir.DoubleType().as_pointer())
        first = builder.mul(args[1], ir.Constant(ir.IntType(64), 2))
        parts = [builder.load(builder.gep(doubles, [builder.add(first, ir.Constant(ir.IntType(64), k))]), align=1) for k in (0, 1)]
        return context.make_tuple(builder, signature.return_type, parts)

    return types.UniTuple(types.float64, 2)(base, types.int64), codegen

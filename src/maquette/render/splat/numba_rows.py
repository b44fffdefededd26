"""Rows of 16 float32 numbers as a type that Numba compiles to vector instructions, whatever the machine calls them.

A compiler that has to find vectors in loops over arrays first asks whether these overlap, which takes longer than to
work on 16 numbers. So they are said here: `load` and `store` move 16 numbers between a row and a contiguous array,
unchecked; `+ - * /` work on two rows, or on a row and a number; the functions below do the rest. As with `fastmath`,
sums may be rearranged and products fused; what isn't finite isn't looked after.

Numba keeps what it compiled until the file of the calling function changes, and doesn't notice changes here.
"""

import operator
from typing import Any

from llvmlite import ir
from numba import extending
from numba.core import cgutils, types
from numba.extending import models, overload, register_model

intrinsic: Any = extending.intrinsic  # compiled code calls what it makes without the first argument, the context

LANES = 16
_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_FAST = ("fast",)


class _RowType(types.Type):
    def __init__(self) -> None:
        super().__init__(name=f"row{LANES}")


ROW = _RowType()


@register_model(_RowType)
class _RowModel(models.PrimitiveModel):
    def __init__(self, manager, kind) -> None:
        super().__init__(manager, kind, _VECTOR)


def _is_row_or_number(kind) -> bool:
    return kind is ROW or isinstance(kind, types.Number)


def _row(context, builder, kind, value):
    """The value as a vector: a number is repeated."""
    return value if kind is ROW else _repeated(builder, context.cast(builder, value, kind, types.float32), _VECTOR)


def _repeated(builder, value, vector):
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), mask)


def _elementwise(emit, count):
    """An intrinsic of `count` rows or numbers, at least one of them a row: emit(builder, *vectors) is the result."""

    def codegen(context, builder, signature, values):
        return emit(builder, *(_row(context, builder, *pair) for pair in zip(signature.args, values, strict=True)))

    def typed(*kinds):
        if ROW in kinds and all(_is_row_or_number(kind) for kind in kinds):
            return ROW(*kinds), codegen
        return None

    # Numba reads the number of arguments off the function.
    if count == 2:

        @intrinsic
        def apply_two(context, a, b):
            return typed(a, b)

        return apply_two

    @intrinsic
    def apply_four(context, a, b, c, d):
        return typed(a, b, c, d)

    return apply_four


def _operator(symbol, emit) -> None:
    apply = _elementwise(emit, 2)

    @overload(symbol)
    def implementation(a, b):
        if ROW in (a, b) and _is_row_or_number(a) and _is_row_or_number(b):
            return lambda a, b: apply(a, b)
        return None


_operator(operator.add, lambda builder, a, b: builder.fadd(a, b, flags=_FAST))
_operator(operator.sub, lambda builder, a, b: builder.fsub(a, b, flags=_FAST))
_operator(operator.mul, lambda builder, a, b: builder.fmul(a, b, flags=_FAST))
_operator(operator.truediv, lambda builder, a, b: builder.fdiv(a, b, flags=_FAST))

least = _elementwise(lambda builder, a, b: builder.select(builder.fcmp_ordered("<", a, b, flags=_FAST), a, b), 2)
greatest = _elementwise(lambda builder, a, b: builder.select(builder.fcmp_ordered(">", a, b, flags=_FAST), a, b), 2)
# where(a, b, c, d): c where a >= b, else d
where_at_least = _elementwise(lambda builder, a, b, c, d: builder.select(builder.fcmp_ordered(">=", a, b), c, d), 4)


def _emit_passed(builder, marks, before, after, mark):
    # A sum, since a choice between what was loaded and a mark becomes a store under a mask, which stalls the next load.
    half = ir.Constant(_VECTOR, [0.5] * LANES)
    now = builder.and_(builder.fcmp_ordered(">", before, half), builder.fcmp_ordered("<=", after, half))
    words = ir.VectorType(ir.IntType(32), LANES)
    nothing = ir.Constant(words, [0] * LANES)
    chosen = builder.select(now, builder.bitcast(mark, words), nothing)
    return builder.bitcast(builder.add(builder.bitcast(marks, words), chosen), _VECTOR)


# passed(marks, before, after, mark): the integers marks, plus mark where before > 1/2 >= after
passed = _elementwise(_emit_passed, 4)


def _address(context, builder, kind, array, index):
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _VECTOR.as_pointer())


@intrinsic
def load(context, array, index):
    """The row array[index], array[index + 1], ..."""

    def codegen(context, builder, signature, values):
        row = builder.load(_address(context, builder, signature.args[0], *values))
        row.align = 4
        return row

    return ROW(array, types.intp), codegen


@intrinsic
def store(context, array, index, row):
    """Write a row, or a number 16 times, to array[index], array[index + 1], ..."""

    def codegen(context, builder, signature, values):
        vector = _row(context, builder, signature.args[2], values[2])
        builder.store(vector, _address(context, builder, signature.args[0], *values[:2])).align = 4
        return context.get_dummy_value()

    return types.void(array, types.intp, row), codegen


@intrinsic
def load_every(context, array, index, step):
    """The row array[index], array[index + step], ..."""

    def codegen(context, builder, signature, values):
        row = ir.Constant(_VECTOR, ir.Undefined)
        for lane, address in _addresses(context, builder, signature.args[0], *values):
            row = builder.insert_element(row, builder.load(address), lane)
        return row

    return ROW(array, types.intp, types.intp), codegen


@intrinsic
def store_every(context, array, index, step, row):
    """Write a row to array[index], array[index + step], ..."""

    def codegen(context, builder, signature, values):
        for lane, address in _addresses(context, builder, signature.args[0], *values[:3]):
            builder.store(builder.extract_element(values[3], lane), address)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, ROW), codegen


def _addresses(context, builder, kind, array, index, step):
    data = context.make_array(kind)(context, builder, array).data
    for lane in range(LANES):
        yield ir.Constant(ir.IntType(32), lane), builder.gep(data, [index])
        index = builder.add(index, step)


@intrinsic
def counting(context):
    """The row 0, 1, ... 15."""

    def codegen(context, builder, signature, values):
        return ir.Constant(_VECTOR, [float(lane) for lane in range(LANES)])

    return ROW(), codegen


@intrinsic
def bits(context, number):
    """A row that holds an integer of 32 bits 16 times, as bits: only for `passed`, `load` and `store`."""

    def codegen(context, builder, signature, values):
        vector = ir.VectorType(ir.IntType(32), LANES)
        return builder.bitcast(_repeated(builder, values[0], vector), _VECTOR)

    return ROW(types.int32), codegen


@intrinsic
def prefetch(context, array, index):
    """Ask for the cache line of array[index], which will be read or written soon; any index will do."""

    def codegen(context, builder, signature, values):
        word = ir.IntType(32)
        address = builder.bitcast(_address(context, builder, signature.args[0], *values), ir.PointerType(ir.IntType(8)))
        kind = ir.FunctionType(ir.VoidType(), [address.type, word, word, word])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [address, ir.Constant(word, 0), ir.Constant(word, 3), ir.Constant(word, 1)])
        return context.get_dummy_value()

    return types.void(array, types.intp), codegen


@intrinsic
def totals(context, array, index):
    """A row of the sums of 16 rows, which stand one after the other from array[index] on."""

    def codegen(context, builder, signature, values):
        even, odd = (ir.Constant(ir.VectorType(ir.IntType(32), LANES), list(range(i, 2 * LANES, 2))) for i in (0, 1))
        first = _address(context, builder, signature.args[0], *values)
        rows = []
        for number in range(LANES):
            row = builder.load(builder.gep(first, [ir.Constant(ir.IntType(64), number)]))
            row.align = 4
            rows.append(row)
        # Neighbouring numbers of two rows are added into one row, until one row is left.
        while len(rows) > 1:
            pairs = zip(rows[::2], rows[1::2], strict=True)
            rows = [
                builder.fadd(builder.shuffle_vector(a, b, even), builder.shuffle_vector(a, b, odd), flags=_FAST)
                for a, b in pairs
            ]
        return rows[0]

    return ROW(array, types.intp), codegen


@intrinsic
def maximum(context, row):
    """The greatest of a row's numbers."""

    def codegen(context, builder, signature, values):
        kind = ir.FunctionType(ir.FloatType(), [_VECTOR])
        function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.fmax.v{LANES}f32")
        return builder.call(function, values, fastmath=_FAST)

    return types.float32(ROW), codegen

"""Vectors as wide as the host's registers: the few operations that Numba kernels share.

A kernel reads like scalar code that takes `lanes` steps at once::

    acc = broadcast(dtype.type(0))
    for j in range(kw):
        acc = fma(broadcast(weight[j]), load(x, at + j), acc)
    store(out, at, acc)

Pointers are those of a tile kernel (`types.CPointer` to an integer, float32 or float64), offsets count elements, and
nothing needs to be aligned. Vectors support the operators +, - and *; integers wrap around.

`Emitter` has the same operations for code that writes LLVM instructions itself, such as kernels/jit/pools/blocks.py.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

from fastconv.kernels.jit.target import register_bytes

if TYPE_CHECKING:
    # Numba's, which type checkers cannot follow.
    BaseContext: TypeAlias = Any
    Context: TypeAlias = Any
    DataModelManager: TypeAlias = Any
    Signature: TypeAlias = Any

    class NumbaType:
        def __init__(self, name: str) -> None: ...
        def __call__(self, *arguments: Any) -> Signature: ...

    # What an intrinsic answers Numba: its signature, and what writes its instructions; `None` for types it cannot take.
    Answer: TypeAlias = tuple[Signature, Callable[..., Any]] | None

else:
    NumbaType = types.Type

# An integer or floating-point type of Numba, whose attributes it does not declare.
Scalar = Any


class Vector(NumbaType):
    """As many values of the Numba type `scalar` as a register holds."""

    def __init__(self, scalar: Scalar) -> None:
        self.scalar: Scalar = scalar
        self.lanes: int = register_bytes() * 8 // scalar.bitwidth
        super().__init__(name=f"Vector({scalar}, {self.lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: DataModelManager, vector: Vector) -> None:
        element = manager.lookup(vector.scalar).get_value_type()
        super().__init__(manager, vector, ir.VectorType(element, vector.lanes))


class Emitter:
    """Writes vector instructions on values of one Numba type through llvmlite's `builder`."""

    def __init__(self, builder: ir.IRBuilder, scalar: Scalar) -> None:
        self.builder = builder
        self.lanes: int = Vector(scalar).lanes
        self.bits: int = scalar.bitwidth
        self.is_float: bool = isinstance(scalar, types.Float)
        self.is_signed: bool = self.is_float or scalar.signed
        floats = {32: ir.FloatType(), 64: ir.DoubleType()}
        self.element: ir.Type = floats[self.bits] if self.is_float else ir.IntType(self.bits)
        self.type: ir.VectorType = ir.VectorType(self.element, self.lanes)

    def broadcast(self, value: ir.Value) -> ir.Value:
        return self._splat(value, self.type)

    def load(self, pointer: ir.Value) -> ir.Value:
        return self.builder.load(self._cast(pointer), align=self.bits // 8)

    def store(self, pointer: ir.Value, vector: ir.Value) -> None:
        self.builder.store(vector, self._cast(pointer), align=self.bits // 8)

    def load_even_unordered(self, pointer: ir.Value) -> ir.Value:
        """Every second value, nothing past the last of them, in the order left by a single instruction that shuffles
        within 16 bytes; see `ordered`.
        """
        step = ir.IntType(64)(self.lanes - 1)
        return self.even_unordered(self.load(pointer), self.load(self.builder.gep(pointer, [step])))

    def even_unordered(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """`load_even_unordered` of a vector and of the values that follow, starting with its own last value."""
        picked = [2 * lane for lane in self._even_order()]
        return self.shuffle(a, b, [at if at < self.lanes else at + 1 for at in picked])

    def deinterleave_unordered(self, a: ir.Value, b: ir.Value) -> tuple[ir.Value, ir.Value]:
        """The even and the odd values of `a` and then `b`, in the order of `load_even_unordered`."""
        even = [2 * lane for lane in self._even_order()]
        return self.shuffle(a, b, even), self.shuffle(a, b, [at + 1 for at in even])

    def ordered(self, vector: ir.Value) -> ir.Value:
        """The lanes of `load_even_unordered`, or of sums of such vectors, in order."""
        order = self._even_order()
        return self.shuffle(vector, vector, [order.index(lane) for lane in range(self.lanes)])

    def unordered(self, vector: ir.Value) -> ir.Value:
        """The inverse of `ordered`."""
        return self.shuffle(vector, vector, self._even_order())

    def _even_order(self) -> list[int]:
        """Every 16 bytes take half of their values from either vector."""
        half = max(1, 64 // self.bits)
        from_first = range(self.lanes // 2)
        groups = [from_first[at : at + half] for at in range(0, self.lanes // 2, half)]
        return [at + offset for group in groups for offset in (0, self.lanes // 2) for at in group]

    def fma(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        """``a * b + c``, rounded once where the CPU does that as fast as rounding twice."""
        if self.is_float:
            return self._call("llvm.fmuladd", self._suffix(), self.type, [a, b, c])
        return self.add(self.mul(a, b), c)

    def add(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.builder.fadd(a, b) if self.is_float else self.builder.add(a, b)

    def sub(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.builder.fsub(a, b) if self.is_float else self.builder.sub(a, b)

    def mul(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.builder.fmul(a, b) if self.is_float else self.builder.mul(a, b)

    def maximum(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """The larger value; NaN if either is NaN."""
        return self._extreme(">", a, b)

    def minimum(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """The smaller value; NaN if either is NaN."""
        return self._extreme("<", a, b)

    def replaces(self, value: ir.Value, best: ir.Value) -> ir.Value:
        """Where `value` is larger than `best`, or NaN."""
        if not self.is_float:
            compare = self.builder.icmp_signed if self.is_signed else self.builder.icmp_unsigned
            return compare(">", value, best)
        larger = self.builder.fcmp_ordered(">", value, best)
        return self.builder.or_(larger, self.builder.fcmp_unordered("uno", value, value))

    def shuffle(self, a: ir.Value, b: ir.Value, picked: Sequence[int]) -> ir.Value:
        """Select lanes of `a` and `b`; the numbers of `b` follow those of `a`."""
        return self.builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), len(picked)), list(picked)))

    def _extreme(self, order: str, a: ir.Value, b: ir.Value) -> ir.Value:
        if not self.is_float:
            compare = self.builder.icmp_signed if self.is_signed else self.builder.icmp_unsigned
            return self.builder.select(compare(order, a, b), a, b)
        # One x86 instruction, which returns b if either is NaN; LLVM's own llvm.maximum takes three times as long.
        extreme = self.builder.select(self.builder.fcmp_ordered(order, a, b), a, b)
        return self.builder.select(self.builder.fcmp_unordered("uno", a, a), a, extreme)

    def _splat(self, value: ir.Value, vector: ir.VectorType) -> ir.Value:
        undefined = ir.Constant(vector, ir.Undefined)
        first = self.builder.insert_element(undefined, value, ir.IntType(32)(0))
        return self.builder.shuffle_vector(
            first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
        )

    def _cast(self, pointer: ir.Value) -> ir.Value:
        return self.builder.bitcast(pointer, self.type.as_pointer())

    def _suffix(self) -> str:
        return f"v{self.lanes}{'f' if self.is_float else 'i'}{self.bits}"

    def _call(self, name: str, suffix: str, returned: ir.Type, arguments: list[ir.Value]) -> ir.Value:
        signature = ir.FunctionType(returned, [argument.type for argument in arguments])
        return self.builder.call(self.builder.module.declare_intrinsic(f"{name}.{suffix}", fnty=signature), arguments)


@intrinsic
def broadcast(typingctx: Context, value: Scalar) -> Answer:
    """`value` in every lane."""

    def codegen(
        context: BaseContext, builder: ir.IRBuilder, signature: Signature, arguments: Sequence[ir.Value]
    ) -> ir.Value:
        return Emitter(builder, types.unliteral(value)).broadcast(*arguments)

    return Vector(types.unliteral(value))(value), codegen


def _returning_vector(
    emit: Callable[..., ir.Value], pointer: types.CPointer, offset: types.Integer, *bounds: types.Integer
) -> Answer:
    """The typing of an intrinsic that reads at ``pointer[offset]`` by a method of `Emitter`."""

    def codegen(
        context: BaseContext, builder: ir.IRBuilder, signature: Signature, arguments: Sequence[ir.Value]
    ) -> ir.Value:
        address = builder.gep(arguments[0], arguments[1:2])
        return emit(Emitter(builder, pointer.dtype), address, *arguments[2:])

    return Vector(pointer.dtype)(pointer, types.int64, *[types.int64 for _ in bounds]), codegen


def _returning_nothing(
    emit: Callable[..., None], pointer: types.CPointer, offset: types.Integer, vector: Vector, *bounds: types.Integer
) -> Answer:
    """The typing of an intrinsic that writes at ``pointer[offset]`` by a method of `Emitter`."""

    def codegen(
        context: BaseContext, builder: ir.IRBuilder, signature: Signature, arguments: Sequence[ir.Value]
    ) -> ir.Value:
        address = builder.gep(arguments[0], arguments[1:2])
        emit(Emitter(builder, pointer.dtype), address, *arguments[2:])
        return context.get_dummy_value()

    return types.void(pointer, types.int64, vector, *[types.int64 for _ in bounds]), codegen


def _lane_by_lane(emit: Callable[..., ir.Value], *vectors: Vector) -> Answer:
    """The typing of an intrinsic that combines vectors of one type by a method of `Emitter`."""
    if not all(isinstance(vector, Vector) and vector == vectors[0] for vector in vectors):
        return None

    def codegen(
        context: BaseContext, builder: ir.IRBuilder, signature: Signature, arguments: Sequence[ir.Value]
    ) -> ir.Value:
        return emit(Emitter(builder, vectors[0].scalar), *arguments)

    return vectors[0](*vectors), codegen


@intrinsic
def load(typingctx: Context, pointer: types.CPointer, offset: types.Integer) -> Answer:
    """The values from ``pointer[offset]`` on."""
    return _returning_vector(Emitter.load, pointer, offset)


@intrinsic
def store(typingctx: Context, pointer: types.CPointer, offset: types.Integer, vector: Vector) -> Answer:
    """Write `vector` from ``pointer[offset]`` on."""
    return _returning_nothing(Emitter.store, pointer, offset, vector)


@intrinsic
def fma(typingctx: Context, a: Vector, b: Vector, c: Vector) -> Answer:
    """``a * b + c``, rounded once where the CPU can do that as fast as twice."""
    return _lane_by_lane(Emitter.fma, a, b, c)


@intrinsic
def maximum(typingctx: Context, a: Vector, b: Vector) -> Answer:
    """The larger value of every lane; NaN if either is NaN."""
    return _lane_by_lane(Emitter.maximum, a, b)


@intrinsic
def minimum(typingctx: Context, a: Vector, b: Vector) -> Answer:
    """The smaller value of every lane; NaN if either is NaN."""
    return _lane_by_lane(Emitter.minimum, a, b)


def _operator(function: Callable[[Any, Any], Any], emit: Callable[..., ir.Value]) -> None:
    """Let `function` of module `operator` combine vectors of one type."""

    @type_callable(function)
    def typed(context: Context) -> Callable[[types.Type, types.Type], types.Type | None]:
        def typer(a: types.Type, b: types.Type) -> types.Type | None:
            return a if isinstance(a, Vector) and a == b else None

        return typer

    @lower_builtin(function, Vector, Vector)
    def lowered(
        context: BaseContext, builder: ir.IRBuilder, signature: Signature, arguments: Sequence[ir.Value]
    ) -> ir.Value:
        return emit(Emitter(builder, signature.return_type.scalar), *arguments)


_operator(operator.add, Emitter.add)
_operator(operator.sub, Emitter.sub)
_operator(operator.mul, Emitter.mul)


def _as_pointer(scalar: Scalar) -> Any:
    """The intrinsic that takes a pointer as one to `scalar`."""
    target = types.CPointer(scalar)

    @intrinsic
    def as_pointer(typingctx: Context, pointer: types.CPointer) -> Answer:
        def codegen(
            context: BaseContext, builder: ir.IRBuilder, signature: Signature, arguments: Sequence[ir.Value]
        ) -> ir.Value:
            return builder.bitcast(arguments[0], context.get_value_type(target))

        return target(pointer), codegen

    return as_pointer


# For the array of a kernel that is of another type than the rest.
as_int32: Any = _as_pointer(types.int32)
as_int64: Any = _as_pointer(types.int64)
as_float64: Any = _as_pointer(types.float64)

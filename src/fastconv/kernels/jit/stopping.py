"""How Numba kernels ask whether to stop, as `stops` in simd/simd.h does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastconv.kernels.cpu import MOST_ARRAYS

if TYPE_CHECKING:
    from fastconv.kernels.jit.vector import Answer, BaseContext, Context, Signature


@intrinsic
def stops(typingctx: Context, arrays: types.CPointer, worker: types.Integer) -> Answer:
    """Whether the call was interrupted, so that the kernel must return at once."""

    def codegen(
        context: BaseContext, builder: ir.IRBuilder, signature: Signature, arguments: Sequence[ir.Value]
    ) -> ir.Value:
        # The function to ask is stored after the arrays, and takes their address.
        address = ir.IntType(8).as_pointer()
        function = ir.FunctionType(ir.IntType(32), [address, ir.IntType(64)]).as_pointer()
        slot = builder.gep(arguments[0], [ir.IntType(64)(MOST_ARRAYS)])
        stop = builder.load(builder.bitcast(slot, function.as_pointer()))
        answer = builder.call(stop, [builder.bitcast(arguments[0], address), arguments[1]])
        return builder.icmp_signed("!=", answer, ir.IntType(32)(0))

    return types.boolean(arrays, types.int64), codegen

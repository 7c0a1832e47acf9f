"""How Numba's kernels ask whether to stop: `stops` of simd/simd.h."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastconv.kernels.cpu import MOST_ARRAYS


@intrinsic
def stops(typingctx, arrays, worker):
    """Whether the kernel is to return, done or not: the call was interrupted."""

    def codegen(context, builder, signature, arguments):
        # The function follows the arrays, and gets their address.
        address = ir.IntType(8).as_pointer()
        function = ir.FunctionType(ir.IntType(32), [address, ir.IntType(64)]).as_pointer()
        slot = builder.gep(arguments[0], [ir.IntType(64)(MOST_ARRAYS)])
        stop = builder.load(builder.bitcast(slot, function.as_pointer()))
        answer = builder.call(stop, [builder.bitcast(arguments[0], address), arguments[1]])
        return builder.icmp_signed("!=", answer, ir.IntType(32)(0))

    return types.boolean(arrays, types.int64), codegen

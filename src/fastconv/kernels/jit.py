"""From a readable Python loop to a tile kernel's native address.

Numba compiles the loop as a C callback of the signature that `fastconv.threads` documents, so no Numba
dispatch, unboxing or threading layer stands between a call and its loop. Pointers are indexed directly:
there are no bounds, no wrap-around of negative indices, and LLVM sees plain addresses that it can vectorise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import cfunc, from_dtype, types
from numba.extending import intrinsic


def tile_kernel(loop: Callable[..., None], dtype: np.dtype) -> Any:
    """Compile ``loop(arrays, ints, scalars, begin, end, worker)`` for arrays of `dtype`; see its ``address``.

    The machine code is kept on disk, keyed by the loop's code and the constants that it closes over, where
    Numba finds a directory that it may write.
    """
    pointer = types.CPointer(from_dtype(dtype))
    signature = types.void(
        types.CPointer(pointer),
        types.CPointer(types.int64),
        types.CPointer(types.float64),
        *[types.int64] * 3,
    )
    # Contraction lets a multiplication and an addition fuse; nothing is reassociated, so sums keep their order.
    options = {"fastmath": {"contract"}, "error_model": "numpy"}
    try:
        return cfunc(signature, cache=True, **options)(loop)
    except RuntimeError:  # Numba found no directory for its cache
        return cfunc(signature, **options)(loop)


@intrinsic
def as_int64(typingctx, pointer):
    """`pointer` as one to int64, for the array of a kernel that is of another type than the rest."""
    target = types.CPointer(types.int64)

    def codegen(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], context.get_value_type(target))

    return target(pointer), codegen


@intrinsic
def finish_row(typingctx, function, values, offset, n, bias, m, code, parameter):
    """Call the epilogue (`kernels.epilogue.ROW`) at address `function` on ``values[offset : offset + n]``.

    A null `function` does nothing: the epilogue of dtypes that have none.
    """
    signature = types.void(function, values, types.int64, types.int64, bias, types.int64, types.int64, types.float64)

    def codegen(context, builder, signature, arguments):
        function, values, offset, n, bias, m, code, parameter = arguments
        byte, int64 = ir.IntType(8).as_pointer(), ir.IntType(64)
        row = ir.FunctionType(ir.VoidType(), [byte, int64, byte, int64, int64, ir.DoubleType()])
        with builder.if_then(builder.icmp_unsigned("!=", builder.ptrtoint(function, int64), int64(0))):
            builder.call(
                builder.bitcast(function, row.as_pointer()),
                [
                    builder.bitcast(builder.gep(values, [offset]), byte),
                    n,
                    builder.bitcast(bias, byte),
                    m,
                    code,
                    parameter,
                ],
            )
        return context.get_dummy_value()

    return signature, codegen

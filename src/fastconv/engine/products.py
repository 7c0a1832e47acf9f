"""Products of matrices: `linear` and its gradients."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np

from fastconv.engine.epilogue import PLAIN, Epilogue
from fastconv.engine.geometry import REMEMBERED, ProductGeometry
from fastconv.engine.launch import Launch
from fastconv.engine.plan import Kind, Plan, Solver, SumsDirectly
from fastconv.engine.rates import rates
from fastconv.engine.rounding import running_error

# Bytes of a row in a block of steps, whose sums are added up, so that they decide the roundings; a panel of such rows
# stays in L1.
STEP_BYTES = 4096

# Outputs per tile, and so rows of the weight that it reads.
_BLOCK_OUTPUTS = 128

# Rows are packed if x and the weight have enough of them: if the harmonic mean of both is twice this. Packing a value
# takes as long as multiplying it a dozen times, and saves a tenth to a fifth of each product.
_MANY_ROWS = 24

# Bytes of the rows of x that are packed at a time.
_BLOCK_BYTES = 1 << 20

# Share of the multiply-add peak that a few rows reach: a single one waits for the weight.
_SHARE = 0.25


def block_steps(dtype: np.dtype) -> int:
    """Steps of a block of an inner product."""
    return STEP_BYTES // dtype.itemsize


@functools.lru_cache(maxsize=REMEMBERED)
def _launch(
    g: ProductGeometry,
    dtype: np.dtype,
    threads: int,
    x_apart: int,
    out_apart: int,
    activation: int = 0,
    images: int = 1,
) -> Launch:
    """The launch for rows of x and of the output that are `x_apart` and `out_apart` elements from each other.

    The products of `images` problems, whose operands follow one another, are added up.
    """
    from fastconv.kernels.cpu import cache_bytes
    from fastconv.kernels.slots import LANES, MR, NR, arguments

    kc = block_steps(dtype)
    # A last block of fewer steps than lanes is summed value by value.
    packed = g.n * g.oc >= _MANY_ROWS * (g.n + g.oc) and (g.ic % kc or kc) >= LANES[dtype.itemsize]
    if packed:
        at_a_time = kc
        rows = min(g.n, _BLOCK_BYTES // (min(g.ic, kc) * dtype.itemsize) // MR * MR)
        sharing = -(-threads // -(-g.n // rows))
        block = -(-g.oc // (sharing * NR[dtype.itemsize])) * NR[dtype.itemsize]
    else:
        block = min(_BLOCK_OUTPUTS, -(-g.oc // (threads * MR)) * MR) or 1
        steps = max(1, cache_bytes()[1] // 2 // STEP_BYTES)  # blocks of steps that L2 holds, of all rows
        rows = max(1, min(g.n, steps))
        at_a_time = max(1, steps // rows) * kc
    ints = arguments("inner")(
        N=g.n,
        M=g.oc,
        K=g.ic,
        x_apart=x_apart,
        out_apart=out_apart,
        block=block,
        kc=kc,
        at_a_time=at_a_time,
        block_rows=rows,
        packed=packed,
        images=images,
        x_image=g.n * g.ic,
        w_image=g.oc * g.ic,
        activation=activation,
    )
    return Launch.of("inner", dtype, ints, -(-g.oc // block) * -(-g.n // rows))


def multiply_rows(x: np.ndarray, weight: np.ndarray, out: np.ndarray, threads: int, epilogue: Epilogue = PLAIN) -> None:
    """Compute ``x @ weight.T`` for matrices of one type.

    `weight` is contiguous, and so is each row of `x` and `out`.
    """
    g = ProductGeometry(len(x), x.shape[1], len(weight))
    apart = x.strides[0] // x.itemsize, out.strides[0] // out.itemsize
    launch = _launch(g, x.dtype, threads, *apart, epilogue.activation)
    launch.run((x, weight, epilogue.bias, out), threads, (epilogue.parameter,))


def multiply_images(x: np.ndarray, weight: np.ndarray, out: np.ndarray, threads: int) -> None:
    """Compute the sum over all images i of ``x[i] @ weight[i].T``, for contiguous arrays of one type."""
    images, n, steps = x.shape
    g = ProductGeometry(n, steps, weight.shape[1])
    launch = _launch(g, x.dtype, threads, steps, g.oc, images=images)
    launch.run((x, weight, None, out), threads, (0.0,))


def inner_error(steps: int, dtype: np.dtype) -> float:
    """Expected maximum error of inner products, in σ of the output.

    That of running sums of a block of steps, and of the sum of blocks.
    """
    return running_error(steps, dtype, min(steps, block_steps(dtype)) or 1)


class Inner(SumsDirectly):
    """Inner products of rows, whose bits are the same for any batch and any number of threads."""

    name = "inner"

    def refuse(self, geometry: ProductGeometry, dtype: np.dtype) -> str | None:
        return None if dtype.char in "fd" else f"computes float32 and float64, not {dtype}"

    def cost(self, geometry: ProductGeometry, dtype: np.dtype) -> float:
        return geometry.flops / (_SHARE * rates().flops(dtype.itemsize))

    def error(self, geometry: ProductGeometry, dtype: np.dtype) -> float:
        return inner_error(geometry.ic, dtype)

    def workspace_bytes(self, geometry: ProductGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        return 0

    def run(self, plan: Plan, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, out: np.ndarray) -> None:
        """Compute ``x @ weight.T + bias`` for C-contiguous arrays of one type; rows may have several axes."""
        g = plan.geometry
        multiply_rows(x.reshape(g.x_shape), weight, out.reshape(g.out_shape), plan.threads, Epilogue(bias))


class Product(Kind):
    name = "product"
    title = "the product"
    solvers: Sequence[Solver] = (Inner(),)

    def parse(self, descriptor: str) -> ProductGeometry:
        return ProductGeometry.parse(descriptor)

    def operations(self, geometry: ProductGeometry) -> int:
        return geometry.flops

    def shapes(self, geometry: ProductGeometry) -> tuple[tuple[int, ...], ...]:
        return geometry.x_shape, geometry.weight_shape, geometry.out_shape

    def call(self, plan: Plan, operands: tuple[np.ndarray, ...]) -> Callable[[], np.ndarray]:
        x, weight = operands
        out = np.empty(plan.geometry.out_shape, x.dtype)

        def call() -> np.ndarray:
            plan.strategy.run(plan, x, weight, None, out)
            return out

        return call


PRODUCT = Product()

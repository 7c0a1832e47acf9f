"""Plans of convolutions, as reports and ahead of the first call."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fastconv.engine import planner
from fastconv.engine.arrays import common_float
from fastconv.engine.convolution import STRATEGIES
from fastconv.engine.convolution.base import DEFAULT_MAX_WORKSPACE
from fastconv.engine.geometry import ConvGeometry, Padding, checked_shape
from fastconv.engine.launch import available_threads
from fastconv.engine.plan import Plan
from fastconv.errors import GeometryError


def strategies() -> tuple[str, ...]:
    """The names of the lowering strategies, in the planner's order.

    Examples
    --------
    >>> import fastconv
    >>> "im2col" in fastconv.strategies()
    True
    """
    return tuple(strategy.name for strategy in STRATEGIES)


def plan_conv2d(
    x_shape: Sequence[int],
    weight_shape: Sequence[int],
    *,
    dtype: npt.DTypeLike = np.float32,
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    strategy: str = "auto",
    tolerance: float | None = None,
    num_threads: int | None = None,
    max_workspace: int = DEFAULT_MAX_WORKSPACE,
    mode: str = "estimate",
) -> Plan:
    """How `conv2d` would compute a problem, and why; its repr is the report.

    Parameters
    ----------
    x_shape, weight_shape : sequence of int
        As `conv2d`'s arrays.
    dtype : dtype_like
        float32 or float64.
    stride, padding, dilation, groups, strategy, tolerance, num_threads
        As `conv2d`.
    max_workspace : int
        Bound on scratch memory, in bytes.
    mode : {"estimate", "measure"}
        Choose by estimated costs, or by timing the candidates once on random data.

    Returns
    -------
    Plan

    Raises
    ------
    GeometryError, UnsupportedError
        As `conv2d`.

    Examples
    --------
    >>> import fastconv
    >>> plan = fastconv.plan_conv2d((1, 64, 56, 56), (64, 64, 3, 3), padding=1)
    >>> plan.geometry.out_shape
    (1, 64, 56, 56)
    """
    if len(weight_shape) != 4:
        raise GeometryError(f"weight of shape {tuple(weight_shape)}: expected 4 axes (oc, ic / groups, kh, kw)")
    geometry = ConvGeometry.from_shapes(
        checked_shape("x_shape", x_shape),
        checked_shape("weight_shape", weight_shape),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )
    return planner.plan(
        geometry,
        common_float(dtype=np.empty(0, dtype)),
        strategy=strategy,
        tolerance=tolerance,
        threads=available_threads(num_threads),
        max_workspace=max_workspace,
        mode=mode,
    )


def warmup(*descriptors: str, dtype: npt.DTypeLike = np.float32, num_threads: int | None = None) -> tuple[str, ...]:
    """Plan problems now, so that the first convolutions need not.

    This takes about a millisecond per problem; plans are cached. The kernels of convolutions are compiled with the
    package, so no call waits for a compiler.

    Parameters
    ----------
    *descriptors : str
        Problems such as ``"n1 ic64 oc64 ih56 iw56 kh3 kw3 s1 p1"``; by default, image filters and depthwise layers
        with the usual kernels.
    dtype : dtype_like
        float32 or float64.
    num_threads : int, optional
        As `conv2d`.

    Returns
    -------
    tuple of str
        The strategy that "auto" chooses for each problem.

    Raises
    ------
    GeometryError
        A descriptor cannot be parsed, or describes a problem that does not exist.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.warmup("ic1 oc1 i1024 k5 p2", "ic512 oc512 i14 k1")
    ('direct', 'implicit')
    """
    type_ = common_float(dtype=np.empty(0, dtype))
    chosen = []
    for descriptor in descriptors or _USUAL:
        geometry = ConvGeometry.parse(descriptor).as_2d()
        plan = planner.plan(geometry, type_, threads=available_threads(num_threads))
        chosen.append(plan.strategy.name)
    return tuple(chosen)


# What `warmup` plans by default.
_USUAL = (
    *(f"ic1 oc1 i{extent} k{kernel} p{kernel // 2}" for extent in (128, 1024) for kernel in (3, 5, 7)),
    *(f"g32 ic32 oc32 i{extent} k3 s{stride} p1" for extent in (7, 14, 28, 56, 112) for stride in (1, 2)),
)

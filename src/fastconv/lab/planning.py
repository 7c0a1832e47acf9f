"""Plans, as reports and ahead of the first call."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fastconv.engine import planner
from fastconv.engine.arrays import common_float
from fastconv.engine.convolution.base import DEFAULT_MAX_WORKSPACE
from fastconv.engine.geometry import ConvGeometry, Padding, channels_first, checked_shape
from fastconv.engine.launch import available_threads
from fastconv.engine.plan import Plan
from fastconv.errors import GeometryError
from fastconv.lab.kinds import check_size, checked_dtype, checked_kind, naming_kinds, parsed
from fastconv.nn.operands import checked_layout


def strategies(kind: str = "convolution") -> tuple[str, ...]:
    """The names of the strategies for a kind of problem, in the planner's order.

    Parameters
    ----------
    kind : str
        As `plan`.

    Examples
    --------
    >>> import fastconv
    >>> "im2col" in fastconv.strategies()
    True
    """
    return checked_kind(kind).strategies()


@naming_kinds
def plan(
    problem: str | object,
    kind: str = "convolution",
    *,
    dtype: npt.DTypeLike = np.float32,
    strategy: str = "auto",
    tolerance: float | None = None,
    num_threads: int | None = None,
    max_workspace: int = DEFAULT_MAX_WORKSPACE,
    mode: str = "estimate",
) -> Plan:
    """How a problem of any kind would be computed, and why; its repr is the report.

    Parameters
    ----------
    problem : str or geometry
        A descriptor, such as ``"n1 ic64 oc64 ih56 iw56 kh3 kw3 s1 p1"``, or the `geometry` of a plan. See the notes for
        correlations.
    kind : str
        What to compute, one of {kinds}.
    dtype : dtype_like
        Type of the operands and the output.
    strategy : str
        The solver to use, or the one for the parts of a solver, by one of the names that `strategies` lists; "auto" for
        the cheapest.
    tolerance : float, optional
        Bound on the expected maximum error, in standard deviations σ of the output; it does not bind solvers that are
        componentwise accurate, and 0 admits only these. By default that of the functions that compute this kind.
    num_threads : int, optional
        Maximum number of threads; default `fastconv.get_num_threads`.
    max_workspace : int
        Bound on scratch memory, in bytes.
    mode : {"estimate", "measure"}
        Choose by estimated costs, or by timing the candidates on random data for one image.

    Returns
    -------
    Plan

    Raises
    ------
    GeometryError
        The descriptor cannot be parsed, or describes a problem that does not exist, or is to be measured and takes more
        than 4 GiB of memory.
    UnsupportedError
        No solver, or not the named one, can compute the problem.
    ValueError
        The kind or the strategy is unknown, or another argument is out of range.

    See Also
    --------
    compare : What each of them does on random data.

    Notes
    -----
    A correlation is what `signal.convolve2d` and `ndimage.correlate` compute: one image of one to three axes with one
    kernel. In its descriptor, ``p4`` counts the samples past each edge that outputs see, and a word says what they are:
    "zeros" (the default), "constant" (another value), "nearest", "reflect", "mirror" or "wrap", in the terms of
    `ndimage`. ``terms1 exact`` says that the kernel is an outer product with factors that reproduce every tap, such as
    a Gaussian, and ``terms2`` that it is a sum of two outer products. Otherwise nothing is known of its values: calls
    look for outer products when they see them. What they find, and whether sums of integers are exact in a faster type,
    may replace a part of the plan; the report lists what then runs.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.plan("ic3 oc64 i224 k3 p1").strategy.name
    'implicit'
    >>> fastconv.plan("i512 k9 p8 terms1 exact", "correlation").strategy.name
    'separable'
    """
    found = checked_kind(kind)
    geometry, type_ = parsed(problem, found), checked_dtype(dtype)
    if mode == "measure":
        check_size(found, found.one_image(geometry), type_)
    return planner.plan(
        geometry,
        type_,
        kind=found,
        strategy=strategy,
        tolerance=tolerance,
        threads=available_threads(num_threads),
        max_workspace=max_workspace,
        mode=mode,
    )


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
    layout: str = "NCHW",
) -> Plan:
    """How `conv2d` would compute a problem, and why; its repr is the report.

    Parameters
    ----------
    x_shape, weight_shape : sequence of int
        As `conv2d`'s arrays; `x_shape` in the order of `layout`.
    dtype : dtype_like
        float32 or float64.
    stride, padding, dilation, groups, strategy, tolerance, num_threads
        As `conv2d`.
    max_workspace : int
        Bound on scratch memory, in bytes.
    mode : {"estimate", "measure"}
        Choose by estimated costs, or by timing the candidates once on random data.
    layout : {"NCHW", "NHWC"}
        As `conv2d`.

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
    shape, channels_last = checked_shape("x_shape", x_shape), checked_layout(layout) == "NHWC"
    geometry = ConvGeometry.from_shapes(
        channels_first(shape) if channels_last else shape,
        checked_shape("weight_shape", weight_shape),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        channels_last=channels_last,
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
    >>> fastconv.warmup("ic1 oc1 i1024 k5 p2", "ic256 oc256 i28 k3 p1")
    ('direct', 'winograd4')
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

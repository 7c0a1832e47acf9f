"""Every solver on one problem: time, workspace and error, or the reason why it refuses.

For convolutions, `scipy.signal` is timed alongside, as a common yardstick.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv.engine import planner
from fastconv.engine.convolution import CONVOLUTION
from fastconv.engine.convolution.base import DEFAULT_MAX_WORKSPACE
from fastconv.engine.convolution.layouts import empty
from fastconv.engine.convolution.reference import convolve
from fastconv.engine.epilogue import PLAIN, Activation, Epilogue
from fastconv.engine.geometry import ConvGeometry, Padding
from fastconv.engine.launch import available_threads
from fastconv.engine.plan import Candidate, Kind, Plan
from fastconv.engine.timing import Contender, interleave
from fastconv.errors import GeometryError, UnsupportedError
from fastconv.lab.comparison import Comparison, Measurement
from fastconv.lab.kinds import check_size, checked_dtype, checked_kind, naming_kinds, parsed
from fastconv.lab.oracles import ORACLES, deviation, max_error
from fastconv.lab.peak import Peak
from fastconv.lab.yardstick import SCIPY, Yardstick
from fastconv.nn.operands import conv_operands

Progress = Callable[[int, int, str], None]


@naming_kinds
def compare(
    problem: str | object,
    kind: str = "convolution",
    *,
    dtype: npt.DTypeLike = np.float32,
    strategies: Sequence[str] | None = None,
    tolerance: float | None = None,
    num_threads: int | None = None,
    max_workspace: int = DEFAULT_MAX_WORKSPACE,
    repeats: int = 5,
    progress: Progress | None = None,
) -> Comparison:
    """Run every solver on one problem with random data and compare time, workspace and error.

    Parameters
    ----------
    problem : str or geometry
        A descriptor, such as ``"n1 ic64 oc64 ih56 iw56 kh3 kw3 s1 p1"``, or the `geometry` of a plan (see `plan`); the
        batch may not be empty.
    kind : str
        What to compute, one of {kinds}.
    dtype : dtype_like
        Type of the operands and the output.
    strategies : sequence of str, optional
        Some of the solvers of this kind; default all.
    tolerance : float, optional
        Bound on the expected error, in σ of the output. It only affects what "auto" would choose; every solver is
        measured.
    num_threads : int, optional
        Maximum number of threads; default `fastconv.get_num_threads`.
    max_workspace : int
        Bound on scratch memory, in bytes; solvers that need more are reported as refusing.
    repeats : int
        Timed bursts per contender, from 1 to 1000; slow ones get fewer.
    progress : callable, optional
        Called as ``progress(done, total, name)`` before each step.

    Returns
    -------
    Comparison

    Raises
    ------
    GeometryError
        The descriptor cannot be parsed, or describes a problem that does not exist, is empty, or takes more than 4 GiB
        of memory.
    ValueError
        A kind or a strategy is unknown, or another argument is out of range.

    See Also
    --------
    compare_conv2d : The same for a convolution of given arrays.

    Examples
    --------
    >>> import fastconv
    >>> comparison = fastconv.compare("ic3 oc4 i16 k3", strategies=["im2col"], repeats=1)
    >>> comparison.measurements[0].measured_error < 1e-5
    True
    """
    found = checked_kind(kind)
    geometry, type_ = parsed(problem, found), checked_dtype(dtype)
    check_size(found, geometry, type_)
    operands = found.operands(geometry, type_, np.random.default_rng(0))
    if found is CONVOLUTION:
        x, weight = operands
        task: _Task = _Convolution(geometry, x, weight, PLAIN)
    else:
        task = _Task(found, geometry, operands)
    return _compare(task, strategies, tolerance, num_threads, max_workspace, repeats, progress)


def compare_conv2d(
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    *,
    activation: Activation = None,
    strategies: Sequence[str] | None = None,
    tolerance: float | None = None,
    num_threads: int | None = None,
    max_workspace: int = DEFAULT_MAX_WORKSPACE,
    repeats: int = 5,
    progress: Progress | None = None,
) -> Comparison:
    """Run every strategy on one `conv2d` problem and compare time, workspace and error.

    Parameters
    ----------
    x, weight, bias, stride, padding, dilation, groups, activation
        As `conv2d`; the batch may not be empty.
    strategies : sequence of str, optional
        Some of `fastconv.engine.convolution`; default all.
    tolerance : float, optional
        As `conv2d`. It only affects what "auto" would choose; every strategy is measured.
    num_threads : int, optional
        Maximum number of threads; default `fastconv.get_num_threads`. ``scipy.signal`` always runs on one.
    max_workspace : int
        Bound on scratch memory, in bytes; strategies that need more are reported as refusing.
    repeats : int
        Timed bursts per contender, from 1 to 1000; slow ones get fewer.
    progress : callable, optional
        Called as ``progress(done, total, name)`` before each step.

    Returns
    -------
    Comparison

    Raises
    ------
    GeometryError
        As `conv2d`, and for an empty batch.
    ValueError
        A strategy is unknown, or another argument is out of range.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> rng = np.random.default_rng(0)
    >>> x, weight = rng.standard_normal((1, 3, 16, 16)), rng.standard_normal((4, 3, 3, 3))
    >>> comparison = fastconv.compare_conv2d(x, weight, strategies=["im2col"], repeats=1)
    >>> [measurement.name for measurement in comparison.measurements]
    ['im2col']
    >>> comparison.measurements[0].measured_error < 1e-14
    True
    """
    geometry, _, x, weight, epilogue = conv_operands(
        2, x, weight, bias, stride, padding, dilation, groups, activation, "NCHW"
    )
    task = _Convolution(geometry, x.reshape(geometry.x_shape), weight.reshape(geometry.weight_shape), epilogue)
    return _compare(task, strategies, tolerance, num_threads, max_workspace, repeats, progress)


class _Task:
    """A problem and its operands, as a comparison needs them."""

    has_yardstick = False

    def __init__(self, kind: Kind, geometry: Any, operands: tuple[np.ndarray, ...]) -> None:
        self.kind, self.geometry, self.operands = kind, geometry, operands
        self.dtype = operands[0].dtype

    def expected(self) -> np.ndarray:
        """The output, in double precision."""
        return ORACLES[self.kind.name](self.geometry, *self.operands)

    def call(self, plan: Plan) -> Callable[[], np.ndarray]:
        """A function that computes the output by `plan`."""
        return self.kind.call(plan, self.operands)

    def yardstick(self) -> Yardstick:
        """SciPy on the same problem, if it `has_yardstick`."""
        raise NotImplementedError

    def unevenness(self, expected: np.ndarray, sigma: float) -> float:
        """By how much the sums of this data can exceed the output's deviation `sigma`; at least 1."""
        return 1.0


class _Convolution(_Task):
    """A convolution of any data, with SciPy as a yardstick."""

    has_yardstick = True

    def __init__(self, geometry: ConvGeometry, x: np.ndarray, weight: np.ndarray, epilogue: Epilogue) -> None:
        super().__init__(CONVOLUTION, geometry, (x, weight))
        self.x, self.weight, self.epilogue = x, weight, epilogue
        self.out = empty(geometry, geometry.out_shape, x.dtype)

    def expected(self) -> np.ndarray:
        return convolve(self.geometry, self.x, self.weight, self.epilogue)

    def call(self, plan: Plan) -> Callable[[], np.ndarray]:
        def call() -> np.ndarray:
            plan.run_once(self.x, self.weight, self.epilogue, self.out)
            return self.out

        return call

    def yardstick(self) -> Yardstick:
        return Yardstick(self.geometry, self.x, self.weight, self.epilogue)

    def unevenness(self, expected: np.ndarray, sigma: float) -> float:
        """As above.

        Partial sums grow like the root of the sum of the squares of an output's products, which for independent data of
        mean 0 and equal variance is the deviation of every output. If the products have a mean, they also grow like
        the mean of the output: to two thirds of its square, averaged over the steps of a sum.
        """
        squares = []
        for array in self.operands:
            finite = np.abs(np.where(np.isfinite(array), array, 0).astype(np.result_type(array, np.float64)))
            largest = float(finite.max(initial=0.0)) or 1.0
            squares.append(((finite / largest) ** 2, largest))
        (pixels, x_scale), (taps, weight_scale) = squares
        sums = np.empty(self.geometry.out_shape)
        planner.plan(self.geometry, "float64", tolerance=0.0).run_once(pixels, taps, PLAIN, sums)
        with np.errstate(all="ignore"):
            means = np.abs(np.where(np.isfinite(expected), expected, 0).mean(axis=(0, 2, 3))) / sigma
            largest = sums.max(axis=(0, 2, 3)) * (x_scale / sigma * weight_scale) ** 2 + means**2 * (2 / 3)
            factor = float(np.sqrt(largest.max(initial=0.0)))
        return max(1.0, factor) if math.isfinite(factor) else 1.0


def _compare(
    task: _Task,
    strategies: Sequence[str] | None,
    tolerance: float | None,
    num_threads: int | None,
    max_workspace: int,
    repeats: int,
    progress: Progress | None,
) -> Comparison:
    kind, geometry, dtype = task.kind, task.geometry, task.dtype
    names = _checked_names(strategies, kind)
    _check_integer("repeats", repeats, 1, 1000)
    _check_integer("max_workspace", max_workspace, 0, sys.maxsize)
    if any(operand.size == 0 for operand in task.operands):
        raise GeometryError(f"{kind.describe(geometry)} has no image: expected a batch of at least 1")
    threads = available_threads(num_threads)
    limits: dict[str, Any] = {"kind": kind, "tolerance": tolerance, "threads": threads, "max_workspace": max_workspace}
    try:
        auto = planner.plan(geometry, dtype, **limits)
    except UnsupportedError:
        auto = None
    found = {name: _strategy(name, geometry, dtype, limits) for name in names}
    plans = {name: plan for name, (_, plan) in found.items() if plan is not None}

    operations = kind.operations(geometry)
    peak = Peak(dtype.itemsize)
    timed = len(plans) + task.has_yardstick
    step = _steps(progress, 1 + timed + (timed + 1) * (repeats + 1))

    step("reference")
    expected = task.expected()
    sigma = deviation(expected)
    unevenness = task.unevenness(expected, sigma)
    contenders, errors = {}, {}
    for name, plan in plans.items():
        step(name)
        call = task.call(plan)
        contenders[name] = contender = Contender(name, call)
        # An output that is left unwritten must not pass with the value that memory had from another contender.
        contender.output.fill(np.nan if dtype.kind in "fc" else 0)
        errors[name] = max_error(call(), expected, sigma)
    racing, yardstick = [*contenders.values()], None
    if task.has_yardstick:
        step(SCIPY)
        yardstick = task.yardstick()
        racing.append(yardstick.contender)
    interleave([*racing, peak.contender], repeats, step)

    measurements = [
        Measurement(
            c.name,
            c.refusal,
            **_times(contenders.get(c.name)),
            workspace_bytes=c.workspace_bytes,
            expected_error=None if c.error is None else c.error * unevenness,
            measured_error=errors.get(c.name),
            componentwise=c.componentwise,
            local=c.local,
            note=_why_not(plan, auto),
        )
        for c, plan in found.values()
    ]
    return Comparison(
        kind=kind,
        geometry=geometry,
        dtype=dtype.name,
        threads=threads,
        operations=operations,
        peak_flops=None if operations is None else peak.flops * min(threads, _cores()),
        noise=peak.noise,
        shared=peak.shared,
        tolerance=None if auto is None else auto.bound,
        max_workspace=max_workspace,
        auto=None if auto is None else auto.strategy.name,
        measurements=tuple(sorted(measurements, key=lambda m: math.inf if m.seconds is None else m.seconds)),
        scipy=None if yardstick is None else yardstick.measurement(expected, sigma),
    )


def _strategy(name: str, geometry: Any, dtype: np.dtype, limits: dict[str, Any]) -> tuple[Candidate, Plan | None]:
    """What is known of a strategy under these limits, and its plan unless it refuses."""
    try:
        plan = planner.plan(geometry, dtype, strategy=name, **limits)
    except UnsupportedError as error:
        for solver in limits["kind"].solvers:
            if solver.name == name:
                bounds = limits["threads"], limits["max_workspace"]
                found = planner.candidate(solver, geometry, dtype, limits["tolerance"], *bounds, forced=True)
                if found.refusal is not None:
                    return found, None
        return Candidate(name, str(error).removeprefix(f"strategy={name!r} ")), None
    accuracy = plan.error, plan.componentwise, plan.local
    return Candidate(name, None, plan.seconds, plan.workspace_bytes, *accuracy), plan


def _why_not(plan: Plan | None, auto: Plan | None) -> str | None:
    """Why "auto" leaves out a solver that runs when it is named."""
    if plan is None or auto is None:
        return None
    refusals = {c.name: c.refusal for c in auto.candidates}
    refusal = refusals[plan.strategy.name]
    return None if refusal is None else f"auto leaves it out: {refusal}"


def _checked_names(strategies: Sequence[str] | None, kind: Kind) -> list[str]:
    known = kind.strategies()
    names = list(known if strategies is None else dict.fromkeys(strategies))
    if not names or not set(names) <= set(known) or isinstance(strategies, str):
        raise ValueError(f"strategies={strategies!r}: expected some of {', '.join(known)}")
    return names


def _check_integer(name: str, value: int, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{name}={value!r}: expected an int from {low} to {high}")


def _cores() -> int:
    """The cores that threads can keep busy."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _steps(progress: Progress | None, total: int) -> Callable[[str], None]:
    done = count()

    def step(name: str) -> None:
        if progress is not None:
            progress(next(done), total, name)

    return step


def _times(contender: Contender | None) -> dict[str, Any]:
    if contender is None:
        return {}
    return {
        "seconds": contender.seconds,
        "first_seconds": contender.first_seconds,
        "repeats": len(contender.samples),
        "samples": tuple(contender.samples),
    }

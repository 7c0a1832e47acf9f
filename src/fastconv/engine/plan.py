"""A plan: which strategy computes a problem, and why. Its repr is the report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from fastconv.engine.epilogue import Epilogue
from fastconv.engine.geometry import ConvGeometry
from fastconv.engine.replay import note


@dataclass(frozen=True, slots=True)
class Candidate:
    """What the planner knew of one strategy: a reason to leave it out, or its price.

    Attributes
    ----------
    name : str
    refusal : str or None
        Why it was left out.
    seconds : float or None
        Estimated or measured time of a call; ``None`` if the strategy cannot, or is not accurate enough.
    workspace_bytes : int or None
        Scratch memory, likewise.
    error : float or None
        Expected maximum error in standard deviations σ of the output, for independent data of mean 0 and equal
        variance. Data with a mean, or of uneven magnitude, err in proportion to the largest root of the sum of the
        squares of an output's products, which is σ there; ``None`` if the strategy cannot.
    componentwise : bool
        Whether each output errs by a few roundings of the sum of its own products' magnitudes.
    local : bool
        Whether NaN and infinity reach only the outputs that see them.
    """

    name: str
    refusal: str | None
    seconds: float | None = None
    workspace_bytes: int | None = None
    error: float | None = None
    componentwise: bool = False
    local: bool = False


@dataclass(frozen=True, repr=False)
class Plan:
    """How one convolution is computed; immutable, shareable between threads.

    Attributes
    ----------
    geometry : ConvGeometry
        The problem.
    dtype : str
        Type of the input, the weight and the output.
    strategy : Strategy
        The one that was chosen.
    threads : int
        At most as many run.
    tolerance : float
        Bound on the expected maximum error, in standard deviations of the output; it does not bind strategies that are
        componentwise accurate, and 0 admits only these.
    max_workspace : int
        Bound on scratch memory, in bytes.
    mode : {"estimate", "measure"}
        Whether seconds are estimated or measured, here and in `candidates`.
    prepared : bool
        Whether calls bring a weight that was prepared before, so that its preparation is not in their price.
    seconds : float
        Estimated or measured time of a call.
    list_candidates : callable
        Makes `candidates`.
    """

    geometry: ConvGeometry
    dtype: str
    strategy: Any
    threads: int
    tolerance: float
    max_workspace: int
    mode: str
    prepared: bool
    seconds: float
    list_candidates: Callable[[], tuple[Candidate, ...]] = field(compare=False)

    @cached_property
    def candidates(self) -> tuple[Candidate, ...]:
        """Every strategy, with its price or the reason why it was left out; few calls ask for it."""
        return self.list_candidates()

    @property
    def componentwise(self) -> bool:
        """Whether each output errs by a few roundings of the sum of its own products' magnitudes."""
        return bool(self.strategy.componentwise(self.geometry))

    def run_once(self, x: np.ndarray, weight: np.ndarray, epilogue: Epilogue, out: np.ndarray) -> None:
        """Compute the problem; arrays may lack the batch axis, and the height of a 1-D problem."""
        g = self.geometry
        if weight.ndim != g.ndim + 2:
            weight = weight.reshape(g.weight_shape)
        if x.ndim != g.ndim + 2:
            x, out = x.reshape(g.x_shape), out.reshape(g.out_shape)
        note(g, ", ", self.dtype, ", by ", self.strategy.name, threads=self.threads)
        self.strategy.run_once(g, x, weight, out, epilogue, self.threads, self.max_workspace)

    def __repr__(self) -> str:
        accuracy = "componentwise" if self.componentwise else f"expected error at most {self.tolerance:.1e} σ"
        word = "estimated" if self.mode == "estimate" else "measured"
        lines = [
            f"Plan for {self.geometry}, {self.dtype}{', weight prepared' if self.prepared else ''}",
            f"  {self.strategy.name} on {self.threads} thread{'s' if self.threads > 1 else ''}, accuracy: {accuracy}, "
            f"workspace at most {format_bytes(self.max_workspace)}",
            f"  {'strategy':<12}{word:>9}  {'workspace':>9}  {'error/σ':>7}  {'accuracy':<13}  {'NaN':<7}",
        ]
        for c in self.candidates:
            mark = "*" if c.name == self.strategy.name else " "
            facts = ""
            if c.error is not None:
                seconds = "" if c.seconds is None else format_seconds(c.seconds)
                workspace = "" if c.workspace_bytes is None else format_bytes(c.workspace_bytes)
                accuracy = "componentwise" if c.componentwise else "normwise"
                nan = "stays" if c.local else "spreads"
                facts = f"{seconds:>9}  {workspace:>9}  {c.error:7.1e}  {accuracy:<13}  {nan:<7}"
            reason = "" if c.refusal is None else f"  {c.refusal}"
            lines.append(f"{mark} {c.name:<12}{facts}{reason}")
        return "\n".join(lines)


def format_bytes(count: int) -> str:
    """``1.5 MiB``"""
    value, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
    while value >= 1024 and len(units) > 1:
        value /= 1024
        units.pop(0)
    return f"{value:.0f} {units[0]}" if value >= 100 or units[0] == "B" else f"{value:.1f} {units[0]}"


def format_seconds(seconds: float) -> str:
    """``1.5 ms``"""
    for unit, scale in (("µs", 1e-6), ("ms", 1e-3), ("s", 1.0)):
        value = seconds / scale
        if value < 999.5:  # three digits at most, once rounded
            return f"{value:.3g} {unit}"
    return f"{value:,.0f} s"


def format_percent(share: float) -> str:
    """``54.8 %``, ``155 %``"""
    percent = 100 * share
    return f"{percent:.0f} %" if percent >= 99.95 else f"{percent:.1f} %"

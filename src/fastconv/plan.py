"""A plan: which strategy computes a problem, and why. Its repr is the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastconv.geometry import ConvGeometry


@dataclass(frozen=True, slots=True)
class Candidate:
    """What the planner knew of one strategy: a reason to leave it out, or its price."""

    name: str
    refusal: str | None
    seconds: float | None = None
    workspace_bytes: int | None = None
    error: float | None = None


@dataclass(frozen=True, slots=True, repr=False)
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
        Bound on the expected maximum error, in standard deviations of the output.
    max_workspace : int
        Bound on scratch memory, in bytes.
    mode : {"estimate", "measure"}
        Whether `candidates` carry estimated or measured seconds.
    prepared : bool
        Whether calls bring a weight that was prepared before, so that its preparation is not in their price.
    candidates : tuple of Candidate
        Every strategy, with its price or the reason why it was left out.
    """

    geometry: ConvGeometry
    dtype: str
    strategy: Any
    threads: int
    tolerance: float
    max_workspace: int
    mode: str
    prepared: bool
    candidates: tuple[Candidate, ...]

    def __repr__(self) -> str:
        word = "estimated" if self.mode == "estimate" else "measured"
        lines = [
            f"Plan for {self.geometry}, {self.dtype}{', weight prepared' if self.prepared else ''}",
            f"  {self.strategy.name} on {self.threads} thread{'s' if self.threads > 1 else ''}, expected error at "
            f"most {self.tolerance:.1e} σ, workspace at most {format_bytes(self.max_workspace)}",
            f"  {'strategy':<12}{word:>11}  {'workspace':>10}  {'error/σ':>8}",
        ]
        for c in self.candidates:
            mark = "*" if c.name == self.strategy.name else " "
            price = "" if c.seconds is None else f"{format_seconds(c.seconds):>11}"
            if c.error is not None:
                price += f"  {format_bytes(c.workspace_bytes or 0):>10}  {c.error:8.1e}"
            reason = "" if c.refusal is None else f"  {c.refusal}"
            lines.append(f"{mark} {c.name:<12}{price}{reason}")
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
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale or unit == "µs":
            break
    return f"{seconds / scale:.3g} {unit}"

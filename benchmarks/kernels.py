"""``python -m benchmarks.kernels``: the compiled kernels one by one, as a share of what the core can do.

Each kernel is timed through the public function that runs little else, on one thread and on data that fit in L2, so
that a change to one header of kernels/simd shows in one row. Kernels that compute are compared with the measured peak
of multiply-adds, counting the operations of the direct algorithm; kernels that move values, with a copy of as many
bytes. Peak and copy are measured in the same rounds.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import numpy as np

import fastconv
from fastconv import grad, ndimage, nn, signal
from fastconv.engine.convolution import BY_NAME
from fastconv.engine.geometry import ConvGeometry
from fastconv.engine.plan import format_percent, format_seconds
from fastconv.engine.timing import Contender, interleave
from fastconv.kernels import cpu, slots

Call = Callable[[], object]

_PAGE = 4096

# Kernels that others call: they are timed as parts of these.
PARTS = {"peak", "gemm_tile", "epilogue", "fft_weight", "maximum", "minimum", "sum", "mean"}


@dataclass(frozen=True)
class Case:
    """A call that spends its time in one kernel, and the operations or the bytes that it takes."""

    kernel: str
    problem: str
    call: Call
    flops: float = 0.0
    moved: float = 0.0


def _values(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape, np.float32)


def _short(g: ConvGeometry) -> str:
    """The descriptor without the batch, which is 1 in all cases."""
    return str(g).removeprefix("n1 ")


def _convolution(kernel: str, descriptor: str, strategy: str) -> Case:
    g = ConvGeometry.parse(descriptor)
    x, weight = _values(*g.x_shape), _values(*g.weight_shape)
    window = {"stride": g.stride, "padding": g.padding, "groups": g.g}
    layer = fastconv.prepare_conv2d(weight, **window, strategy=strategy, num_threads=1)
    out = layer(x)
    return Case(kernel, f"{strategy} {_short(g)}", lambda: layer(x, out=out), flops=g.flops)


def _weight_gradient(kernel: str, descriptor: str) -> Case:
    g = ConvGeometry.parse(descriptor)
    x, grad_output = _values(*g.x_shape), _values(*g.out_shape)
    window = {"stride": g.stride, "padding": g.padding, "groups": g.g}

    def call() -> np.ndarray:
        return grad.conv2d_weight(x, g.weight_shape, grad_output, **window)

    return Case(kernel, f"gradient {_short(g)}", call, flops=g.flops)


def _preparation(kernel: str, descriptor: str, strategy: str) -> Case:
    """The packing or transform of a weight, on its own."""
    g = ConvGeometry.parse(descriptor)
    weight, chosen = _values(*g.weight_shape), BY_NAME[strategy]

    def call() -> object:
        return chosen.prepare(g, weight, 1)

    return Case(kernel, f"{strategy} {_short(g)}", call, moved=2 * weight.nbytes)


def _moving(kernel: str, problem: str, call: Callable[[], np.ndarray], x: np.ndarray) -> Case:
    return Case(kernel, problem, call, moved=x.nbytes + call().nbytes)


def cases() -> list[Case]:
    """At least one case per kernel of simd/slots.h, and some of the kernels in Cython and Numba."""
    image, maps, scores = _values(200, 200), _values(1, 32, 32, 32), _values(64, 500)
    weight, slopes, bell = _values(256, 256), _values(32), np.exp(-(np.linspace(-3, 3, 9) ** 2)).astype(np.float32)
    gaussian = np.outer(bell, bell)
    return [
        _convolution("implicit", "ic64 oc64 i20 k3 p1", "implicit"),
        _convolution("implicit", "ic256 oc64 i14 k1", "implicit"),
        _preparation("pack_left", "ic64 oc64 i20 k3 p1", "implicit"),
        _convolution("winograd", "ic64 oc64 i20 k3 p1", "winograd2"),
        _convolution("winograd", "ic64 oc64 i20 k3 p1", "winograd4"),
        _preparation("winograd_weight", "ic64 oc64 i20 k3 p1", "winograd4"),
        _convolution("filter", "ic1 oc1 i200 k3 p1", "direct"),
        _convolution("filter", "ic1 oc1 i200 k11 p5", "direct"),
        _convolution("rolling", "g32 ic32 oc32 i32 k3 p1", "direct"),
        _convolution("interleaved", "g64 ic64 oc64 i14 k3 s2 p1", "interleaved"),
        _convolution("indirect", "g32 ic512 oc512 i14 k3 s2 p1", "indirect"),
        _preparation("pack_panels", "g32 ic512 oc512 i14 k3 s2 p1", "indirect"),
        _convolution("winograd_pixels", "g32 ic512 oc512 i14 k3 p1", "winograd4"),
        _convolution("fft", "ic4 oc4 i64 k15 p7", "fft"),
        Case(
            "separable",
            "Gaussian of 9×9 on 200×200",
            lambda: signal.convolve2d(image, gaussian, mode="same"),
            flops=2 * 2 * 9 * image.size,
        ),
        _weight_gradient("weight_gradient", "ic64 oc64 i20 k3 p1"),
        _weight_gradient("tap_gradient", "g32 ic32 oc32 i32 k3 p1"),
        Case(
            "inner",
            "linear, 32 samples, 256 to 256",
            lambda: nn.linear(weight[:32], weight),
            flops=2 * 32 * weight.size,
        ),
        _moving("windows", "maximum of 7×7 on 200×200", lambda: ndimage.maximum_filter(image, 7), image),
        _moving("windows", "mean of 7×7 on 200×200", lambda: ndimage.uniform_filter(image, 7), image),
        _moving("activation", "relu", lambda: nn.relu(maps), maps),
        _moving("activation", "gelu", lambda: nn.gelu(maps), maps),
        _moving("softmax", "64×500", lambda: nn.softmax(scores, 1), scores),
        _moving("channels", "prelu", lambda: nn.prelu(maps, slopes), maps),
        _moving("lowering", "im2col of 3×3", lambda: fastconv.im2col(maps, 3, padding=1), maps),
        _moving("pools", "maximum of 2×2", lambda: fastconv.max_pool2d(maps, 2), maps),
        _moving("pools", "mean of 3×3, stride 2", lambda: fastconv.avg_pool2d(maps, 3, 2), maps),
    ]


def measure(case: Case, repeats: int) -> tuple[float, float]:
    """Seconds per call, and the share of the core's multiply-add peak or of the rate of a copy."""
    timed = Contender(case.kernel, case.call)
    if case.moved:
        # Half a page apart: at the same offset within a page, loads would wait for stores.
        count = int(case.moved / 2)
        both = np.ones(2 * count + 2 * _PAGE, np.uint8)
        source = both[:count]
        target = both[-(-count // _PAGE) * _PAGE + _PAGE // 2 :][:count]
        copied = Contender("copy", lambda: np.copyto(target, source))
        interleave([timed, copied], repeats)
        return timed.seconds, copied.seconds / timed.seconds
    peaks = []
    interleave([timed], repeats, lambda name: peaks.append(cpu.measure_peak_flops(4, seconds=0.001)))
    return timed.seconds, case.flops / timed.seconds / median(peaks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", metavar="REGEX", default="", help="kernels and problems that match")
    parser.add_argument("--repeats", type=int, default=7, help="timed bursts each (default: 7)")
    options = parser.parse_args()
    print(f"{cpu.isa()}, float32, one thread\n\n{'kernel':<16}{'problem':<50}{'time':>8}")
    with fastconv.num_threads(1):
        timed = cases()
        for case in timed:
            if re.search(options.only, f"{case.kernel} {case.problem}"):
                seconds, share = measure(case, options.repeats)
                measured_by = "copy" if case.moved else "peak"
                figures = f"{format_seconds(seconds):>8}  {format_percent(share):>7} of {measured_by}"
                print(f"{case.kernel:<16}{case.problem:<50}{figures}", flush=True)
    missing = {name for name, _ in slots.kernels()} - {case.kernel for case in timed} - PARTS
    if missing:
        print(f"\nnot timed: {', '.join(sorted(missing))}")


if __name__ == "__main__":
    main()

"""``python -m benchmarks.calls``: what a call costs on arrays so small that little else counts, in microseconds.

Each row is one public function of fastconv beside that of torch or SciPy with the same name and arguments, on one
thread, interleaved in bursts. Results are compared first. What is shown is a repeated call.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

import fastconv
from fastconv import grad, ndimage, nn, signal
from fastconv.engine.timing import Contender, interleave

_BURSTS = 15


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


def torch_function(path: str, threads: int = 1) -> Callable[..., Any] | None:
    """A function of torch, as one that takes the arguments of a call and returns the call; ``None`` without torch."""
    try:
        torch = import_module("torch")
    except ImportError:
        return None
    torch.set_num_threads(threads)
    function = torch
    for name in path.split("."):
        function = getattr(function, name)

    def as_tensor(value: Any) -> Any:
        return torch.from_numpy(value) if isinstance(value, np.ndarray) else value

    def prepared(*args: Any, **kwargs: Any) -> Callable[[], Any]:
        args, kwargs = [as_tensor(a) for a in args], {name: as_tensor(a) for name, a in kwargs.items()}
        return partial(function, *args, **kwargs)

    return prepared


def scipy_function(path: str) -> Callable[..., Any]:
    """As `torch_function`."""
    module, name = path.rsplit(".", 1)
    function = getattr(import_module(f"scipy.{module}"), name)
    return lambda *args, **kwargs: partial(function, *args, **kwargs)


def calls() -> dict[str, tuple[Callable[[], Any], Callable[[], Any] | None]]:
    """Each row's call of fastconv, and that of its peer."""
    rows: dict[str, tuple[Callable[[], Any], Callable[[], Any] | None]] = {}

    def beside_torch(label: str, ours: Callable[..., Any], path: str, *args: Any, **kwargs: Any) -> None:
        theirs = torch_function(path)
        rows[label] = partial(ours, *args, **kwargs), theirs and theirs(*args, **kwargs)

    def beside_scipy(label: str, ours: Callable[..., Any], path: str, *args: Any, **kwargs: Any) -> None:
        rows[label] = partial(ours, *args, **kwargs), scipy_function(path)(*args, **kwargs)

    functional = "nn.functional"
    x, filters, features = floats(1, 3, 8, 8), floats(4, 3, 3, 3), floats(4, 8, 6, 6)
    volume, volumes = floats(1, 2, 4, 6, 6), floats(2, 2, 3, 3, 3)
    back, rows_, weight = floats(1, 4, 8, 8), floats(8, 16), floats(10, 16)
    channel = [np.abs(floats(n, 8)[0]) + 1 for n in range(1, 5)]
    for name in ("relu", "sigmoid", "tanh", "gelu"):
        beside_torch(name, getattr(nn, name), f"{functional}.{name}", x)
    for name in ("softmax", "log_softmax"):
        beside_torch(name, getattr(nn, name), f"{functional}.{name}", rows_, dim=1)
    beside_torch("linear", nn.linear, f"{functional}.linear", rows_, weight, weight[:, 0].copy())
    beside_torch("batch_norm", nn.batch_norm, f"{functional}.batch_norm", features, *channel)
    beside_torch("cross_entropy", nn.cross_entropy, f"{functional}.cross_entropy", rows_, np.arange(8))
    beside_torch("local_response_norm", nn.local_response_norm, f"{functional}.local_response_norm", features, 5)
    beside_torch("conv1d", fastconv.conv1d, f"{functional}.conv1d", x[0], floats(4, 8, 3), padding=1)
    beside_torch("conv2d", fastconv.conv2d, f"{functional}.conv2d", x, filters, padding=1)
    prepared = fastconv.prepare_conv2d(filters, padding=1)
    rows["conv2d, prepared"] = partial(prepared, x), rows["conv2d"][1]
    beside_torch("conv3d", fastconv.conv3d, f"{functional}.conv3d", volume, volumes, padding=1)
    transposed = {"stride": 2, "padding": 1}
    beside_torch("conv_transpose2d", fastconv.conv_transpose2d, f"{functional}.conv_transpose2d", back, filters)
    label = "conv_transpose2d, stride 2"
    beside_torch(label, fastconv.conv_transpose2d, f"{functional}.conv_transpose2d", back, filters, **transposed)
    beside_torch("grad.conv2d_input", grad.conv2d_input, "nn.grad.conv2d_input", x.shape, filters, back, padding=1)
    beside_torch("grad.conv2d_weight", grad.conv2d_weight, "nn.grad.conv2d_weight", x, filters.shape, back, padding=1)
    for name in ("max_pool2d", "avg_pool2d"):
        beside_torch(name, getattr(fastconv, name), f"{functional}.{name}", x, 2)
    for name in ("adaptive_avg_pool2d", "adaptive_max_pool2d"):
        beside_torch(name, getattr(fastconv, name), f"{functional}.{name}", x, 3)

    image, kernel, line = floats(16, 16), floats(3, 3), floats(200, 1)[:, 0].copy()
    small, in_bytes = image[:8, :8].copy(), (np.abs(image) * 50).astype(np.uint8)
    footprint = np.array([[False, True, False], [True, True, True], [False, True, False]])
    for mode, boundary in (("full", "fill"), ("same", "symm"), ("same", "wrap"), ("valid", "fill")):
        beside_scipy(
            f"convolve2d 8x8 {mode} {boundary}", signal.convolve2d, "signal.convolve2d", small, kernel, mode, boundary
        )
    beside_scipy("signal.convolve 8x8", signal.convolve, "signal.convolve", small, kernel)
    beside_scipy("sepfir2d 16x16", signal.sepfir2d, "signal.sepfir2d", image, kernel[0].copy(), kernel[1].copy())
    for kind, array in (("", image), (", bytes", in_bytes)):
        weights = kernel if kind == "" else [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
        beside_scipy(f"ndimage.correlate{kind}", ndimage.correlate, "ndimage.correlate", array, weights)
        beside_scipy(f"uniform_filter{kind}", ndimage.uniform_filter, "ndimage.uniform_filter", array, 3)
        beside_scipy(f"gaussian_filter{kind}", ndimage.gaussian_filter, "ndimage.gaussian_filter", array, 1.0)
        beside_scipy(f"maximum_filter{kind}", ndimage.maximum_filter, "ndimage.maximum_filter", array, 3)
    beside_scipy("correlate1d", ndimage.correlate1d, "ndimage.correlate1d", image, [1.0, 2.0, 1.0])
    label, path = "maximum_filter, footprint", "ndimage.maximum_filter"
    beside_scipy(label, ndimage.maximum_filter, path, image, footprint=footprint)
    for kind, array in (("", line), (", bytes", (np.abs(line) * 50).astype(np.uint8))):
        beside_scipy(f"uniform_filter1d{kind}", ndimage.uniform_filter1d, "ndimage.uniform_filter1d", array, 5)
    return rows


def check(label: str, ours: Callable[[], Any], theirs: Callable[[], Any]) -> None:
    """Refuse to time what differs."""
    found, expected = np.asarray(ours()), np.asarray(theirs())
    atol = 1 if found.dtype.kind in "iu" else 1e-4 * max(1.0, float(np.abs(expected).max()))
    if found.shape != expected.shape or not np.allclose(found, expected, atol=atol):
        raise AssertionError(f"{label}: the results differ")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calls", description=__doc__.splitlines()[0])
    parser.add_argument("--only", metavar="PATTERN", default="", help="rows whose name this regular expression matches")
    options = parser.parse_args(arguments)
    fastconv.set_num_threads(1)
    print(f"{'call':<28} {'fastconv':>9} {'peer':>9} {'ratio':>6}  µs")
    for label, (ours, theirs) in calls().items():
        if not re.search(options.only, label):
            continue
        if theirs is None:
            theirs = ours  # its peer is not installed
        check(label, ours, theirs)
        contenders = [Contender(name, call) for name, call in (("ours", ours), ("theirs", theirs))]
        interleave(contenders, _BURSTS)
        mine, peer = (contender.seconds * 1e6 for contender in contenders)
        beside = f"{'–':>9}" if theirs is ours else f"{peer:9.2f} {peer / mine:6.2f}"
        print(f"{label:<28} {mine:9.2f} {beside}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Ctrl-C ends long work: that of every kernel, of one enormous tile, of NumPy's passes over large arrays.

The calls here would take minutes, and some years; what is not interrupted ends the process with a traceback. Huge
arrays are broadcast views of one number, and results that are never finished take only the pages that were written.
"""

import contextlib
import faulthandler
import signal

import numpy as np
import pytest

import fastconv
from fastconv import grad, ndimage, nn
from fastconv import signal as filters

F4 = np.float32


def view(*shape, dtype=F4):
    """One number, seen as an array of any size."""
    return np.broadcast_to(dtype(1), shape)


# Seconds between signals: a call that is interrupted ends long before the next one.
AGAIN = 10.0


@contextlib.contextmanager
def interrupted(after=0.2):
    """A signal whose handler raises, after so many seconds or once a kernel is compiled.

    It comes again, since Python drops an exception that is raised within a finalizer.
    """

    def handler(number, frame):
        while frame is not None:
            if frame.f_globals.get("__name__", "").startswith(("numba", "llvmlite", "importlib")):
                signal.setitimer(signal.ITIMER_REAL, after, AGAIN)
                return
            frame = frame.f_back
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, handler)
    faulthandler.dump_traceback_later(100, exit=True)
    signal.setitimer(signal.ITIMER_REAL, after, AGAIN)
    try:
        with pytest.raises(KeyboardInterrupt):
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, before)


FAR = 1 << 24

LONG = {
    "one maximum": lambda: fastconv.max_pool2d(view(1, 1, FAR, FAR), FAR),
    "one maximum of a column": lambda: fastconv.max_pool2d(view(1, 1, FAR**2, 1), (FAR**2, 1)),
    "one maximum of a row": lambda: fastconv.max_pool1d(view(1, 1, FAR**2), FAR**2),
    "one place": lambda: fastconv.max_pool2d(view(1, 1, FAR, FAR), FAR, return_indices=True),
    "one place in a row": lambda: fastconv.max_pool1d(view(1, 1, FAR**2), FAR**2, return_indices=True),
    "places": lambda: fastconv.max_pool2d(view(1, 1, FAR, FAR), 1 << 20, 1 << 19, return_indices=True),
    "maxima of integers": lambda: fastconv.max_pool2d(view(1, 1, FAR, FAR, dtype=np.uint8), 1 << 20, 1 << 20),
    "maxima far apart": lambda: fastconv.max_pool2d(view(1 << 20, 1, 4096, 4096), 999, 999, dilation=2),
    "one mean": lambda: fastconv.avg_pool2d(view(1, 1, FAR, FAR), FAR),
    "a global mean": lambda: fastconv.global_avg_pool2d(view(1, 1, FAR, FAR)),
    "adaptive means": lambda: fastconv.adaptive_avg_pool2d(view(1, 1, FAR, FAR), 3),
    "an adaptive mean of a row": lambda: fastconv.adaptive_avg_pool1d(view(1, 1, FAR**2), 3),
    "adaptive means of columns": lambda: fastconv.adaptive_avg_pool2d(view(1, 1, FAR**2, 2), (3, 2)),
    "adaptive maxima of a row": lambda: fastconv.adaptive_max_pool1d(view(1, 1, FAR**2), 3),
    "adaptive places in a row": lambda: fastconv.adaptive_max_pool1d(view(1, 1, FAR**2), 3, return_indices=True),
    "random maxima": lambda: fastconv.fractional_max_pool2d(view(1, 1, FAR, FAR), 1 << 20, 2, rng=0),
    "maxima in a volume": lambda: fastconv.max_pool3d(view(1, 1, 1 << 12, 1 << 12, FAR), 1 << 12),
    "direct": lambda: fastconv.conv2d(view(1, 1, 8192, 8192), np.ones((1, 1, 2048, 2048), F4), strategy="direct"),
    "direct, integers": lambda: filters.convolve2d(
        view(8192, 8192, dtype=np.int64), np.ones((1024, 1024), np.int64), mode="valid"
    ),
    "implicit": lambda: fastconv.conv2d(view(1, 1, 8192, 8192), np.ones((1, 1, 2048, 2048), F4), strategy="implicit"),
    "separable": lambda: fastconv.conv2d(
        view(1, 1, 1 << 15, 1 << 16), np.ones((1, 1, 1, 1 << 15), F4), strategy="separable"
    ),
    "reference": lambda: fastconv.conv2d(view(1, 8, 512, 512), np.ones((8, 8, 99, 99), F4), strategy="reference"),
    "toeplitz": lambda: fastconv.conv2d(view(9999, 64, 26, 26), np.ones((64, 64, 3, 3), F4), strategy="toeplitz"),
    **{
        name: lambda name=name: fastconv.conv2d(view(32, 512, 512, 512), np.ones((256, 512, 3, 3), F4), strategy=name)
        for name in ("im2col", "winograd2", "winograd4", "fft")
    },
    "transposed": lambda: fastconv.conv_transpose2d(view(8, 512, 512, 512), np.ones((512, 256, 9, 9), F4)),
    "gradient by weight": lambda: grad.conv2d_weight(
        view(4, 256, 256, 256), (256, 256, 31, 31), view(4, 256, 226, 226)
    ),
    "gradient by depthwise weight": lambda: grad.conv2d_weight(
        view(64, 64, 256, 256), (64, 1, 99, 99), view(64, 64, 158, 158), groups=64
    ),
    "volume": lambda: fastconv.conv3d(view(1, 64, 64, 256, 256), np.ones((64, 64, 9, 9, 9), F4)),
    "window of any shape": lambda: ndimage.maximum_filter(view(4096, 4096), footprint=np.tri(999, dtype=bool)),
    "gaussian": lambda: ndimage.gaussian_filter(view(4096, 4096), 1e5),
    "tap by tap": lambda: filters.convolve(view(256, 512, 512), np.ones((99, 99, 99)), mode="valid", method="direct"),
}


@pytest.mark.parametrize("call", LONG.values(), ids=LONG)
def test_long_work_is_interrupted(call):
    with interrupted():
        call()


def test_one_row_of_softmax_is_interrupted():
    x = np.zeros((1, 1 << 29), F4)
    for function in (nn.softmax, nn.log_softmax):
        out = np.empty_like(x)
        out[0, -1] = 7
        with interrupted(0.005):
            function(x, 1, out=out)
        assert out[0, -1] == 7


def test_linear_is_interrupted():
    x, out = np.ones((1 << 12, 1 << 13), F4), np.full((1 << 12, 1 << 13), 7, F4)
    with interrupted(0.05):
        nn.linear(x, np.ones((1 << 13, 1 << 13), F4), out=out)
    assert out[-1, -1] == 7


@pytest.mark.parametrize("function", [ndimage.uniform_filter, ndimage.uniform_filter1d, ndimage.maximum_filter])
def test_filters_of_integers_are_interrupted(function):
    x, out = view(1 << 14, 1 << 15, dtype=np.uint8), np.zeros((1 << 14, 1 << 15), np.uint8)
    with interrupted(0.05):
        function(x, 9, output=out)
    assert out[-1, -1] == 0


def test_roots_of_sums_of_powers_are_interrupted():
    with interrupted(0.05):
        fastconv.lp_pool2d(view(1, 1, 1 << 15, 1 << 15), 3, 2)


@pytest.mark.parametrize("method", ["auto", "direct"])
def test_sums_of_more_than_memory_holds_end(method):
    with contextlib.suppress(MemoryError, NotImplementedError), interrupted():
        filters.convolve(view(1 << 33), view(1 << 33), mode="valid", method=method)


def test_a_call_after_an_interrupted_one_is_right():
    x, weight = np.ones((1, 8, 64, 64), F4), np.ones((8, 8, 3, 3), F4)
    expected = fastconv.conv2d(x, weight, strategy="implicit")
    for _ in range(3):
        with interrupted(0.05):
            LONG["implicit"]()
        np.testing.assert_array_equal(fastconv.conv2d(x, weight, strategy="implicit"), expected)

"""Where memory runs out a call raises MemoryError or succeeds, soon; and the process is as it was before."""

import os
import resource
import subprocess
import sys
import textwrap
import tracemalloc

import numpy as np
import pytest

import fastconv
from fastconv.kernels import threads as team
from fastconv.lab.lowering import MAX_BYTES

# Every call at every limit, in a process whose address space may only grow by that many bytes.
CHILD = """
    import ctypes, gc, resource
    import numpy as np, fastconv
    from fastconv import grad, ndimage, nn, signal
    from fastconv.kernels import threads

    # Freed memory goes back to the system, as far as glibc can be told to do so; otherwise the limits would not bind.
    ctypes.CDLL(None).mallopt(-3, 1 << 16)
    F4 = np.float32
    rng = np.random.default_rng(0)
    image, weight, bias = (rng.standard_normal(s).astype(F4) for s in ((1, 64, 56, 56), (64, 64, 3, 3), (64,)))
    signal_ = rng.standard_normal(1 << 18).astype(F4)
    plane = rng.standard_normal((700, 1024)).astype(F4)
    bytes_ = (plane * 50).astype(np.int8)
    CALLS = {
        **{
            f"conv2d {s}": lambda s=s: fastconv.conv2d(image, weight, bias, padding=1, strategy=s)
            for s in ("auto", "direct", "implicit", "im2col", "winograd2", "winograd4", "winograd6", "fft", "separable")
        },
        "toeplitz": lambda: fastconv.conv2d(image[:, :8, :32, :32], weight[:8, :8], strategy="toeplitz"),
        "prepared": lambda: fastconv.prepare_conv2d(weight, bias)(image),
        "conv_transpose2d": lambda: fastconv.conv_transpose2d(image, weight, stride=2),
        "conv3d": lambda: fastconv.conv3d(image[:, :8, None] * np.ones((1, 1, 6, 1, 1), F4), weight[:4, :8, None]),
        "by input": lambda: grad.conv2d_input(image.shape, weight, image, padding=1),
        "by weight": lambda: grad.conv2d_weight(image, weight.shape, image, padding=1),
        "max_pool2d": lambda: fastconv.max_pool2d(image, 3, 2),
        "max_pool2d large": lambda: fastconv.max_pool2d(image, 13, 1, 6),
        "places": lambda: fastconv.max_pool2d(image, 3, 2, return_indices=True)[1],
        "avg_pool2d": lambda: fastconv.avg_pool2d(image, 7, 1, 3),
        "global_avg_pool2d": lambda: fastconv.global_avg_pool2d(image),
        "adaptive_avg_pool2d": lambda: fastconv.adaptive_avg_pool2d(image, 7),
        "lp_pool2d": lambda: fastconv.lp_pool2d(abs(image), 2, 3),
        "im2col": lambda: fastconv.im2col(image, 3),
        "convolve": lambda: signal.convolve(signal_, signal_[:999], "same"),
        "convolve2d": lambda: signal.convolve2d(plane, plane[:9, :9], "same"),
        "convolve2d of integers": lambda: signal.convolve2d(bytes_, bytes_[:9, :9], "same"),
        "correlate": lambda: ndimage.correlate(plane, plane[:5, :5]),
        "gaussian_filter": lambda: ndimage.gaussian_filter(plane, 3),
        "uniform_filter": lambda: ndimage.uniform_filter(plane, 9),
        "uniform_filter of integers": lambda: ndimage.uniform_filter(bytes_, 9),
        "maximum_filter": lambda: ndimage.maximum_filter(plane, 9),
        "footprint": lambda: ndimage.maximum_filter(plane, footprint=np.tri(5, dtype=bool)),
        "softmax": lambda: nn.softmax(image, 1),
        "relu": lambda: nn.relu(image),
        "linear": lambda: nn.linear(plane, plane[:300]),
        "batch_norm": lambda: nn.batch_norm(image, None, None, training=True),
        "linear's gradients": lambda: fastconv.grad.layers.linear(
            plane[:, :500], plane[:, :600], plane[:500, :600]
        )[1],
    }
    size = lambda: int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    limit = lambda most: resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))

    def hoard():
        # Free memory inside the heap would serve a call within any limit.
        blocks = []
        limit(size())
        try:
            while True:
                blocks.append(np.empty(1 << 15, np.uint8))
        except MemoryError:
            # Arrays shall fail, not the few bytes that a ufunc or an exception needs: without those NumPy itself
            # crashes (it sets the exception while it does not hold the GIL).
            del blocks[-32::2]
            return blocks

    expected = {name: call().tobytes() for name, call in CALLS.items()}
    gc.freeze()  # of what the libraries have made nothing is garbage, and there is too much of it to look at each time
    raised = 0
    for extra in (0, 1 << 20, 4 << 20):
        for name, call in CALLS.items():
            print(name, extra, flush=True)
            threads.release_scratch()
            gc.collect()
            blocks = hoard()
            limit(size() + extra)
            try:
                result = call()
            except MemoryError:
                result, raised = None, raised + 1
            finally:
                limit(resource.RLIM_INFINITY)
                del blocks
            for of in (result, call()):
                assert of is None or of.tobytes() == expected[name], (name, extra)
    assert raised > len(CALLS), raised
    print("done")
"""


def test_calls_without_memory():
    child = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CHILD)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "FASTCONV_NUM_THREADS": "2"},
    )
    assert child.stdout.endswith("done\n"), child.stdout[-200:] + child.stderr
    assert "ignored" not in child.stderr


def test_scratch_memory_that_could_not_be_had_is_not_kept():
    before = resource.getrlimit(resource.RLIMIT_AS)
    team.release_scratch()
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, before[1]))
    try:
        with pytest.raises(MemoryError):
            team.aligned_empty(1 << 40, np.dtype(np.float32))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    for count in (1 << 62, 2**63 - 1, (2**63 - 1) // 8):
        with pytest.raises(MemoryError):
            team.aligned_empty(count, np.dtype(np.float64))
    array = team.aligned_empty(100, np.dtype(np.float64))
    assert array.shape == (100,)
    assert array.ctypes.data % 64 == 0


IMAGES = np.broadcast_to(np.float32(1), (1, 1, 1 << 16, 1 << 16))


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (fastconv.im2col, (IMAGES, 3)),
        (fastconv.col2im, (np.ones((1, 4), np.float32), 1 << 16, 1, 1 << 15)),
        (fastconv.toeplitz_matrix, (np.ones((64, 64, 3, 3), np.float32), (64, 200, 200))),
    ],
)
def test_matrices_that_nobody_has_thought_of_are_refused(function, arguments):
    tracemalloc.start()
    try:
        with pytest.raises(fastconv.UnsupportedError, match=rf"{function.__name__} needs .* GiB, more than max_bytes="):
            function(*arguments)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_the_bound_of_matrices_is_the_callers():
    x, weight = np.ones((1, 1, 5, 5)), np.ones((1, 1, 3, 3))
    columns = fastconv.im2col(x, 3)
    calls = {
        fastconv.im2col: (x, 3),
        fastconv.col2im: (columns, (5, 5), 3),
        fastconv.toeplitz_matrix: (weight, x.shape),
    }
    for function, arguments in calls.items():
        for max_bytes in (None, MAX_BYTES, np.int64(1 << 20)):
            function(*arguments, max_bytes=max_bytes)
        with pytest.raises(fastconv.UnsupportedError, match=r"needs .*B, more than max_bytes=100"):
            function(*arguments, max_bytes=100)
        for wrong in (-1, 1e9, "1G"):
            with pytest.raises(ValueError, match=r"max_bytes=.*expected a number of bytes"):
                function(*arguments, max_bytes=wrong)

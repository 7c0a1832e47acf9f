"""The door to the kernels: one list, named arguments, and scratch memory exactly as large as each kernel asks for."""

import numpy as np
import pytest

import fastconv
from fastconv import grad, ndimage, nn, signal, training
from fastconv.engine.conversion import convert
from fastconv.engine.convolution import BY_NAME
from fastconv.engine.convolution.base import DEFAULT_MAX_WORKSPACE
from fastconv.engine.epilogue import Epilogue
from fastconv.engine.geometry import ConvGeometry
from fastconv.engine.patches import continued_patch
from fastconv.kernels import slots, threads
from fastconv.lab.kinds import KINDS
from guards import guarded

# Not tile kernels; tests/test_gemm.py tests the micro-kernel.
NOT_LAUNCHED = {"peak", "gemm_tile"}


def values(dtype, *shape):
    rng = np.random.default_rng(sum(shape))
    if np.dtype(dtype).kind in "iu":
        return rng.integers(0, 100, shape).astype(dtype)
    parts = rng.standard_normal((2, *shape))
    return (parts[0] + 1j * parts[1] if np.dtype(dtype).kind == "c" else parts[0]).astype(dtype)


def convolutions(strategy, *shapes, **arguments):
    """A function that convolves images and weights of these shapes, given a dtype."""

    def run(dtype):
        for image, weight in shapes:
            fastconv.conv2d(
                values(dtype, *image), values(dtype, *weight), values(dtype, weight[0]), strategy=strategy, **arguments
            )

    return run


def weight_gradients(channels):
    def run(dtype):
        for extent, stride in ((9, 1), (31, 2)):
            x, weight = values(dtype, 2, channels, extent, extent + 4), values(dtype, 5, channels, 3, 3)
            by_out = fastconv.conv2d(x, weight, stride=stride, padding=1)
            grad.conv2d_weight(x, weight.shape, by_out, stride=stride, padding=1)

    return run


def input_gradients(strategy, *descriptors):
    """A function that computes input gradients by this strategy."""
    kind = KINDS["input_gradient"]

    def run(dtype):
        for descriptor in descriptors:
            plan = fastconv.plan(descriptor, kind.name, dtype=dtype, strategy=strategy)
            kind.call(plan, kind.operands(plan.geometry, np.dtype(dtype), np.random.default_rng(0)))()

    return run


transposed = input_gradients("phases", *(f"n2 ic17 oc9 ih{4 * s + 3} iw{6 * s + 3} k3 s{s}" for s in (1, 2, 3)))
from_columns = input_gradients(
    "col2im", "n2 ic5 oc7 i9 k3 s2 p1", "g2 ic6 oc4 id5 ih6 iw8 k3 s2", "ic70 oc9 ih1 iw5 kh1 kw4 s1"
)


def of_size(kind):
    """A type whose values kernels move by their size alone."""
    return {"V1": "i1", "V2": "i2", "V4": "f4", "V8": "f8", "V16": "c16"}[kind]


def prepared(dtype):
    fastconv.prepare_conv2d(values(dtype, 17, 9, 3, 3), strategy="winograd4")(values(dtype, 2, 9, 13, 31))


def shared_transforms(dtype):
    geometry = ConvGeometry.parse("n2 ic400 oc98 i7 k3 p1")
    x, weight, out = (values(dtype, *s) for s in (geometry.x_shape, geometry.weight_shape, geometry.out_shape))
    winograd = BY_NAME["winograd4"]
    prepared, epilogue = winograd.prepare(geometry, weight, 1), Epilogue(values(dtype, geometry.oc))
    winograd.run(geometry, x, prepared, out, epilogue, 64, DEFAULT_MAX_WORKSPACE)


def lines(fold):
    def run(dtype):
        for size in (2, 3, 13):
            x = values(dtype, 9, 41)
            getattr(ndimage, f"{fold}_filter")(x, size, mode="mirror")
            getattr(ndimage, f"{fold}_filter1d")(x[::2, ::-1], size, mode="constant")

    return run


# Calls of the API that launch each kernel, given a dtype.
CALLS = {
    "epilogue": convolutions("direct", ((1, 2, 9, 31), (3, 2, 3, 3)), activation="gelu"),
    "activation": lambda dtype: nn.gelu(values(dtype, 3, 41)),
    "channels": lambda dtype: nn.prelu(values(dtype, 2, 5, 41), values(dtype, 5)),
    "normalise": lambda dtype: [
        nn.batch_norm(values(dtype, *shape), *running, values(dtype, shape[1]), training=True)
        for shape in ((3, 71), (2, 5, 41))
        for running in ((None, None), np.ones((2, shape[1])), np.ones((2, shape[1]), dtype))
    ],
    "standardise": lambda dtype: (
        [nn.layer_norm(values(dtype, 3, 71), 71, values(dtype, 71), bias) for bias in (None, values(dtype, 71))]
        + [
            [
                nn.rms_norm(values(dtype, 3, n), n),
                nn.group_norm(values(dtype, 2, 6, n), 2),
                nn.instance_norm(x, *[x[0, :, 0]] * 4),
            ]
            for n in (5, 2100)
            for x in (values(dtype, 2, 3, n),)
        ]
    ),
    "drop": lambda dtype: [nn.dropout(values(dtype, n), 0.3, return_mask=mask) for n in (64, 71) for mask in (0, 1)],
    "slope": lambda dtype: [
        nn.rrelu(values(dtype, n), training=True, return_slopes=slopes) for n in (64, 71) for slopes in (0, 1)
    ],
    "rectified": lambda dtype: grad.relu(values(dtype, 3, 41), values(dtype, 3, 41)),
    "momentum": lambda dtype: [
        training.SGD({"p": values(dtype, 71)}, 0.1, momentum=momentum).update({"p": values(dtype, 71)})
        for momentum in (0, 0.9)
    ],
    "adam": lambda dtype: training.Adam({"p": values(dtype, 71)}).update({"p": values(dtype, 71)}),
    "spread": lambda dtype: [
        nn.cross_entropy(x, np.abs(x), values(dtype, 7) ** 2, label_smoothing=0.1)
        for x in (values(dtype, 5, 7), values(dtype, 2, 7, 71))
    ],
    "softmax": lambda dtype: [nn.softmax(values(dtype, 3, 371, 5), axis) for axis in (0, 1, 2)],
    "inner": lambda dtype: nn.linear(values(dtype, 5, 33), values(dtype, 17, 33), values(dtype, 17)),
    "polyphase": lambda dtype: [
        signal.upfirdn(values(dtype, taps), values(dtype, *shape), up, down, axis, mode)
        for shape, axis in (((71,), 0), ((2, 41), 1), ((41, 3), 0), ((2, 41, 37), 1))
        for taps, up, down in ((3, 2, 1), (61, 3, 2), (61, 1, 3))
        for mode in ("constant", "antireflect")
    ],
    "pack_left": convolutions("implicit", ((1, 9, 9, 13), (17, 9, 1, 1))),
    "implicit": convolutions("implicit", ((2, 3, 9, 13), (5, 3, 3, 3)), ((1, 17, 31, 7), (9, 17, 5, 5)), padding=2),
    "pack_columns": convolutions("im2row", ((1, 9, 9, 13), (29, 9, 3, 3))),
    "im2row": convolutions(
        "im2row", ((2, 3, 9, 13), (5, 3, 3, 3)), ((1, 17, 31, 7), (33, 17, 2, 2)), padding=1, stride=2
    ),
    "turn_images": convolutions("inner", ((2, 19, 5, 7), (9, 19, 1, 1))),
    "rolling": convolutions("direct", ((1, 6, 14, 14), (6, 1, 3, 3)), groups=6, padding=1),
    "interleaved": lambda dtype: [
        convolutions("interleaved", ((2, 18, 9, 13), (18, 1, 3, 3)), groups=18, padding=1, stride=stride)(dtype)
        for stride in (1, 2, 3)
    ],
    "interleave_filters": convolutions("interleaved", ((1, 18, 9, 13), (18, 1, 3, 3)), groups=18),
    "depthwise": lambda dtype: [
        fastconv.conv2d(
            values(dtype, 2, 9, 13, channels),
            values(dtype, channels, 1, kernel, kernel),
            values(dtype, channels),
            stride=stride,
            padding=kernel // 2,
            groups=channels,
            strategy="interleaved",
            layout="NHWC",
        )
        for channels, kernel, stride in ((19, 3, 1), (37, 3, 2), (32, 5, 1), (67, 7, 1), (150, 2, 3))
    ],
    "pack_panels": convolutions("indirect", ((1, 9, 9, 13), (29, 9, 3, 3))),
    "indirect": convolutions("indirect", ((2, 12, 9, 13), (10, 6, 3, 3)), groups=2, padding=1, stride=2),
    "separable": convolutions("separable", ((1, 2, 9, 65), (3, 2, 5, 3)), ((2, 1, 31, 17), (1, 1, 9, 9)), padding=2),
    "weight_gradient": weight_gradients(33),
    "tap_gradient": weight_gradients(1),
    "winograd_weight": prepared,
    "winograd": convolutions("winograd4", ((1, 9, 13, 31), (17, 9, 3, 3)), ((1, 3, 5, 5), (2, 3, 3, 1)), padding=1),
    "winograd_pixels": convolutions("winograd4", ((2, 38, 13, 31), (34, 19, 3, 3)), groups=2, padding=2, dilation=2),
    **dict.fromkeys(("winograd_in", "winograd_sums", "winograd_out"), shared_transforms),
    "fft_weight": convolutions("fft", ((1, 2, 9, 13), (3, 2, 5, 5)), ((1, 1, 1, 129), (1, 1, 1, 17))),
    "fft": convolutions("fft", ((2, 2, 9, 13), (3, 2, 5, 5)), ((1, 1, 1, 129), (1, 1, 1, 17))),
    "filter": lambda dtype: signal.convolve2d(values(dtype, 17, 41), values(dtype, 3, 4)),
    "windows": lines("maximum"),
    "network": lambda dtype: [
        ndimage.median_filter(values(dtype, 9, 41), size, mode=mode) for size in (4, 6) for mode in ("wrap", "constant")
    ],
    "medians": lambda dtype: [
        ndimage.median_filter(values(dtype, *shape), size) for size in (3, 5) for shape in ((9, 141), (4, 3))
    ],
    "footprints": lambda dtype: [
        ndimage.maximum_filter(values(dtype, 9, 41), footprint=footprint, mode="wrap")
        for footprint in (np.eye(3), np.tri(4, 7), [[1, 1, 0, 1]])
    ],
    "sliding": lambda dtype: (
        ndimage.median_filter(values(dtype, 9, 41), (12, 13), footprint=None)
        if dtype != "u1"
        else ndimage.median_filter(values(dtype, 9, 41), footprint=np.tri(13, 17))
    ),
    "bytes": lambda dtype: ndimage.median_filter(values(dtype, 9, 41), 11),
    "maximum": lines("maximum"),
    "minimum": lines("minimum"),
    **dict.fromkeys(
        ("sum", "mean"), lambda dtype: lines("uniform")({"u2": "u1", "i4": "i2", "i8": "i4"}.get(dtype, dtype))
    ),
    **dict.fromkeys(
        [f"{does}_{wide}" for does in ("to", "mean_of") for wide in ("u2", "i4", "i8")],
        lambda dtype: [ndimage.uniform_filter(values(dtype, 9, 41), size) for size in (3, 130)],
    ),
    **dict.fromkeys(
        ("ordered", "widen", "narrow", "narrow_fitting"),
        lambda dtype: [
            ndimage.gaussian_filter(values(dtype, 19, 41), 1.5),
            ndimage.correlate(values(dtype, 19, 141), np.ones((3, 4)) / 7),
            ndimage.correlate(values(dtype, 19, 141), np.full((3, 4), 2.0**30 / 7)),
            ndimage.correlate(values(dtype, 19, 141), np.full((3, 4), 0.01)),
        ],
    ),
    **dict.fromkeys(
        ("ordered_near", "widen_near", "narrow_near"),
        lambda dtype: [
            ndimage.gaussian_filter(np.minimum(values(dtype, 19, columns), 40), 1.5) for columns in (41, 300)
        ],
    ),
    "response": lambda dtype: [
        nn.local_response_norm(values(dtype, 2, 7, n), 5, beta=b) for n in (41, 257) for b in (0.75, 0.6)
    ],
    "add": lambda dtype: nn.add(values(dtype, 3, 41), values(dtype, 3, 41), activation="relu"),
    "convert": lambda dtype: convert(values(dtype, 41), np.empty(41, "f4" if dtype == "f8" else "f8")),
    "divide": lambda dtype: nn.avg_pool3d(values(dtype, 2, 3, 5, 6, 7), 2, padding=1),
    "draw": lambda dtype: fastconv.fractional_max_pool2d(
        values(dtype, 2, 3, 9, 7), 2, (4, 3), _random_samples=np.full((2, 3, 2), 0.7, dtype)
    ),
    "find_not_finite": lambda dtype: ndimage.correlate(values(dtype, 9, 41), np.eye(3)),
    "finish_planes": convolutions("toeplitz", ((2, 3, 5, 7), (4, 3, 3, 3)), activation="relu"),
    "gather": lambda dtype: [
        continued_patch(values(of_size(dtype), 3, 5, 41)[::2, :, ::-1], (-1, 1, -3), (4, 6, 45), mode, 0)
        for mode in ("reflect", "wrap", "constant")
    ],
    "im2col": lambda dtype: fastconv.im2col(values(dtype, 2, 3, 9, 13)[..., ::-2], 3, padding=2, stride=2),
    "col2im": lambda dtype: fastconv.col2im(values(dtype, 2, 27, 20), (7, 9), 3, padding=1, stride=2),
    "pool_pixels": lambda dtype: [
        pool(values(dtype, 2, 7, 9, channels), kernel, stride, 1, layout="NHWC")
        for pool in (fastconv.max_pool2d, fastconv.avg_pool2d)
        for channels, kernel, stride in ((19, 3, 2), (32, 2, 1), (69, (3, 5), 3))
    ],
    "locate": lambda dtype: fastconv.max_pool3d(values("f4", 2, 3, 5, 6, 7), 2, 1, 1, return_indices=True),
    "power": lambda dtype: [fastconv.lp_pool2d(values(dtype, 2, 3, 5, 7) ** 2, norm, 2) for norm in (1, 2, 3)],
    "losses": lambda dtype: nn.cross_entropy(values(dtype, 5, 7), np.arange(5) % 7),
    "pack_transposed": from_columns,
    "place": transposed,
    "scatter": lambda dtype: grad.max_pool2d(values(dtype, 2, 3, 4, 5), values(dtype, 2, 3, 8, 10), 2),
    "put": lambda dtype: nn.max_unpool2d(
        *fastconv.max_pool2d(values(of_size(dtype), 2, 3, 8, 10), 2, return_indices=True), 2
    ),
    "swap_filters": transposed,
    "sweep": lambda dtype: [
        signal.convolve2d(values(of_size(dtype), *shape), values(of_size(dtype), 3, 3)) for shape in ((9, 65), (5, 3))
    ],
    "toeplitz": convolutions("toeplitz", ((1, 2, 6, 7), (3, 2, 3, 2)), padding=1),
}


@pytest.mark.per_isa
@pytest.mark.parametrize("side", ["begin", "end"])
@pytest.mark.parametrize(("name", "kind"), [pair for pair in slots.kernels() if pair[0] not in NOT_LAUNCHED])
def test_every_kernel_stays_within_its_arrays(monkeypatch, name, kind, side):
    """Operands, results and the scratch memory that the kernel asks for lie between guards."""
    launched, run_tiles = set(), threads.run_tiles

    def run(kernel, arrays, *rest):
        launched.update([kernel, *(array for array in arrays if isinstance(array, int))])
        run_tiles(kernel, arrays, *rest)

    monkeypatch.setattr(threads, "run_tiles", run)
    assert name in CALLS, f"add a call that launches {name} to CALLS"
    with guarded(side), fastconv.num_threads(2):
        CALLS[name](kind)
    assert slots.kernel(name, kind) in launched


@pytest.mark.parametrize("name", sorted({name for name, _ in slots.kernels()}))
def test_arguments_are_named(name):
    """A missing, misspelt or superfluous field is a TypeError when the call is planned."""
    fields = slots.arguments(name)._fields
    given = dict.fromkeys(fields, 1)
    assert slots.arguments(name)(**given) == (1,) * len(fields)
    with pytest.raises(TypeError, match="unexpected keyword argument 'misspelt'"):
        slots.arguments(name)(**given, misspelt=1)
    for field in fields:
        with pytest.raises(TypeError, match="missing 1 required positional argument"):
            slots.arguments(name)(**{other: 1 for other in fields if other != field})


def test_scratch_is_that_of_the_kernel_s_own_arguments():
    window = dict.fromkeys(slots.arguments("windows")._fields, 1) | {"col_tile": 100, "kh": 5, "size": 4}
    ints = slots.arguments("windows")(**window)
    assert slots.scratch("windows", "f4", ints) % slots.CACHE_LINE == 0
    assert slots.scratch("windows", "f4", ints) > 5 * 100 * 4
    assert slots.scratch("softmax", "f4", slots.arguments("softmax")(1, 1, 1, 1)) == 0
    for other in (tuple(ints), slots.arguments("softmax")(1, 1, 1, 1)):
        with pytest.raises(TypeError, match="windows takes size, in_size, out_size, ih"):
            slots.scratch("windows", "f4", other)


def test_a_type_is_not_another_of_its_size():
    assert slots.kernel("filter", np.int32) != slots.kernel("filter", np.float32)
    assert slots.kernel("filter", "c8") != slots.kernel("filter", "f8")
    for name, dtype in (("implicit", np.int32), ("mean", np.int8), ("filters", np.float32)):
        with pytest.raises(LookupError, match=f"no kernel '{name}'"):
            slots.kernel(name, dtype)
    with pytest.raises(LookupError, match="no kernel 'filters'"):
        slots.arguments("filters")


def test_packed_filters_are_counted_by_their_kernel():
    """Whole panels of rows, and for Winograd's transforms a gap after each panel."""
    ints = slots.arguments("pack_left")(M=slots.MR + 1, K=10, kc=4, panels=2)
    assert slots.packed("pack_left", "f4", ints) == 2 * slots.MR * 10 * 4
    ints = slots.arguments("winograd_weight")(icg=3, ocg=1, axis=0, combined=0, points=36, taps=9)
    assert slots.packed("winograd_weight", "f8", ints) > 36 * 3 * slots.VECTOR_BYTES
    assert slots.packed("activation", "f4", slots.arguments("activation")(1, 1, 1)) == 0
    with pytest.raises(TypeError, match="winograd_weight takes icg, ocg"):
        slots.packed("winograd_weight", "f8", (3, 1))

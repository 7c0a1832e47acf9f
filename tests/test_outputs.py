"""Every way to say where a result goes: into arrays of any strides and addresses, over the operands, into none that is
read-only."""

import inspect

import numpy as np
import pytest

import fastconv
from fastconv import grad, ndimage, nn, signal


def normal(*shape, dtype=np.float64):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(dtype)


def prepared(x, weight, bias, **arguments):
    return fastconv.prepare_conv2d(weight, bias, padding=1)(x, **arguments)


IMAGE, WEIGHT, BIAS = normal(2, 3, 9, 8), normal(4, 3, 3, 3), normal(4)
PLANE, LINE = normal(13, 17), normal(200)
CHANNELS, CROSS = normal(3), np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)


def _lines(line, out):
    out[...] = line


def call(function, /, *operands, **arguments):
    return pytest.param(function, operands, arguments, id=f"{function.__name__}-{len(operands)}-{operands[0].dtype}")


CALLS = [
    call(fastconv.conv1d, normal(2, 3, 19), normal(4, 3, 3), BIAS),
    call(fastconv.conv2d, IMAGE, WEIGHT, BIAS, padding=1),
    call(fastconv.conv3d, normal(1, 2, 4, 5, 6), normal(3, 2, 2, 2, 2), normal(3)),
    call(fastconv.conv_transpose1d, normal(2, 3, 9), normal(3, 4, 3), BIAS),
    call(fastconv.conv_transpose2d, IMAGE, normal(3, 4, 3, 3), BIAS, stride=2),
    call(fastconv.conv_transpose3d, normal(1, 2, 3, 3, 3), normal(2, 3, 2, 2, 2), normal(3)),
    call(prepared, IMAGE, WEIGHT, BIAS),
    *[
        call(getattr(nn, name), LINE)
        for name in ("relu", "leaky_relu", "elu", "sigmoid", "tanh", "silu", "gelu", "hardswish", "relu6", "rrelu")
    ],
    *[
        call(getattr(nn, name), LINE)
        for name in ("softplus", "softsign", "selu", "celu", "mish", "hardtanh", "hardsigmoid", "hardshrink")
    ],
    *[call(getattr(nn, name), LINE) for name in ("softshrink", "tanhshrink", "logsigmoid")],
    call(nn.threshold, LINE, threshold=0.1, value=2.0),
    call(nn.gelu, LINE.astype(np.float32), approximate="tanh"),
    call(nn.prelu, IMAGE, CHANNELS),
    call(nn.prelu, IMAGE, CHANNELS[:1]),
    call(nn.maxout, normal(2, 6, 5), pieces=2),
    call(nn.softmax, normal(4, 70), dim=1),
    call(nn.softmax, normal(4, 70), dim=0),
    call(nn.log_softmax, normal(4, 70), dim=1),
    call(nn.linear, normal(5, 33), normal(7, 33), normal(7)),
    call(nn.batch_norm, IMAGE, CHANNELS, CHANNELS**2, CHANNELS + 1, CHANNELS - 1),
    call(nn.layer_norm, IMAGE, normalized_shape=(9, 8)),
    call(nn.rms_norm, IMAGE, normalized_shape=8),
    call(nn.group_norm, IMAGE, num_groups=3),
    call(nn.instance_norm, IMAGE),
    call(nn.local_response_norm, IMAGE, size=3),
    call(nn.add, IMAGE, IMAGE[::-1], activation="relu"),
    call(nn.cat, IMAGE, dim=1),
    call(nn.index_select, IMAGE, dim=1, index=np.array([2, 0, 2])),
    *[
        call(getattr(fastconv, f"{kind}_pool{len(shape) - 2}d"), normal(*shape), kernel_size=2)
        for kind in ("max", "avg")
        for shape in ((2, 3, 19), (2, 3, 9, 8), (2, 2, 4, 5, 6))
    ],
    *[
        call(getattr(fastconv, f"adaptive_{kind}_pool{len(shape) - 2}d"), normal(*shape), output_size=3)
        for kind in ("max", "avg")
        for shape in ((2, 3, 19), (2, 3, 9, 8))
    ],
    call(fastconv.global_max_pool2d, IMAGE),
    call(fastconv.global_avg_pool2d, IMAGE),
    call(nn.dropout, LINE, rng=0),
    call(nn.dropout2d, IMAGE, rng=0),
    call(nn.random_dropout, LINE, rng=0),
    *[
        call(function, image.astype(dtype), *operands, **arguments)
        for dtype in ("f4", "f8", "u1", "c16")
        for image, function, operands, arguments in (
            (9 * PLANE, ndimage.correlate, (9 * normal(3, 3),), {}),
            (9 * PLANE, ndimage.convolve, (9 * normal(2, 5),), {"mode": "constant"}),
            (9 * PLANE, ndimage.correlate1d, (9 * normal(5),), {}),
            (9 * PLANE, ndimage.convolve1d, (9 * normal(4),), {"axis": 0}),
            (9 * PLANE, ndimage.gaussian_filter, (), {"sigma": 1.5}),
            (9 * PLANE, ndimage.gaussian_filter1d, (), {"sigma": 1.5}),
            (9 * PLANE, ndimage.uniform_filter, (), {"size": 4}),
            (9 * PLANE, ndimage.uniform_filter, (), {"size": 1}),
            (9 * PLANE, ndimage.uniform_filter1d, (), {"size": 3}),
            (9 * PLANE, ndimage.sobel, (), {}),
            (9 * PLANE, ndimage.prewitt, (), {"axis": 0}),
            (9 * PLANE, ndimage.laplace, (), {}),
            (9 * PLANE, ndimage.gaussian_laplace, (), {"sigma": 1.5}),
        )
    ],
    *[
        call(function, (9 * PLANE).astype(dtype), *operands, **arguments)
        for dtype in ("f4", "f8", "u1", "?")
        for function, operands, arguments in (
            (ndimage.maximum_filter, (), {"size": 3}),
            (ndimage.minimum_filter, (), {"size": (1, 4)}),
            (ndimage.maximum_filter1d, (), {"size": 3}),
            (ndimage.minimum_filter1d, (), {"size": 5, "axis": 0}),
            (ndimage.maximum_filter, (None, CROSS), {}),
            (ndimage.minimum_filter, (None, CROSS), {}),
            (ndimage.median_filter, (), {"size": 3}),
            (ndimage.median_filter, (), {"size": 11}),
            (ndimage.rank_filter, (), {"rank": 1, "footprint": CROSS}),
            (ndimage.percentile_filter, (), {"percentile": 30, "size": (2, 5)}),
            (ndimage.generic_filter, (), {"function": np.max, "size": 3}),
            (ndimage.generic_filter1d, (), {"function": _lines, "filter_size": 1}),
        )
    ],
    *[
        call(function, (9 * PLANE).astype(dtype), *operands, **arguments)
        for dtype in ("f4", "f8")
        for function, operands, arguments in (
            (ndimage.gaussian_gradient_magnitude, (), {"sigma": 1.5}),
            (ndimage.grey_erosion, (), {"size": 3}),
            (ndimage.grey_dilation, (), {"structure": 1 + CROSS}),
            (ndimage.grey_opening, (), {"size": (2, 3)}),
            (ndimage.grey_closing, (), {"footprint": CROSS}),
            (ndimage.generic_laplace, (), {"derivative2": ndimage.sobel}),
            (ndimage.generic_gradient_magnitude, (), {"derivative": ndimage.sobel}),
        )
    ],
]
# These store bool, or by NumPy's casting rules, as SciPy's: test_morphology.py and test_derivatives.py call them.
IGNORING_TYPES = {
    ndimage.vectorized_filter,
    ndimage.white_tophat,
    ndimage.black_tophat,
    ndimage.morphological_gradient,
    ndimage.morphological_laplace,
    ndimage.binary_erosion,
    ndimage.binary_dilation,
    ndimage.binary_opening,
    ndimage.binary_closing,
}
EVERY_CALL = pytest.mark.parametrize(("function", "operands", "arguments"), CALLS)


def target_name(function):
    return "output" if function.__module__.startswith("fastconv.ndimage") else "out"


def test_every_function_that_takes_an_output_is_called():
    public = {
        function
        for module in (fastconv, nn, ndimage, signal, grad)
        for function in vars(module).values()
        if inspect.isfunction(function) and function.__module__.startswith(module.__name__)
    }
    taking = {function for function in public if {"out", "output"} & set(inspect.signature(function).parameters)}
    assert taking - IGNORING_TYPES <= {parameter.values[0] for parameter in CALLS}


@pytest.fixture
def memory_map(tmp_path):
    """An array in a file, as an array of that mode."""

    def mapped(array, mode):
        array.tofile(tmp_path / "array")
        return np.memmap(tmp_path / "array", array.dtype, mode, shape=array.shape)

    return mapped


@EVERY_CALL
def test_what_is_read_only_is_refused_and_stays(function, operands, arguments, memory_map):
    result = function(*operands, **arguments)
    blank = np.zeros_like(result)
    locked = np.zeros_like(result)
    locked.flags.writeable = False
    constant = np.frombuffer(bytes(blank.nbytes), blank.dtype).reshape(blank.shape)
    for out in (locked, constant, np.broadcast_to(blank[..., :1], blank.shape), memory_map(blank, "r")):
        with pytest.raises(ValueError, match="read-only"):
            function(*operands, **arguments, **{target_name(function): out})
        assert not out.any()


def misaligned(blank):
    raw = np.zeros(blank.nbytes + 1, np.uint8)
    return raw[1:].view(blank.dtype).reshape(blank.shape)


PLACES = {
    "C": np.empty_like,
    "Fortran": lambda blank: np.empty_like(blank, order="F"),
    "backwards": lambda blank: np.empty_like(blank)[..., ::-1],
    "every other": lambda blank: np.empty((*blank.shape[:-1], 2 * blank.shape[-1]), blank.dtype)[..., ::2],
    "misaligned": misaligned,
    "subclass": lambda blank: np.empty_like(blank).view(np.recarray),
}


@EVERY_CALL
def test_any_strides_and_addresses(function, operands, arguments):
    expected = function(*operands, **arguments)
    for name, place in PLACES.items():
        out = place(expected)
        result = function(*operands, **arguments, **{target_name(function): out})
        assert np.shares_memory(result, out), name
        np.testing.assert_array_equal(out, expected, name)


@EVERY_CALL
def test_memory_maps(function, operands, arguments, memory_map):
    expected = function(*operands, **arguments)
    out = memory_map(np.zeros_like(expected), "r+")
    function(*operands, **arguments, **{target_name(function): out})
    out.flush()
    np.testing.assert_array_equal(np.fromfile(out.filename, out.dtype).reshape(out.shape), expected)


@EVERY_CALL
def test_outputs_that_overlap_an_operand(function, operands, arguments):
    """The operand and the output share a buffer, from the same address on or a little apart."""
    expected = function(*operands, **arguments)
    for at, operand in enumerate(operands):
        if operand is None:
            continue
        for before, after in ((0, 0), (8, 0), (0, 8), (16, 0), (0, 16), (0, operand.nbytes // 2 // 16 * 16)):
            buffer = np.zeros(operand.nbytes + expected.nbytes + before + after, np.uint8)
            sharing = buffer[before : before + operand.nbytes].view(operand.dtype).reshape(operand.shape)
            out = buffer[after : after + expected.nbytes].view(expected.dtype).reshape(expected.shape)
            sharing[...] = operand
            function(*operands[:at], sharing, *operands[at + 1 :], **arguments, **{target_name(function): out})
            np.testing.assert_array_equal(out, expected)


@EVERY_CALL
def test_another_shape_is_refused(function, operands, arguments):
    right = function(*operands, **arguments)
    for shape in ((*right.shape[:-1], right.shape[-1] + 1), (1, *right.shape), (0,)):
        out = np.zeros(shape, right.dtype)
        with pytest.raises((ValueError, RuntimeError), match="shape"):
            function(*operands, **arguments, **{target_name(function): out})
        assert not out.any()


@pytest.mark.parametrize(("function", "operands", "arguments"), [c for c in CALLS if target_name(c.values[0]) == "out"])
def test_another_type_is_refused(function, operands, arguments):
    operands = [operand.astype(np.float64) for operand in operands]
    right = function(*operands, **arguments)
    for dtype in ("f4", ">f8", "c16", "i8", "O"):
        with pytest.raises(TypeError, match=r"out of dtype .*: expected float64"):
            function(*operands, **arguments, out=np.zeros(right.shape, dtype))
    for out in ([], right.tolist(), np.ma.zeros(right.shape), 0):
        with pytest.raises(TypeError, match=r"out=.*expected an ndarray"):
            function(*operands, **arguments, out=out)


@pytest.mark.parametrize(
    ("function", "operands", "arguments"), [c for c in CALLS if target_name(c.values[0]) == "output"]
)
def test_swapped_bytes_hold_the_same_values(function, operands, arguments):
    for dtype in ("c8",) if operands[0].dtype.kind == "c" else ("f4", "f8", "i2", "c8"):
        swapped = np.zeros(operands[0].shape, np.dtype(dtype).newbyteorder())
        expected = function(*operands, **arguments, output=dtype)
        function(*operands, **arguments, output=swapped)
        np.testing.assert_array_equal(swapped, expected, dtype)


@pytest.mark.parametrize("dtype", ["f2", "g", "O", "M8[s]", "S3", [("a", "f4")]])
def test_types_that_no_filter_stores(dtype):
    for function, arguments in ((ndimage.uniform_filter, (3,)), (ndimage.correlate, (np.ones((3, 3)),))):
        with pytest.raises(RuntimeError, match="array type not supported"):
            function(PLANE, *arguments, output=np.zeros(PLANE.shape, dtype))


def test_statistics_that_training_cannot_update():
    mean = np.zeros(3)
    mean.flags.writeable = False
    with pytest.raises(TypeError, match="running_mean: expected a writeable float array"):
        nn.batch_norm(IMAGE, mean, np.ones(3), training=True)
    assert not mean.any()

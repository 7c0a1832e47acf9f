"""Input that has crashed other libraries raises one clear error, or gives the right (perhaps empty) result.

Huge arrays are broadcast views of one number: whatever is refused must be refused before anything is allocated.
"""

import contextlib
import itertools
import resource
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastconv
from fastconv import GeometryError, UnsupportedError
from fastconv.engine.geometry import ConvGeometry

F4 = np.float32
X = np.ones((1, 1, 5, 5), F4)
W = np.ones((1, 1, 3, 3), F4)
HUGE = 1879048192


def view(*shape, dtype=F4):
    """One number, seen as an array of any size."""
    return np.broadcast_to(dtype(1), shape)


def bad(fault, x=X, weight=W, bias=None, **arguments):
    return pytest.param((x, weight, bias), arguments, fault, id=fault.replace("\\", ""))


@pytest.fixture
def address_space():
    """A call that allocates without bound fails here instead of taking the machine down."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (64 << 30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.usefixtures("address_space")
@pytest.mark.parametrize(
    ("arrays", "arguments", "fault"),
    [
        # Empty
        bad(r"\(0, 0, 0, 0\).*only the batch may be empty", np.zeros((0, 0, 0, 0), F4), np.zeros((0, 0, 0, 0), F4)),
        bad(r"\(1, 0, 5, 5\).*empty", np.zeros((1, 0, 5, 5), F4), np.zeros((1, 0, 3, 3), F4)),
        bad(r"\(0, 1, 3, 3\).*empty", weight=np.zeros((0, 1, 3, 3), F4)),
        bad(r"\(1, 1, 0, 3\).*empty", weight=np.zeros((1, 1, 0, 3), F4)),
        bad(r"\(1, 1, 0, 5\).*empty", x=np.zeros((1, 1, 0, 5), F4)),
        bad(r"\(0, 1, 0, 5\).*empty", x=np.zeros((0, 1, 0, 5), F4), padding=4),
        # Window
        bad("stride=0", stride=0),
        bad("stride=-1", stride=-1),
        bad(r"stride=\(1, 0\)", stride=(1, 0)),
        bad(r"stride=\(1, 2, 3\).*2 ints", stride=(1, 2, 3)),
        bad(r"stride=\(1, 1, 1\).*2 ints", stride=(1, 1, 1)),
        bad(r"stride=\(\)", stride=()),
        bad("stride=1.5", stride=1.5),
        bad("stride=0.5", stride=0.5),
        bad("stride=None", stride=None),
        bad("stride='12'", stride="12"),
        bad("stride=nan", stride=float("nan")),
        bad("stride=count", stride=itertools.count(1)),
        bad("stride=array", stride=np.broadcast_to(1, 2**40)),
        bad("dilation=0", dilation=0),
        bad("dilation=-3", dilation=-3),
        bad(r"dilation=\(1, 1, 1\)", dilation=(1, 1, 1)),
        bad("dilation=1.5", dilation=1.5),
        bad("padding=-1", padding=-1),
        bad(r"padding=\(-1, 1\)", padding=((-1, 1), (1, 1))),
        bad(r"padding=\(1, 2, 3\)", padding=(1, 2, 3)),
        bad(r"padding=\(1, \(1, 2\)\)", padding=(1, (1, 2))),
        bad(r"padding=\(\(1, 1\),\)", padding=((1, 1),)),
        bad("padding=1.5", padding=1.5),
        bad("padding='full'", padding="full"),
        bad("padding=None", padding=None),
        bad("padding='same': needs stride 1", padding="same", stride=2),
        bad("groups=0", groups=0),
        bad("groups=-1", groups=-1),
        bad("groups=1.0", groups=1.0),
        bad("groups=2: the weight expects 2 input channels", groups=2),
        bad("groups=2.*multiple of 2 filters", np.ones((1, 2, 5, 5), F4), np.ones((3, 1, 3, 3), F4), groups=2),
        bad("expects 3 input channels", weight=np.ones((1, 3, 3, 3), F4)),
        # Extents
        bad("output would be -1×-1", weight=np.ones((1, 1, 7, 7), F4)),
        bad("output would be 0×0", weight=np.ones((1, 1, 6, 6), F4)),
        bad("dilation 3×3", dilation=3),
        bad("dilation 9223372036854775807", dilation=2**63 - 1),
        bad("addresses.*dilation", dilation=2**62, padding="same"),
        bad("padding.*9223372036854775803", padding=9223372036854775803),
        bad("padding.*2147483648", padding=2**31),
        bad("addresses.*stride 10{30}", stride=10**30),
        bad("addresses", view(1, 1, HUGE, HUGE, dtype=np.uint8)),
        bad("addresses", view(HUGE, HUGE, 1, 1, dtype=np.uint8), view(1, HUGE, 1, 1)),
        bad("addresses", view(2**39, 1, 2**10, 2**10)),
        bad("addresses", view(1, 1, 1, 1), view(2**29, 1, 2**15, 2**15), padding=2**15),
        # Axes
        bad(r"x of shape \(5, 5\)", x=X[0, 0]),
        bad(r"x of shape \(\)", x=1.0),
        bad(r"x of shape \(1, 1, 1, 5, 5\)", x=X[None]),
        bad(r"weight of shape \(3, 3\)", weight=W[0, 0]),
        bad(r"weight of shape \(1, 1, 1, 3, 3\)", weight=W[None]),
        bad(r"bias of shape \(\): expected \(1,\)", bias=1.0),
        bad(r"bias of shape \(2,\): expected \(1,\)", bias=[1.0, 2.0]),
        bad(r"bias of shape \(1, 1\): expected \(1,\)", bias=[[1.0]]),
    ],
)
def test_geometry_errors(arrays, arguments, fault):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(GeometryError, match=fault):
            fastconv.conv2d(*arrays, **arguments)


@pytest.mark.usefixtures("address_space")
@pytest.mark.parametrize("strategy", ["auto", *fastconv.strategies()])
def test_results_that_no_memory_holds(strategy):
    for x, weight, arguments in (
        (view(2**50, 1, 1, 1), view(1, 1, 1, 1), {}),
        (view(1, 1, 1, 1), view(2**50, 1, 1, 1), {}),
        (view(1, 1, 5, 5), W, {"padding": 2**24}),
        (view(1, 1, 2**25, 2**25), W, {}),
    ):
        with pytest.raises((MemoryError, UnsupportedError)):
            fastconv.conv2d(x, weight, **arguments, strategy=strategy)


@pytest.mark.usefixtures("address_space")
def test_small_results_of_enormous_problems():
    np.testing.assert_array_equal(fastconv.conv2d(view(1, 1, 2**28, 2**28), W, stride=2**27), np.full((1, 1, 2, 2), 9))
    np.testing.assert_array_equal(fastconv.conv1d(view(1, 1, 2**40), view(1, 1, 1), stride=2**39), [[[1, 1]]])
    middle = np.zeros((3, 3), F4)
    middle[1, 1] = 9
    np.testing.assert_array_equal(fastconv.conv2d(X, W, padding=2**50, stride=2**50)[0, 0], middle)


@pytest.mark.parametrize("dilation", [5, 2**31, 2**50])
@pytest.mark.parametrize("strategy", ["auto", "direct", "im2col", "toeplitz"])
def test_taps_that_all_fall_into_the_padding(dilation, strategy):
    weight = np.arange(9, dtype=F4).reshape(1, 1, 3, 3)
    x = np.arange(25, dtype=F4).reshape(1, 1, 5, 5)
    out = fastconv.conv2d(x, weight, padding="same", dilation=dilation, strategy=strategy)
    np.testing.assert_array_equal(out, 4 * x)


def test_kernel_that_dwarfs_the_image():
    weight = np.arange(125 * 125, dtype=F4).reshape(1, 1, 125, 125)
    out = fastconv.conv2d(np.full((1, 1, 1, 1), 2, F4), weight, padding=63, tolerance=0)
    np.testing.assert_array_equal(out[0, 0], 2 * weight[0, 0, 61:64, 61:64][::-1, ::-1] + 0 * out[0, 0])


@pytest.mark.parametrize(
    "dtype", ["f2", "g", "O", "c8", "c16", "i4", "u1", "?", "M8[s]", "m8[s]", "S3", "U3", [("a", "f4")]]
)
def test_types_without_a_convolution(dtype):
    x, weight = np.zeros((1, 1, 5, 5), dtype), np.zeros((1, 1, 3, 3), dtype)
    with pytest.raises(TypeError, match=r"expected float32 or float64, got x .*, weight "):
        fastconv.conv2d(x, weight)


@pytest.mark.parametrize("dtype", ["g", "O", "c8", "M8[s]", "S3", [("a", "f4")]])
@pytest.mark.parametrize("position", [0, 1, 2])
def test_one_operand_of_another_type(dtype, position):
    arrays = [X, W, np.ones(1, F4)]
    arrays[position] = np.zeros(arrays[position].shape, dtype)
    with pytest.raises(TypeError, match=r"expected float32 or float64, got x .*, weight .*, bias "):
        fastconv.conv2d(*arrays)


def test_ragged_lists():
    with pytest.raises(ValueError, match="x cannot be converted to an array"):
        fastconv.conv2d([[[1.0, 2.0], [3.0]]], W)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"strategy": "fastest"}, "strategy='fastest'.*'auto'"),
        ({"strategy": None}, "strategy=None"),
        ({"strategy": ["direct"]}, r"strategy=\['direct'\]"),
        ({"tolerance": -1e-9}, "tolerance=-1e-09"),
        ({"tolerance": float("nan")}, "tolerance=nan"),
        ({"tolerance": "tight"}, "tolerance='tight'"),
        ({"tolerance": [1e-5]}, r"tolerance=\[1e-05\]"),
        ({"num_threads": 0}, "num_threads=0"),
        ({"num_threads": -2}, "num_threads=-2"),
        ({"num_threads": 10**6}, "num_threads=1000000"),
        ({"num_threads": 2.0}, "num_threads=2.0"),
        ({"num_threads": "2"}, "num_threads='2'"),
        ({"num_threads": True}, "num_threads=True"),
        ({"activation": "rleu"}, "activation='rleu'.*relu"),
        ({"activation": 5}, "activation=5"),
        ({"activation": ()}, r"activation=\(\)"),
        ({"activation": (["relu"],)}, r"activation=\(\['relu'\],\)"),
        ({"activation": ("relu", 1.0)}, "relu takes no parameter"),
        ({"activation": ("elu", 1.0, 2.0)}, "elu takes one parameter"),
        ({"activation": ("elu", "steep")}, r"activation=\('elu', 'steep'\)"),
        ({"activation": ("elu", None)}, r"activation=\('elu', None\)"),
    ],
)
def test_options(arguments, fault):
    with pytest.raises(ValueError, match=fault):
        fastconv.conv2d(X, W, **arguments)


@pytest.mark.parametrize(
    ("shapes", "arguments", "error", "fault"),
    [
        ((5, (1, 1, 3, 3)), {}, GeometryError, "x_shape=5"),
        (("1155", (1, 1, 3, 3)), {}, GeometryError, "x_shape='1155'"),
        (((1, 1, 5.5, 5), (1, 1, 3, 3)), {}, GeometryError, "x_shape="),
        (((1, 1, 5, 5), (1, 1, 3.0, 3)), {}, GeometryError, "weight_shape="),
        (((1, 1, 5, 5), (3, 3)), {}, GeometryError, "expected 4 axes"),
        (((1, 1, 5), (1, 1, 3)), {}, GeometryError, "expected 4 axes"),
        (((-1, 1, 5, 5), (1, 1, 3, 3)), {}, GeometryError, "n=-1"),
        (((1, 1, -5, -5), (1, 1, 3, 3)), {}, GeometryError, "-5×-5"),
        (((1, -1, 5, 5), (1, -1, 3, 3)), {}, GeometryError, "-1 channels"),
        (((HUGE,) * 4, (HUGE,) * 4), {}, GeometryError, "addresses"),
        ((np.array([2**20] * 4), np.array([1, 2**20, 3, 3])), {}, GeometryError, "addresses"),
        (((1, 1, 5, 5), (1, 1, 3, 3)), {"dtype": "int32"}, TypeError, "int32"),
        (((1, 1, 5, 5), (1, 1, 3, 3)), {"dtype": "nonsense"}, TypeError, "nonsense"),
        (((1, 1, 5, 5), (1, 1, 3, 3)), {"mode": "guess"}, ValueError, "mode='guess'"),
        (((1, 1, 5, 5), (1, 1, 3, 3)), {"mode": []}, ValueError, r"mode=\[\]"),
        (((1, 1, 5, 5), (1, 1, 3, 3)), {"max_workspace": -1}, ValueError, "max_workspace=-1"),
        (((1, 1, 5, 5), (1, 1, 3, 3)), {"max_workspace": 1e9}, ValueError, "max_workspace=1"),
        (((1, 1, 5, 5), (1, 1, 3, 3)), {"max_workspace": "1G"}, ValueError, "max_workspace='1G'"),
    ],
)
def test_plans(shapes, arguments, error, fault):
    with pytest.raises(error, match=fault):
        fastconv.plan_conv2d(*shapes, **arguments)


ANY_INTEGER = st.one_of(
    st.integers(-3, 12), st.sampled_from([2**31 - 1, 2**31, 2**32, 2**61, 2**62, 2**63 - 1, 2**63, 2**64, 10**40])
)


@given(st.lists(ANY_INTEGER, min_size=12, max_size=12))
def test_any_integers_describe_a_problem_or_an_error(values):
    """Whatever is accepted has every array within reach of 64-bit byte offsets."""
    n, ic, oc, ih, iw, kh, kw, groups, *window = values
    try:
        geometry = ConvGeometry.from_shapes(
            (n, ic, ih, iw),
            (oc, ic // groups if groups else ic, kh, kw),
            stride=window[0],
            padding=(window[1], window[2]),
            dilation=window[3],
            groups=groups,
        )
    except GeometryError:
        return
    for shape in (geometry.x_shape, geometry.weight_shape, geometry.out_shape):
        assert all(type(extent) is int and extent >= 0 for extent in shape)
        assert 8 * int(np.prod(shape, dtype=object)) < 2**63
    assert min(geometry.out_extent) >= 1


@given(st.text(alphabet="icogsdpnhkwtlrbef0123456789 -.x", max_size=40))
def test_any_text_is_a_descriptor_or_an_error(text):
    with contextlib.suppress(GeometryError):
        geometry = ConvGeometry.parse(text)
        assert ConvGeometry.parse(str(geometry)) == geometry


# Integers of every kind

MAPS, FILTERS = np.arange(324, dtype=F4).reshape(1, 4, 9, 9), np.arange(144, dtype=F4).reshape(4, 4, 3, 3)
HALVES = np.ascontiguousarray(FILTERS[:, :2])

TAKE_AN_INTEGER = {
    "stride": lambda n: fastconv.conv2d(MAPS, FILTERS, stride=n),
    "stride per axis": lambda n: fastconv.conv2d(MAPS, FILTERS, stride=(n, n)),
    "padding": lambda n: fastconv.conv2d(MAPS, FILTERS, padding=n),
    "padding per side": lambda n: fastconv.conv2d(MAPS, FILTERS, padding=((n, n), (n, n))),
    "dilation": lambda n: fastconv.conv2d(MAPS, FILTERS, dilation=n),
    "groups": lambda n: fastconv.conv2d(MAPS, HALVES, groups=n),
    "num_threads": lambda n: fastconv.conv2d(MAPS, FILTERS, num_threads=n),
    "prepared": lambda n: fastconv.prepare_conv2d(FILTERS, stride=n)(MAPS),
    "conv1d": lambda n: fastconv.conv1d(MAPS[0, :, 0], FILTERS[:, :, 0], stride=n),
    "conv3d": lambda n: fastconv.conv3d(MAPS[None], FILTERS[None, :1, :1], stride=(1, n, n)),
    "transposed": lambda n: fastconv.conv_transpose2d(MAPS, FILTERS, stride=n),
    "output_padding": lambda n: fastconv.conv_transpose2d(MAPS, FILTERS, stride=3, output_padding=n),
    "max_pool2d": lambda n: fastconv.max_pool2d(MAPS, n),
    "stride of pooling": lambda n: fastconv.max_pool2d(MAPS, 3, stride=n),
    "padding of pooling": lambda n: fastconv.max_pool2d(MAPS, 5, padding=n),
    "dilation of pooling": lambda n: fastconv.max_pool2d(MAPS, 2, dilation=n),
    "divisor": lambda n: fastconv.avg_pool2d(MAPS, 2, divisor_override=n),
    "lp_pool2d": lambda n: fastconv.lp_pool2d(MAPS, 2, n),
    "adaptive": lambda n: fastconv.adaptive_avg_pool2d(MAPS, n),
    "fractional": lambda n: fastconv.fractional_max_pool2d(MAPS, 3, n, rng=0),
    "im2col": lambda n: fastconv.im2col(MAPS, n),
    "toeplitz_matrix": lambda n: fastconv.toeplitz_matrix(FILTERS, MAPS.shape, n).toarray(),
    "maxout": lambda n: fastconv.nn.maxout(MAPS, n),
    "softmax": lambda n: fastconv.nn.softmax(MAPS, n),
    "local_response_norm": lambda n: fastconv.nn.local_response_norm(MAPS, n),
}


def test_workspaces_in_integers_of_numpy():
    arguments = (1, 2, 9, 9), HALVES.shape
    plan = fastconv.plan_conv2d(*arguments, max_workspace=np.int64(1 << 30))
    assert plan is fastconv.plan_conv2d(*arguments, max_workspace=1 << 30)
    assert type(plan.max_workspace) is int


@pytest.mark.parametrize("call", TAKE_AN_INTEGER.values(), ids=TAKE_AN_INTEGER)
@pytest.mark.parametrize("first", [2, 2.0, np.float64(2), np.int64(2)])
def test_integers_of_numpy_are_integers_and_floats_are_none(call, first):
    """Whichever comes first: what is remembered of one is not mistaken for what another gives, though 2 == 2.0."""
    with contextlib.suppress(ValueError, TypeError):
        call(first)
    expected = call(2)
    for number in (np.int64(2), np.uint8(2), np.array(2)):
        np.testing.assert_array_equal(call(number), expected)
    for number in (2.0, np.float64(2), "2", 2 + 0j, [[2]]):
        with pytest.raises((ValueError, TypeError)):
            call(number)
    np.testing.assert_array_equal(call(2), expected)

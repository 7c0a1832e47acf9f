"""Network arithmetic against sets of pixels that are followed through the layers, and against published counts."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastconv import GeometryError, cli
from fastconv.engine.geometry import ConvGeometry, PoolGeometry, output_extent, same_padding
from fastconv.networks import NETWORKS
from fastconv.receptive import Layer, Network, ReceptiveField, chain, receptive_field


def conv(descriptor):
    return ConvGeometry.parse(descriptor)


def seen_by(layers, unit):
    """The pixels that a unit of the last layer sees, padding included, by following its taps back one by one."""
    units = {unit}
    for layer in reversed(layers):
        (begin, _), stride, dilation, kernel = layer.padding[0], layer.stride[0], layer.dilation[0], layer.kernel[0]
        units = {u * stride - begin + tap * dilation for u in units for tap in range(kernel)}
    return units


@st.composite
def stacks(draw):
    layers = []
    for _ in range(draw(st.integers(1, 4))):
        kernel = draw(st.integers(1, 4))
        layers.append(
            ConvGeometry(
                n=1,
                g=1,
                ic=1,
                oc=1,
                extent=(100,),
                kernel=(kernel,),
                stride=(draw(st.integers(1, 3)),),
                dilation=(draw(st.integers(1, 3)),),
                padding=((draw(st.integers(0, 3)), draw(st.integers(0, 3))),),
            )
        )
    return layers


@given(stacks(), st.integers(0, 5))
def test_receptive_field_spans_the_pixels_that_are_seen(layers, unit):
    field, pixels = receptive_field(layers), seen_by(layers, unit)
    assert min(pixels) == field.first[0] + unit * field.jump[0]
    assert max(pixels) == min(pixels) + field.size[0] - 1


@given(stacks(), stacks())
def test_branches_see_what_either_does(one, other):
    fields = receptive_field(one), receptive_field(other)
    if fields[0].jump != fields[1].jump:
        with pytest.raises(GeometryError, match="cannot join"):
            fields[0].joined(fields[1])
        return
    joined, pixels = fields[0].joined(fields[1]), seen_by(one, 0) | seen_by(other, 0)
    assert (joined.first[0], joined.size[0]) == (min(pixels), max(pixels) - min(pixels) + 1)


def test_small_kernels_see_as_much_as_large_ones_and_learn_less():
    three, five, seven = (conv(f"ic64 oc64 i56 k{k} p{k // 2}") for k in (3, 5, 7))
    assert receptive_field([three] * 2) == receptive_field([five])
    assert receptive_field([three] * 3) == receptive_field([seven])
    stack = chain("three", [(name, three) for name in "abc"])
    assert stack.parameters == 3 * (9 * 64 * 64 + 64)
    assert stack.parameters < chain("one", [("a", seven)]).parameters
    # 1×n and n×1 make n×n, too.
    row, column = conv("ic64 oc64 i56 kh1 kw7 pt0 pb0 pl3 pr3"), conv("ic64 oc64 i56 kh7 kw1 pt3 pb3 pl0 pr0")
    assert receptive_field([row, column]) == receptive_field([seven])


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 4))
def test_same_padding_keeps_the_extent(extent, kernel, dilation):
    ((begin, end),) = same_padding((kernel,), (dilation,))
    assert output_extent(extent, (begin, end), kernel, 1, dilation) == extent
    assert end - begin in (0, 1)


@pytest.mark.parametrize(
    ("name", "parameters", "flops"),
    [
        ("lenet5", 61_706, 833_040),
        ("alexnet", 60_965_224, 1_448_813_632),
        ("zfnet", 62_357_608, None),
        ("vgg16", 138_357_544, 30_940_528_640),
        ("vgg11", 132_863_336, None),
        ("vgg11_lrn", 132_863_336, None),
        ("vgg13", 133_047_848, None),
        ("vgg16_c", 133_638_952, None),
        ("vgg19", 143_667_240, None),
        ("googlenet", 6_998_552, None),
        ("resnet18", 11_689_512, None),
        ("resnet34", 21_797_672, None),
        ("resnet101", 44_549_160, None),
        ("resnet152", 60_192_808, None),
        ("resnet50", 25_557_032, 8_178_368_512),
        ("squeezenet", 1_235_496, None),
        ("mobilenet_v2", 3_504_872, None),
    ],
)
def test_published_counts(name, parameters, flops):
    network = NETWORKS[name]()
    assert network.parameters == parameters
    assert flops in (None, network.flops)
    assert network.layers[-1].geometry.out_shape == (1, 10 if name == "lenet5" else 1000, 1, 1)


@pytest.mark.parametrize(
    ("name", "layer", "size", "jump"),
    [
        ("lenet5", "pool2", 16, 4),
        ("alexnet", "pool5", 195, 32),
        ("vgg16", "conv5_3", 196, 16),
        ("vgg16", "pool5", 212, 32),
        ("googlenet", "5b 5x5", 715, 32),
        ("resnet50", "conv5_3 expand", 427, 32),
    ],
)
def test_published_receptive_fields(name, layer, size, jump):
    field = NETWORKS[name]().fields[layer]
    assert (field.size, field.jump) == ((size, size), (jump, jump))


def test_layers_are_built_once_and_each_convolution_is_named_once():
    network = NETWORKS["vgg16"]()
    assert NETWORKS["vgg16"]() is network
    assert list(network.convolutions.values())[-1] == ["conv5_1", "conv5_2", "conv5_3"]
    assert sum(map(len, network.convolutions.values())) == 13
    assert all(layer.name in repr(network) for layer in network.layers)
    document = json.loads(json.dumps(network.to_dict()))
    assert document["layers"][0]["receptive_field"] == [3, 3]


A = Layer("a", conv("ic2 oc4 i8 k3 p1"))


@pytest.mark.parametrize(
    ("layers", "fault"),
    [
        ([A, A], "'a': the name is used twice"),
        ([Layer("b", conv("ic4 oc4 i8 k1"), ("a",))], "reads 'a', but no layer before it has that name"),
        ([A, Layer("b", conv("ic4 oc4 i7 k1"), ("a",))], "reads maps of 7×7, but 'a' produces 8×8"),
        ([A, Layer("b", conv("ic5 oc4 i8 k1"), ("a",))], r"reads 5 channels.*\[4\]"),
        ([A, Layer("b", PoolGeometry.parse("c3 i8 k2 s2"), ("a",))], "reads 3 channels"),
        ([A, Layer("b", conv("ic4 oc4 iw8 kw1"), ("a",))], "reads maps of 8, but 'a' produces 8×8"),
    ],
)
def test_layers_that_do_not_fit(layers, fault):
    with pytest.raises(GeometryError, match=fault):
        Network("broken", layers)


def test_channels_are_concatenated_or_added():
    b = Layer("b", conv("ic2 oc4 i8 k1"))
    for channels in (4, 8):
        last = Layer("c", conv(f"ic{channels} oc1 i8 k1"), ("a", "b"))
        assert Network("two branches", [A, b, last]).fields["c"] == ReceptiveField((-1, -1), (3, 3), (1, 1))


def test_stacks_that_are_none():
    with pytest.raises(GeometryError, match="at least one"):
        receptive_field([])
    with pytest.raises(GeometryError, match="2 spatial axes"):
        receptive_field([A.geometry, conv("ic1 oc1 iw8 kw3")])


def test_network_on_the_command_line(capsys, monkeypatch):
    small = chain("Small", [("one", conv("ic2 oc2 i9 k3 p1")), ("two", conv("ic2 oc2 i9 k3 p1"))])
    monkeypatch.setitem(NETWORKS, "lenet5", lambda: small)
    options = ["compare", "--network", "lenet5", "--strategies", "im2col", "--repeats", "1"]
    assert cli.main(options) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{small!r}\n\nSmall one, two\n")
    assert "All 2 convolutions of Small: im2col " in out
    assert cli.main([*options, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["network"] == json.loads(json.dumps(small.to_dict()))
    assert [c["problem"] for c in document["comparisons"]] == [str(small.layers[0].geometry)]


@pytest.mark.parametrize("arguments", [["--network", "lenet6"], ["--network", "vgg16", "--image", "x.png"]])
def test_network_mistakes_end_in_one_line(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["compare", *arguments])
    assert capsys.readouterr().err.count("\n") == 1

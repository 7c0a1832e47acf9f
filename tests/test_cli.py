"""The command line: exit codes, streams, and one line for every mistake."""

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import numpy as np
import onnx
import pytest
from PIL import Image

import fastconv
from fastconv.cli import main
from fastconv.kernels import cpu
from fastconv.lab import photograph, running

LAYER = ["compare", "--layer", "n1 ic2 oc3 i12 k3 p1", "--repeats", "1", "--threads", "1"]


def failure(arguments, capsys):
    """The one line on stderr of a command that fails with exit code 2."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    captured = capsys.readouterr()
    assert stop.value.code == 2
    assert captured.out == ""
    assert captured.err.endswith("\n")
    assert captured.err.count("\n") == 1
    return captured.err


def test_layer_report(capsys):
    assert main(LAYER) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "n1 ic2 oc3 ih12 iw12 kh3 kw3 s1 p1, float32, 1 thread" in captured.out
    for name in (*fastconv.strategies(), "scipy.signal"):
        assert f" {name} " in captured.out


def test_json_is_one_document(capsys):
    assert main([*LAYER, "--json", "--dtype", "float64", "--strategies", "im2col, direct"]) == 0
    document = json.loads(capsys.readouterr().out)
    (comparison,) = document["comparisons"]
    assert document["fastconv"] == fastconv.__version__
    assert document["schema"] == 1
    assert document["versions"]["numpy"] == np.__version__
    assert document["instruction_set"] == cpu.isa()
    assert datetime.now(UTC) - datetime.fromisoformat(document["date"]) < timedelta(minutes=10)
    assert all(len(entry["samples"]) == entry["repeats"] for entry in comparison["strategies"])
    assert comparison["dtype"] == "float64"
    assert {entry["name"] for entry in comparison["strategies"]} == {"im2col", "direct"}
    assert all(entry["measured_error"] < 1e-14 for entry in comparison["strategies"])


def test_a_csv_file_gives_a_comparison_per_line(tmp_path, capsys):
    path = tmp_path / "layers.csv"
    path.write_text("# name, descriptor\nfirst,ic1 oc2 i8 k3\n\nic2 oc1 i7 k1\n")
    assert main(["compare", "--csv", str(path), "--strategies", "direct", "--repeats", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["comparisons"]
    assert [comparison["title"] for comparison in found] == ["first", "ic2 oc1 i7 k1"]
    assert [comparison["problem"].split()[1] for comparison in found] == ["ic1", "ic2"]
    path.write_text("ic1 oc2 i8 k3\nbad,ic1 oc2 i8 k9\n")
    assert "line 2: " in failure(["compare", "--csv", str(path)], capsys)
    path.write_text("# nothing\n")
    assert "expected lines such as" in failure(["compare", "--csv", str(path)], capsys)


def test_units_are_spelt_where_a_terminal_has_only_ascii():
    options = ["--layer", "ic1 oc1 i8 k3", "--strategies", "direct", "--repeats", "2"]
    command = [sys.executable, "-m", "fastconv", "compare", *options]
    out = subprocess.run(
        command, env=os.environ | {"PYTHONIOENCODING": "ascii"}, capture_output=True, check=True
    ).stdout
    assert b"?" not in out
    assert re.search(rb"\* direct +[\d.]+ us ", out)


def test_one_dimensional_layer(capsys):
    assert main(["compare", "--layer", "ic2 oc2 iw30 kw3", "--strategies", "im2col", "--repeats", "1"]) == 0
    assert "ih1 iw30 kh1 kw3" in capsys.readouterr().out


def test_picture_gives_two_problems_and_a_chart(tmp_path, capsys):
    image = pytest.importorskip("PIL.Image", reason="Pillow is an optional dependency")
    pytest.importorskip("matplotlib", reason="matplotlib is an optional dependency")
    pixels = np.random.default_rng(0).integers(0, 256, (16, 20, 3), np.uint8)
    image.fromarray(pixels).save(tmp_path / "noise.png")
    chart = tmp_path / "chart.png"
    options = ["--strategies", "im2col", "--repeats", "1", "--json", "--plot", str(chart)]
    assert main(["compare", "--image", str(tmp_path / "noise.png"), *options]) == 0
    grey, colour = json.loads(capsys.readouterr().out)["comparisons"]
    assert grey["problem"] == "n1 ic1 oc1 ih16 iw20 kh5 kw5 s1 p2"
    assert colour["problem"] == "n1 ic3 oc64 ih16 iw20 kh3 kw3 s1 p1"
    assert "noise.png, 20×16" in grey["title"]
    with image.open(chart) as picture:
        assert picture.format == "PNG"


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["compare", "--frobnicate"], "--frobnicate"),
        (["compare", "--strategies", "im2col,guess"], "'guess'"),
        (["compare", "--strategies", ""], "--strategies"),
        (["compare", "--threads", "0"], "--threads"),
        (["compare", "--threads", "two"], "--threads"),
        (["compare", "--repeats", "0"], "--repeats"),
        (["compare", "--dtype", "int8"], "--dtype"),
        (["compare", "--network", "alexnet", "--dtype", "complex64"], "--dtype"),
        (["compare", "--dtype", "float16"], "--dtype"),
        (["plan", "i9 k3", "--kind", "product", "--dtype", "int8"], "ic is missing"),
        (["plan", "n1 ic3 oc3", "--kind", "product", "--dtype", "int8"], "computes float32 and float64"),
        (["compare", "--image", "no/such\nfile.png"], "No such file"),
        (["compare", "--image", os.sep], "directory"),
        (["compare", "--layer", "nonsense"], "nonsense"),
        (["compare", "--layer", "ic1 oc1 i3 k9"], "the output would be"),
        (["compare", "--layer", "id4 ih4 iw4 k1 ic1 oc1"], "one or two spatial axes"),
        (["compare", "--layer", "n100000 ic64 oc64 i100 k3"], "the limit is"),
        (["compare", "--layer", "ic1 oc1 i2 k2 s1000000000 p100000000"], "the limit is"),
        (["compare", "--layer", "n0 ic1 oc1 i3 k1"], "no image"),
        (["compare", "--layer", "ic1 oc1 i3 k1", "--image", "x.png"], "not allowed"),
        (["compare", "--plot", "no/such/folder/chart.png"], "cannot be written"),
        (["compare", "--plot", "chart.docx"], "chart.docx"),
        (["run"], "MODEL"),
        (["run", "no such model"], "neither a file nor one of lenet5"),
        (["run", "lenet5", "--shape", "1,1,x,28"], "--shape"),
        (["run", "lenet5", "--shape", "100000,100000"], "at most"),
        (["run", "lenet5", "--shape", "1,2,28,28"], "channels"),
        (["run", "lenet5", "--mean", "grey"], "--mean"),
        (["run", "lenet5", "--labels", "no/such/file"], "No such file"),
        (["run", "lenet5", "no/such/picture.png"], "No such file"),
        (["plan"], "DESCRIPTOR"),
        (["plan", "nonsense"], "nonsense"),
        (["plan", "id4 ih4 iw4 k1 ic1 oc1"], "one or two spatial axes"),
        (["plan", "ic1 oc1 i3 k1", "--tolerance", "-1"], "tolerance=-1"),
        (["plan", "ic1 oc1 i3 k1", "--tolerance", "loose"], "--tolerance"),
    ],
)
def test_mistakes_end_in_one_line(arguments, fault, capsys):
    error = failure(arguments, capsys)
    assert error.startswith(f"fastconv {arguments[0]}: error: ")
    assert fault in error


def test_without_a_command_it_shows_examples_that_work(capsys):
    assert main([]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert max(map(len, captured.out.splitlines())) <= 80
    examples = [shlex.split(line.split("  ")[0]) for line in re.findall(r"^  (fastconv .*)", captured.out, re.M)]
    assert len(examples) == 5
    for _, command, *arguments in examples:
        options = {"plan": []}.get(command, ["--help"])
        with contextlib.suppress(SystemExit):
            main([command, *arguments, *options])
        captured = capsys.readouterr()
        assert (captured.err, captured.out != "") == ("", True)


def test_an_unknown_command(capsys):
    assert failure(["bench-press"], capsys).startswith("fastconv: error: ")


def test_plan_is_that_of_the_layer(capsys):
    assert main(["plan", "n1 ic16 oc16 i20 k3 p1", "--threads", "1", "--tolerance", "0"]) == 0
    plan = fastconv.plan_conv2d((1, 16, 20, 20), (16, 16, 3, 3), padding=1, tolerance=0, num_threads=1)
    assert capsys.readouterr().out == f"{plan!r}\n"


def test_run_names_the_likeliest_classes(capsys, tmp_path):
    digits = np.random.default_rng(0).random((2, 1, 28, 28)).astype(np.float32)
    np.save(tmp_path / "digits.npy", digits)
    (tmp_path / "names").write_text("\n".join(f"digit {at}" for at in range(10)))
    assert main(["run", "lenet5", str(tmp_path / "digits.npy"), "--labels", str(tmp_path / "names"), "--top", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    expected = fastconv.networks.build("lenet5")(digits)
    assert [line for line in lines if not line.startswith(" ")] == ["digits.npy, image 0", "digits.npy, image 1"]
    for image, row in enumerate(expected):
        best = int(row.argmax())
        assert lines[3 * image + 1].split(maxsplit=1) == [f"{row[best]:.2%}", f"digit {best}"]


def test_run_prepares_pictures(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "picture.png")
    image = running.image(str(tmp_path / "picture.png"), 20, 16, (0.5, 0.25, 0.0), (2.0, 1.0, 4.0), bgr=True)
    expected = []
    for channel, less, by in ((2, 0.5, 2), (1, 0.25, 1), (0, 0, 4)):
        plane = Image.fromarray((picture[..., channel] / np.float32(255)).astype(np.float32))
        small = np.asarray(plane.resize((30, 20), Image.Resampling.BILINEAR))
        expected.append((small[2:18, 7:23] - less) / by)
    np.testing.assert_allclose(image, [expected], atol=1e-6)


def test_run_profiles(capsys):
    assert main(["run", "lenet5", "--profile", "--dense", "--shape", "1,1,32,36", "--threads", "1"]) == 0
    table = capsys.readouterr().out
    assert re.search(r"^conv1 relu +PreparedConv\(.*\) by \w+ +1×6×32×36 ", table, re.M)
    assert re.search(r"^LeNet-5: .* a call; .* of weights, .* of results$", table, re.M)


def test_run_reads_models(capsys, tmp_path):
    node = onnx.helper.make_node("GlobalAveragePool", ["x"], ["y"])
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in "xy"]
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "mean", values[:1], values[1:]))
    onnx.save(model, tmp_path / "mean.onnx")
    assert main(["run", str(tmp_path / "mean.onnx"), "--shape", "1,1,5,5"]) == 0
    assert capsys.readouterr().out.startswith("random 1×1×5×5: float32 (1, 1, 1, 1), from")
    assert "expected pictures" in failure(["run", str(tmp_path / "mean.onnx")], capsys)


@pytest.mark.parametrize("name", ["empty.png", "empty.npy", "text.png", "text.npy"])
def test_files_that_are_no_pictures(name, tmp_path, capsys):
    path = tmp_path / name
    path.write_text("words, not pixels" if name.startswith("text") else "")
    assert str(path) in failure(["compare", "--image", str(path)], capsys)


def test_truncated_picture(tmp_path, capsys):
    image = pytest.importorskip("PIL.Image", reason="Pillow is an optional dependency")
    image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(tmp_path / "whole.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "whole.png").read_bytes()[:5000])
    assert "broken picture" in failure(["compare", "--image", str(tmp_path / "half.png")], capsys)


@pytest.mark.parametrize("extent", [10_500, 20_000])
def test_pixel_bomb(extent, tmp_path, capsys):
    image = pytest.importorskip("PIL.Image", reason="Pillow is an optional dependency")
    image.new("1", (extent, extent)).save(tmp_path / "bomb.png")
    assert "100,000,000" in failure(["compare", "--image", str(tmp_path / "bomb.png")], capsys)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 3, 4, 5)),
        np.zeros((4, 4, 2)),
        np.zeros((0, 4)),
        np.zeros((4, 4), complex),
        np.full((4, 4), np.nan),
        np.full((4, 4), None),
        np.zeros((8, 13)),
    ],
    ids=["4-D", "two channels", "empty", "complex", "NaN", "object", "too large"],
)
def test_arrays_that_are_no_pictures(array, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(photograph, "MAX_PIXELS", 100)
    path = tmp_path / "array.npy"
    np.save(path, array, allow_pickle=True)
    assert str(path) in failure(["compare", "--image", str(path)], capsys)


def test_pixels_of_an_array_are_scaled_and_channels_lead(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 65536, (5, 7, 4), np.uint16)
    np.save(tmp_path / "deep.npy", pixels)
    picture = photograph.load(tmp_path / "deep.npy")
    np.testing.assert_array_equal(picture, (pixels[..., :3] / np.float32(65535)).transpose(2, 0, 1))
    assert picture.dtype == np.float32


def test_grey_array_becomes_three_equal_channels_of_the_same_luma(tmp_path):
    pixels = np.random.default_rng(0).random((5, 7))
    np.save(tmp_path / "grey.npy", pixels)
    picture = photograph.load(tmp_path / "grey.npy")
    np.testing.assert_array_equal(picture, np.broadcast_to(pixels.astype(np.float32), (3, 5, 7)))
    np.testing.assert_allclose(photograph.grey(picture)[0], pixels, rtol=1e-6)


@pytest.mark.parametrize("shape", [(2000, 3000), (1, 3_000_000)])
def test_large_pictures_are_thinned(shape, tmp_path):
    np.save(tmp_path / "large.npy", np.zeros(shape, np.uint8))
    _, height, width = photograph.load(tmp_path / "large.npy").shape
    assert photograph.COMPARED_PIXELS / 4 <= height * width <= photograph.COMPARED_PIXELS


def test_picture_and_array_of_the_same_pixels_agree(tmp_path):
    image = pytest.importorskip("PIL.Image", reason="Pillow is an optional dependency")
    pixels = np.random.default_rng(0).integers(0, 256, (9, 6, 3), np.uint8)
    image.fromarray(pixels).save(tmp_path / "picture.png")
    np.save(tmp_path / "picture.npy", pixels)
    np.testing.assert_array_equal(photograph.load(tmp_path / "picture.png"), photograph.load(tmp_path / "picture.npy"))


def test_default_photograph():
    pytest.importorskip("matplotlib", reason="matplotlib is an optional dependency")
    picture = photograph.load()
    assert picture.shape == (3, 600, 512)
    assert 0 <= picture.min() < picture.max() <= 1


@pytest.mark.parametrize("module", ["matplotlib", "PIL"])
def test_missing_extra_is_named(module, monkeypatch, capsys, tmp_path):
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    error = failure(["compare"], capsys)
    assert "pip install fastconv[plot]" in error
    assert "--image FILE" in error


def test_info(capsys):
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    for text in (fastconv.__version__, np.__version__, "GFLOP/s float32", "L1", *fastconv.strategies()):
        assert text in out


def command(*arguments, **options):
    return subprocess.Popen([sys.executable, "-m", "fastconv", *arguments], **options)


def test_closed_pipe_is_quiet():
    reader, writer = os.pipe()
    os.close(reader)
    with command("info", stdout=writer, stderr=subprocess.PIPE) as process:
        os.close(writer)
        assert process.stderr.read() == b""
    assert process.returncode == 128 + signal.SIGPIPE


def test_interrupt_is_quiet_and_leaves_no_progress_bar():
    terminal, stderr = os.openpty()
    layer = "n1 ic64 oc64 ih224 iw224 kh3 kw3 s1 p1"
    with command("compare", "--layer", layer, "--repeats", "1000", stdout=subprocess.PIPE, stderr=stderr) as process:
        os.close(stderr)
        shown = os.read(terminal, 4096)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate()
    with contextlib.suppress(OSError):  # how a terminal ends once nobody writes to it
        while more := os.read(terminal, 4096):
            shown += more
    os.close(terminal)
    assert (process.returncode, out) == (128 + signal.SIGINT, b"")
    assert b"reference" in shown
    assert shown.endswith(b"\r\x1b[K")
    assert b"Traceback" not in shown

"""`fastconv train`: files of digits, a network that learns to read them, and what is written of it."""

import gzip
import re

import numpy as np
import onnx.reference
import pytest
from PIL import Image

import fastconv
from fastconv.cli import main
from fastconv.lab import digits, learning
from test_cli import failure

RNG = np.random.default_rng(5)
COUNTS = {"train": 40, "t10k": 10}
IMAGES = {part: RNG.integers(0, 256, (count, 28, 28), np.uint8) for part, count in COUNTS.items()}
LABELS = {part: np.arange(count, dtype=np.uint8) % 10 for part, count in COUNTS.items()}


def idx(array):
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def folder_of(path, parts=("train", "t10k"), zipped=False):
    for part in parts:
        for name, array in ((f"{part}-images-idx3-ubyte", IMAGES[part]), (f"{part}-labels-idx1-ubyte", LABELS[part])):
            data = idx(array)
            (path / (f"{name}.gz" if zipped else name)).write_bytes(gzip.compress(data) if zipped else data)
    return str(path)


def archive_of(path, **others):
    file = path / "mnist.npz"
    names = {"x_train": IMAGES["train"], "y_train": LABELS["train"], "x_test": IMAGES["t10k"], "y_test": LABELS["t10k"]}
    np.savez(file, **names | others)
    return str(file)


@pytest.mark.parametrize("form", ["idx", "gzip", "npz"])
def test_files_of_mnist(tmp_path, form):
    path = archive_of(tmp_path) if form == "npz" else folder_of(tmp_path, zipped=form == "gzip")
    data = digits.load(path, 0)
    for part, of in (("train", data.learnt), ("t10k", data.held_out)):
        assert of.images.dtype == np.float32
        np.testing.assert_array_equal(of.images[:, 0], IMAGES[part] / np.float32(255))
        np.testing.assert_array_equal(of.labels, LABELS[part])


def test_a_fifth_is_held_out_where_no_file_is(tmp_path):
    data = digits.load(folder_of(tmp_path, ["train"]), 3)
    assert len(data.held_out.labels) == 8
    together = np.concatenate([data.learnt.images, data.held_out.images])[:, 0]
    np.testing.assert_array_equal(np.unique(together, axis=0), np.unique(IMAGES["train"] / np.float32(255), axis=0))
    same, other = (digits.load(str(tmp_path), seed).held_out.images for seed in (3, 4))
    np.testing.assert_array_equal(same, data.held_out.images)
    assert (other != same).any()


def test_small_digits():
    data = digits.load(None, 0)
    assert data.learnt.images.shape == (1438, 1, 28, 28)
    assert data.held_out.images.shape == (359, 1, 28, 28)
    images = np.concatenate([data.learnt.images, data.held_out.images])
    assert images.min() == 0
    assert images.max() == 1
    frame = np.pad(np.zeros((20, 20), bool), 4, constant_values=True)
    assert not images[:, 0, frame].any()
    # Enlarging keeps means, but for what bilinear interpolation does at the edges of 8×8.
    from sklearn.datasets import load_digits

    assert images.mean() * 28**2 / 20**2 == pytest.approx(load_digits().data.mean() / 16, rel=0.02)


def test_images_are_shifted_by_whole_pixels():
    images = np.zeros((300, 1, 28, 28), np.float32)
    images[:, 0, 14, 10] = 1
    moved = learning.shifted(images, np.random.default_rng(0))
    _, _, rows, columns = np.nonzero(moved)
    assert len(rows) == 300
    assert set(rows) == set(range(12, 17))
    assert set(columns) == set(range(8, 13))


def test_training_reads_digits_and_leaves_files_behind(tmp_path, capsys):
    files = {name: str(tmp_path / f"lenet5.{name}") for name in ("npz", "onnx", "png")}
    options = ["--save", files["npz"], "--onnx", files["onnx"], "--picture", files["png"]]
    assert main(["train", "lenet5", "--epochs", "4", "--seed", "1", *options]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    lines = captured.out.splitlines()
    assert lines[0].split() == ["epoch", "loss", "accuracy", "held", "out", "time"]
    (right,) = (line for line in lines if "held-out images are right" in line)
    # 97.5 % where this was written; other instruction sets round otherwise. The default of 20 epochs gives 99.2 %.
    assert float(right.split("%")[0]) > 96
    assert lines[-3:] == [f"written: {files[name]}" for name in ("npz", "onnx", "png")]
    with Image.open(files["png"]) as picture:
        assert picture.format == "PNG"

    trainable = fastconv.training.Trainable(fastconv.networks.build("lenet5"))
    fastconv.training.load(files["npz"], trainable)
    images, labels = digits.load(None, 1).held_out
    ours = trainable.network().prepare()(images)
    assert f"{(ours.argmax(1) == labels).mean():.2%}" == right.split()[0]
    (theirs,) = onnx.reference.ReferenceEvaluator(files["onnx"]).run(None, {"image": images[:20]})
    # Each layer errs by some roundings of sums of up to 400 terms of order 1; so do probabilities.
    np.testing.assert_allclose(theirs, ours[:20], rtol=0, atol=1e-4)
    np.testing.assert_array_equal(theirs.argmax(1), ours[:20].argmax(1))


def test_weights_are_the_same_for_any_number_of_threads(tmp_path):
    data = digits.load(folder_of(tmp_path), 0)
    results = []
    for threads in (1, 2):
        with fastconv.num_threads(threads):
            learnt = learning.train("lenet5", data, epochs=2, batch=16, seed=0)
            results.append({name: array.tobytes() for name, array in learnt.trainable.parameters.items()})
    assert results[0] == results[1]


HOSTILE = {
    "header": (idx(IMAGES["train"][0]), "3 axes"),
    "short": (idx(IMAGES["train"])[:-1], "expected 31360 values"),
    "long": (idx(IMAGES["train"]) + b"0", "expected 31360 values"),
    "extent": (idx(IMAGES["train"][:, 1:]), r"\(40, 27, 28\): expected \(N, 28, 28\)"),
    "count": (bytes((0, 0, 8, 3)) + np.array([2**31, 28, 28], ">u4").tobytes(), "at most"),
    "fewer": (idx(IMAGES["train"][:-1]), "39 images and 40 labels"),
    "empty": (b"", "header"),
}


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("name", HOSTILE)
def test_broken_files(tmp_path, name, zipped):
    data, fault = HOSTILE[name]
    folder_of(tmp_path, zipped=zipped)
    path = tmp_path / f"train-images-idx3-ubyte{'.gz' * zipped}"
    path.write_bytes(gzip.compress(data) if zipped else data)
    with pytest.raises(ValueError, match=fault):
        digits.load(str(tmp_path), 0)


def test_other_broken_files(tmp_path):
    folder_of(tmp_path, zipped=True)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"text", whole[:-8] + bytes(8)):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz: "):
            digits.load(str(tmp_path), 0)
    (tmp_path / "train-labels-idx1-ubyte.gz").unlink()
    path.write_bytes(whole)
    with pytest.raises(ValueError, match=r"train-labels-idx1-ubyte\(.gz\) is missing"):
        digits.load(str(tmp_path), 0)
    for others, fault in (
        ({"x_train": IMAGES["train"][:, :27]}, r"x_train of shape \(40, 27, 28\)"),
        ({"y_train": LABELS["train"] + 1}, "labels from 1 to 10"),
        ({"y_train": LABELS["train"].astype(object)}, "no plain numbers"),
        ({"y_test": LABELS["train"]}, "10 images and 40 labels"),
    ):
        with pytest.raises(ValueError, match=fault):
            digits.load(archive_of(tmp_path, **others), 0)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ([], "MODEL"),
        (["alexnet"], "alexnet"),
        (["lenet5", "--epochs", "0"], "--epochs"),
        (["lenet5", "--seed", "-1"], "--seed"),
        (["lenet5", "--data", "no/such/folder"], "no/such/folder: expected a .npz file, or a folder"),
        (["lenet5", "--data", "no/such/file.npz"], "No such file"),
        (["lenet5", "--picture", "lenet5.docx"], "lenet5.docx"),
        (["lenet5", "--save", "no/such/folder/weights.npz"], "--save .*cannot be written"),
    ],
)
def test_mistakes_end_in_one_line(arguments, fault, capsys):
    assert re.search(fault, failure(["train", *arguments], capsys))

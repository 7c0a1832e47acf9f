"""A network run on pictures or arrays from the command line: what it says of each, and where its time goes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastconv import networks, nn
from fastconv.graph import Program
from fastconv.lab import photograph


def program_of(model: str, dense: bool = False) -> Program:
    """The ONNX model in the file `model`, or a classical network of this name with random weights."""
    if model in networks.NETWORKS:
        return networks.build(model, dense=dense).prepare()
    if not os.path.exists(model):
        raise ValueError(f"{model}: neither a file nor one of {', '.join(networks.NETWORKS)}")
    try:
        from fastconv.onnx import load
    except ImportError as reason:
        raise ImportError(f"{model}: needs the package onnx: pip install 'fastconv[onnx]'") from reason
    return load(model).prepare()


def onnx_writer(path: str) -> Callable[..., Any]:
    """The function that writes a network as an ONNX model, if what it needs is there."""
    try:
        from fastconv.onnx import save
    except ImportError as reason:
        raise ImportError(f"{path}: needs the package onnx: pip install 'fastconv[onnx]'") from reason
    return save


def image(
    path: str, size: int | None, crop: int | None, mean: Sequence[float], std: Sequence[float], bgr: bool
) -> np.ndarray:
    """The batch of one that a network reads: an array (N, C, H, W) as it is, or a picture.

    The shorter side of a picture becomes `size`, of which the middle `crop` pixels are kept; then values in [0, 1] are
    less `mean` and divided by `std`, per channel.
    """
    if path.endswith(".npy"):
        array: np.ndarray = np.load(path, allow_pickle=False)
        if array.ndim == 4:
            return np.ascontiguousarray(array, np.float64 if array.dtype == np.float64 else np.float32)
    picture = photograph.load(path)
    if size is not None:
        picture = _resized(picture, size)
    if crop is not None:
        rows, columns = picture.shape[1:]
        if min(rows, columns) < crop:
            raise ValueError(f"{path}: {columns}×{rows} pixels: expected at least {crop}, which --crop keeps")
        top, left = (rows - crop) // 2, (columns - crop) // 2
        picture = picture[:, top : top + crop, left : left + crop]
    if bgr:
        picture = picture[::-1]
    centre, deviation = (np.asarray(values, np.float32).reshape(-1, 1, 1) for values in (mean, std))
    return np.ascontiguousarray((picture - centre) / deviation)[None]


def report(title: str, result: np.ndarray, top: int, labels: Sequence[str] | None) -> str:
    """The classes with the largest values of a result (N, classes, ...), or the shape of one that has no classes."""
    if result.ndim < 2 or result.shape[1] < 2:
        return f"{title}: {result.dtype} {result.shape}, from {result.min():.4g} to {result.max():.4g}"
    scores = result.reshape(*result.shape[:2], -1).mean(2)
    if scores.min() < 0 or abs(scores.sum(1) - 1).max() > 1e-3:
        scores = nn.softmax(scores, 1)
    lines = []
    for number, row in enumerate(scores):
        lines.append(title if len(scores) == 1 else f"{title}, image {number}")
        for at in np.argsort(-row, kind="stable")[:top]:
            name = labels[at] if labels is not None and at < len(labels) else f"class {at}"
            lines.append(f"  {row[at]:7.2%}  {name}")
    return "\n".join(lines)


def labels_in(path: str | None) -> list[str] | None:
    """The names of classes, one a line."""
    return None if path is None else Path(path).read_text(encoding="utf-8").splitlines()


def _resized(picture: np.ndarray, size: int) -> np.ndarray:
    """With a shorter side of `size`, by Pillow's antialiased bilinear rule."""
    from PIL import Image

    rows, columns = picture.shape[1:]
    scale = size / min(rows, columns)
    extent = max(size, round(columns * scale)), max(size, round(rows * scale))
    planes = [np.asarray(Image.fromarray(plane).resize(extent, Image.Resampling.BILINEAR)) for plane in picture]
    return np.stack(planes)

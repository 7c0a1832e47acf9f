"""The examples, on real photographs, where the wheels that these come from are installed."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(
    importlib.util.find_spec("rapidocr_onnxruntime") is None or importlib.util.find_spec("skimage") is None,
    reason="the wheels with the weights and the photograph are not installed; `make examples` brings them",
)
def test_read_text():
    from PIL import Image
    from skimage import data

    read = example("read_text").Reader()
    lines = read(Image.fromarray(data.page()))
    assert "Region-based segmentation" in lines
    assert "Let us first determine markers of the coins and the" in lines
    assert read(Image.fromarray(np.full((64, 96, 3), 200, np.uint8))) == []

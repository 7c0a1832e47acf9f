"""Read the text in a photograph: one network finds its lines, another reads each of them.

Both networks are PP-OCRv4 (Du et al., PP-OCR, arXiv 2009.09941), whose ONNX models come with a wheel of the Apache
licence. It is not imported, so what it depends on is not needed:

    pip install "fastconv[onnx]" pillow
    pip install --no-deps rapidocr-onnxruntime
    python examples/read_text.py PHOTOGRAPH...
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from PIL import Image
from scipy import ndimage

import fastconv.onnx

# The networks' own: means and deviations of the detector's blue, green and red, the extents that it takes, and the
# height of the lines that the reader takes.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MULTIPLE, LARGEST = 32, 960
HEIGHT = 48

TEXT, CERTAIN = 0.3, 0.5  # least probability of a pixel, and mean of a line
SMALLEST = 3  # pixels of a line, up and across
SHRUNK = 1.5  # the detector marks lines smaller than they are, by this ratio of area to circumference


class Reader:
    """The two networks, ready to run.

    Parameters
    ----------
    folder : Path, optional
        Where the models are; by default, in the wheel.
    """

    def __init__(self, folder: Path | None = None) -> None:
        folder = folder or models()
        self.detect = fastconv.onnx.load(folder / "ch_PP-OCRv4_det_infer.onnx").prepare()
        recognise = onnx.load(folder / "ch_PP-OCRv4_rec_infer.onnx")
        self.recognise = fastconv.onnx.load(recognise).prepare()
        (letters,) = (entry.value for entry in recognise.metadata_props if entry.key == "character")
        self.letters = ["", *letters.splitlines(), " "]

    def __call__(self, photograph: Image.Image) -> list[str]:
        """The lines of text in `photograph`, from top to bottom."""
        photograph = photograph.convert("RGB")
        return [line for box in self.boxes(photograph) if (line := self.read(photograph.crop(box)))]

    def boxes(self, photograph: Image.Image) -> Iterator[tuple[int, int, int, int]]:
        """Left, top, right and bottom of each line."""
        scale = min(1, LARGEST / max(photograph.size))
        across, down = (max(1, round(extent * scale / MULTIPLE)) * MULTIPLE for extent in photograph.size)
        x = (pixels(photograph, across, down) - MEAN) / DEVIATION
        is_text = self.detect(as_images(x))[0, 0]
        regions, _ = ndimage.label(is_text > TEXT)
        for number, (rows, columns) in enumerate(ndimage.find_objects(regions), 1):
            height, width = rows.stop - rows.start, columns.stop - columns.start
            sure = is_text[rows, columns][regions[rows, columns] == number].mean() > CERTAIN
            if sure and min(height, width) >= SMALLEST:
                more = SHRUNK * height * width / (2 * (height + width))
                x_scale, y_scale = photograph.width / across, photograph.height / down
                yield (
                    round((columns.start - more) * x_scale),
                    round((rows.start - more) * y_scale),
                    round((columns.stop + more) * x_scale),
                    round((rows.stop + more) * y_scale),
                )

    def read(self, line: Image.Image) -> str:
        """The letters of a line: the likeliest of each column, once where it repeats, and none where it is blank."""
        width = max(HEIGHT, round(HEIGHT * line.width / line.height))
        (columns,) = self.recognise(as_images((pixels(line, width, HEIGHT) - 0.5) / 0.5))
        likeliest = [0, *columns.argmax(1)]
        return "".join(self.letters[letter] for before, letter in pairwise(likeliest) if letter != before)


def models() -> Path:
    """The folder of the models in the wheel."""
    wheel = find_spec("rapidocr_onnxruntime")
    if wheel is None or wheel.origin is None:
        raise SystemExit("the models are missing: pip install --no-deps rapidocr-onnxruntime")
    return Path(wheel.origin).parent / "models"


def pixels(image: Image.Image, across: int, down: int) -> np.ndarray:
    """`image` in that size, as values from 0 to 1 in the order blue, green, red."""
    resized = image.resize((across, down), Image.Resampling.BILINEAR)
    return np.asarray(resized, np.float32)[..., ::-1] / 255


def as_images(x: np.ndarray) -> np.ndarray:
    """A batch of one, with channels first."""
    return np.ascontiguousarray(x.transpose(2, 0, 1)[None], np.float32)


def main() -> None:
    read = Reader()
    for path in sys.argv[1:]:
        print(path)
        for line in read(Image.open(path)):
            print(" ", line)


if __name__ == "__main__":
    main()

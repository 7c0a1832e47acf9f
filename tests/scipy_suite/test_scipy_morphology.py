"""SciPy's own tests of the morphology that fastconv has."""

import pytest
import scipy.ndimage
from replacements import Replacements
from scipy.ndimage import _morphology

import fastconv

suite = pytest.importorskip("scipy.ndimage.tests.test_morphology", reason="this SciPy was installed without its tests")

# Tests of distances, of structures alone, and of what is made of erosions by names that are bound before.
ABOUT_OTHERS = r"distance|iterate_structure|generate_structure|hit_or_miss|propagation|fill_holes"

NAMES = [name for name in fastconv.ndimage.__all__ if name in vars(_morphology)]

NOT_RUN = dict.fromkeys(
    ("test_white_tophat03", "test_black_tophat03"),
    "adds to bool: SciPy stores other values than 0 and 1 in arrays of bool in between",
)

REPLACED = Replacements([scipy.ndimage, _morphology], fastconv.ndimage, NAMES, ABOUT_OTHERS)

TESTS = [name for name in vars(suite) if name.startswith(("Test", "test_"))]

globals().update(REPLACED.adopt(suite, TESTS))


@pytest.fixture(autouse=True)
def _in_the_place_of_scipy(request, monkeypatch):
    yield from REPLACED.patched(request, monkeypatch, suite, NOT_RUN)

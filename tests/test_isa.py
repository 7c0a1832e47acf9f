"""Every instruction set of this CPU, each in its own process, since the choice is made at import."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastconv.kernels import cpu

TESTS = Path(__file__).parent
MARKED = [path for path in sorted(TESTS.glob("test_*.py")) if "per_isa" in path.read_text() and path != Path(__file__)]
PARTS = 4  # as one run it would keep a single worker busy long after the others have finished
LISTED = ", ".join(cpu.available_isas())


def python(isa, *arguments):
    environment = os.environ | {"FASTCONV_ISA": isa}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=TESTS.parent, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("isa", ["", *cpu.available_isas()])
def test_info_names_the_one_in_use(isa):
    expected = f"{isa or cpu.available_isas()[0]} in use; this CPU runs {LISTED}\n"
    assert expected in python(isa, "-m", "fastconv", "info").stdout


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("isa", [isa for isa in cpu.available_isas() if isa != cpu.isa()])
def test_kernels_are_correct_on_the_others(isa, part):
    """The tests marked `per_isa`; this process runs them on the one in use."""
    run = python(
        isa, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "per_isa and not slow", *MARKED[part::PARTS]
    )
    assert run.returncode == 0, f"{isa}:\n{run.stdout}{run.stderr}"


@pytest.mark.parametrize("isa", ["avx9", "AVX2", "avx512 "])
def test_an_unknown_one_is_one_error(isa):
    code = "import numpy, fastconv; fastconv.conv2d(*numpy.ones((2, 1, 1, 3, 3)))"
    expected = f"ValueError: FASTCONV_ISA={isa!r}: this CPU runs {LISTED}"
    assert python(isa, "-c", code).stderr.splitlines()[-1] == expected
    info = python(isa, "-m", "fastconv", "info")
    assert (info.returncode, info.stdout) == (2, "")
    assert info.stderr.splitlines() == [f"fastconv info: error: {expected.removeprefix('ValueError: ')}"]

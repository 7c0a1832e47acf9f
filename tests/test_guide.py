"""The guide's code prints what its pages show, its pictures and links exist, and both languages say the same."""

import re
import sys
from itertools import pairwise
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[1] / "docs" / "guide"
LANGUAGES = ("en", "ko")
CHAPTERS = sorted(page.name for page in (GUIDE / "en").glob("*.md"))
PAGES = [GUIDE / "README.md", *(GUIDE / language / name for language in LANGUAGES for name in CHAPTERS)]
LARGEST_PICTURE = 60_000


def named(page):
    return str(page.relative_to(GUIDE))


def links(page):
    return re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))


def python_of(page):
    """The Python blocks of a page, found without `run.py`."""
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.fixture
def running(monkeypatch, tmp_path):
    """The module that runs pages, with pictures drawn elsewhere."""
    monkeypatch.syspath_prepend(str(GUIDE))
    for name in ("drawing", "run"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import drawing
    import run

    monkeypatch.setattr(drawing, "FOLDER", tmp_path)
    yield run
    for name in ("drawing", "run"):
        sys.modules.pop(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", CHAPTERS)
def test_code_prints_what_is_shown(running, tmp_path, name):
    assert running.run(GUIDE / "en" / name) == ""
    shown = {Path(link).name for link in links(GUIDE / "en" / name) if link.endswith(".png")}
    assert {picture.name for picture in tmp_path.iterdir()} == shown


def test_wrong_output_is_noticed(running, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python\n>>> 1 + 1\n3\n```\n", encoding="utf-8")
    assert "Got:\n    2" in running.run(page)


def test_languages_have_the_same_chapters():
    for language in LANGUAGES:
        assert sorted(page.name for page in (GUIDE / language).iterdir()) == CHAPTERS


@pytest.mark.parametrize("name", CHAPTERS)
def test_languages_have_the_same_code_and_links(name):
    english, korean = (GUIDE / language / name for language in LANGUAGES)
    assert python_of(english) == python_of(korean) != []
    theirs = [link.replace("../en/", "../ko/") for link in links(korean)]
    assert links(english) == theirs
    for page in (english, korean):  # one heading of the first level, and as many of the second
        assert len(re.findall(r"^# ", page.read_text(encoding="utf-8"), re.MULTILINE)) == 1
    assert len(re.findall("^## ", english.read_text(encoding="utf-8"), re.MULTILINE)) == len(
        re.findall("^## ", korean.read_text(encoding="utf-8"), re.MULTILINE)
    )


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page):
    for target in links(page):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("language", LANGUAGES)
def test_chapters_are_chained(language):
    pages = [GUIDE / language / name for name in CHAPTERS]
    for before, after in pairwise(pages):
        assert after.name in links(before)
        assert before.name in links(after)
    listed = [Path(link).name for link in links(GUIDE / "README.md") if link.startswith(f"{language}/")]
    assert listed == CHAPTERS


def test_pictures_are_small_and_used():
    pictures = {picture.name: picture.stat().st_size for picture in (GUIDE / "images").iterdir()}
    assert max(pictures.values()) < LARGEST_PICTURE
    assert pictures.keys() == {Path(link).name for page in PAGES for link in links(page) if link.endswith(".png")}

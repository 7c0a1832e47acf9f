"""Run the code of the guide's pages, which draws their pictures: ``python docs/guide/run.py [NUMBER ...]``.

The pages of both languages hold the same code, so the English ones stand for all.
"""

from __future__ import annotations

import doctest
import sys
from pathlib import Path

GUIDE = Path(__file__).parent
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def python_of(page: Path) -> str:
    """The Python blocks of a page, each on its own lines; all other lines are empty."""
    lines, inside = [], False
    for line in page.read_text(encoding="utf-8").splitlines():
        fence = line.startswith("```")
        if fence:
            inside = line == "```python"
        lines.append(line if inside and not fence else "")
    return "\n".join(lines)


def run(page: Path) -> str:
    """Run a page as a doctest; what it reports of examples that fail."""
    test = doctest.DocTestParser().get_doctest(python_of(page), {}, page.stem, str(page), 0)
    report: list[str] = []
    doctest.DocTestRunner(optionflags=OPTIONS, verbose=False).run(test, out=report.append)
    return "".join(report)


def main(numbers: list[str]) -> int:
    failures = 0
    for page in sorted((GUIDE / "en").glob("[0-9]*.md")):
        if not numbers or page.name.split("-")[0] in numbers:
            report = run(page)
            failures += bool(report)
            print(report or f"{page.stem}: as printed")
    return failures


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

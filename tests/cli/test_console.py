import sys
from io import StringIO

import pytest

from marrow.cli.console import output


class _Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_what_leads_to_a_file_is_not_folded_as_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    line = "a " * 70  # 140 columns

    monkeypatch.setattr(sys, "stdout", StringIO())
    output().print(line.strip())
    assert sys.stdout.getvalue() == line.strip() + "\n"

    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(sys, "stdout", _Terminal())
    output().print(line.strip())
    assert len(sys.stdout.getvalue().splitlines()) == 3

"""What the tests read off a page."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

_VOID = ("meta", "br", "input", "link", "img", "hr")


class Page(HTMLParser):
    """A parsed page: complains where a tag is not closed, keeps ids, scripts, words, and what could load something."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: set[str] = set()
        self.scripts: dict[str, str] = {}
        self.loads: list[str] = []
        self.words: list[str] = []
        self._script = ""
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        assert given.get("id") not in self.ids, f"the id {given['id']} occurs twice"
        if given.get("id"):
            self.ids.add(given["id"])
        if tag == "script":
            self._script = given.get("id") or f"code-{len(self.scripts)}"
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[self._script] = self.scripts.get(self._script, "") + data
        elif not self.open or self.open[-1] != "style":
            self.words.append(data)

    def given(self, name: str) -> Any:
        """Return the data that the page gives to its scripts under a name."""
        return json.loads(self.scripts[name])

    @property
    def said(self) -> str:
        """Everything that a person can read, in one line."""
        return re.sub(r"\s+", " ", " ".join(self.words))

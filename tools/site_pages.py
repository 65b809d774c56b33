"""What the documentation site has besides docs/: made when it is built, never kept (a hook of MkDocs, see mkdocs.yml).

- The front page, contributing, changes, log, security and the card of `general`, from where they lie in the repository.
- A page per command, from its own help and from the lines of the documentation that use it.
- A page per group of public names, from docs/code-layout.md and docstrings.
- A list of decisions.

Links that lead out of docs/ are turned to where these pages are; those to other files of the repository become words.
"""

import html
import importlib
import os
import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
# Pages of the site by where they lie in the repository. All others are where docs/ has them.
ELSEWHERE = {
    "README.md": "index.md",
    "docs/README.md": "all-pages.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changes.md",
    "LOG.md": "log.md",
    "SECURITY.md": "security.md",
    "src/marrow/weights/general/card.md": "general-card.md",
    "docs/decisions": "decisions/index.md",
    "LICENSE": "LICENSE.txt",
}
_LINK = re.compile(r"\]\(([^)#\s:]+)(#[^)\s]*)?\)")
_BASH = re.compile(r"^```bash\n(.*?)^```$", re.M | re.S)
_MOST_EXAMPLES = 8
# So wide that nothing is folded: the page folds.
_HELP_COLUMNS = "100000"
_OPTION = re.compile(r"^  (\S.*?)(?:  +(\S.*))?$")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Complete the navigation: walks, decisions, commands and public names are not listed by hand."""
    sys.path.insert(0, str(ROOT / "src"))
    groups: dict[str, list[Any]] = {name: pages for group in config.nav or [] for name, pages in group.items()}
    groups["Your own data"] += sorted(path.name for path in DOCS.glob("walk-*.md"))
    groups["Reference"] += [
        {"Commands": ["commands/index.md", *(f"commands/{name}.md" for name in _commands())]},
        {"Python": [f"python/{name}.md" for name in _groups_of_names()]},
    ]
    groups["Decisions"] += ["decisions/index.md", *(f"decisions/{path.name}" for path in _decisions())]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""
    made = {
        site: (ROOT / here).read_text(encoding="utf-8") for here, site in ELSEWHERE.items() if (ROOT / here).is_file()
    }
    made["decisions/index.md"] = _list_of_decisions()
    made["commands/index.md"] = _list_of_commands()
    made |= {f"commands/{name}.md": _command_page(name) for name in _commands()}
    made |= {f"python/{name}.md": text for name, text in _groups_of_names().items()}
    first = files.get_file_from_path("README.md")
    if first is not None:
        files.remove(first)
    for uri, content in made.items():
        files.append(File.generated(config, uri, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links to where the pages of the site are."""
    uri = page.file.src_uri
    source = next((here for here, site in ELSEWHERE.items() if site == uri), f"docs/{uri}")

    def turned(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[1]))
        if not (ROOT / target).exists():
            return match[0]  # a page that is made, or no link
        is_of_docs = target.startswith("docs/") and (ROOT / target).is_file()
        site = ELSEWHERE.get(target, target.removeprefix("docs/") if is_of_docs else "")
        if not site:
            return "](#)"
        return f"]({posixpath.relpath(site, posixpath.dirname(uri) or '.')}{match[2] or ''})"

    return re.sub(r"\[([^\]]*)\]\(#\)", r"\1", _LINK.sub(turned, markdown))


def _commands() -> dict[str, tuple[str, str]]:
    from marrow.cli.main import COMMANDS

    return COMMANDS


def _list_of_commands() -> str:
    from marrow.cli.examples import EXAMPLES

    rows = "".join(
        f"| [`marrow {name}`]({name}.md) | {line} | {EXAMPLES[name].cost} |\n"
        for name, (_, line) in _commands().items()
    )
    return (
        "# Commands\n\n`marrow COMMAND --help` says what these pages say. Hyphens and underscores in names of options "
        "are the same. What a command takes is what its worked example takes.\n\n"
        f"| command | does | takes |\n|---|---|---|\n{rows}"
    )


def _command_page(name: str) -> str:
    from marrow.cli.examples import EXAMPLES

    module, _ = _commands()[name]
    os.environ["COLUMNS"] = _HELP_COLUMNS
    build = importlib.import_module(module).build_parser
    parser = build([]) if build.__code__.co_argcount else build()
    parser.epilog = None  # the worked example, which has a place of its own
    examples = _examples(name)
    shown = "\n".join(command for command, _ in examples[:_MOST_EXAMPLES])
    pages = dict.fromkeys(page for _, page in examples)
    more = f"\nMore, from {', '.join(f'[{page[:-3]}](../{page})' for page in pages)}:\n\n```bash\n{shown}\n```\n"
    worked = EXAMPLES[name]
    takes = f"This takes {worked.cost} ({worked.data})."
    block = f"\n## Examples\n\n```bash\n{worked.line}\n```\n\n{takes}\n{more if pages else ''}"
    words, heading, options = _help_as_markdown(parser.format_help()).partition("\n## ")
    return f"# marrow {name}\n\n{words}{block}{heading}{options}"


def _help_as_markdown(text: str) -> str:
    """Turn a help text whose lines are not folded into words, headings, and an item per argument."""
    usage, _, rest = text.partition("\n\n")
    required = [word for word in re.sub(r"\[.*?\]+", "", usage).split() if word != "usage:"]
    parts = [f"`{' '.join(required)} [options]`", ""]
    for line in rest.splitlines():
        option = _OPTION.match(line)
        if option and not line.startswith("   "):
            parts += [f"- **`{option[1]}`**" + (f": {_plain(option[2])}" if option[2] else "")]
        elif line.startswith("   "):
            parts[-1] += f"{':' * parts[-1].endswith('`**')} {_plain(line.strip())}"
        elif line.endswith(":") and len(line) < 60:
            parts += ["", f"## {line[0].upper()}{line[1:-1]}", ""]
        else:
            parts += [_plain(line)]
    return "\n".join(parts) + "\n"


def _plain(text: str) -> str:
    """Return words as Markdown in which only what stands in backticks is code."""
    pieces = text.split("`")
    pieces[::2] = [re.sub(r"([*_\[\]<])", r"\\\1", piece) for piece in pieces[::2]]
    return "`".join(pieces)


def _examples(name: str) -> list[tuple[str, str]]:
    """Return lines of the documentation's blocks that use a command, each once, with the page."""
    found: dict[str, str] = {}
    for page in sorted(DOCS.glob("*.md")):
        for block in _BASH.findall(page.read_text(encoding="utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith(f"marrow {name} ") or line == f"marrow {name}":
                    found.setdefault(re.sub(r"\s+", " ", re.sub(r"\s+# .*", "", line)), page.name)
    return list(found.items())


def _groups_of_names() -> dict[str, str]:
    """Return a page for each row of the table of public names, by the name of the page."""
    from marrow import _HOME_OF

    section = (DOCS / "code-layout.md").read_text(encoding="utf-8").split("## Public names")[1]
    pages = {}
    for row in section.splitlines():
        if not row.startswith("| `"):
            continue
        names, words = (cell.strip() for cell in row.strip("|").split("|"))
        title = words.partition(":")[0]
        parts = [f"# {title[0].upper()}{title[1:]}\n\n`from marrow import ...`\n"]
        parts += [f"::: {_HOME_OF[name]}.{name}\n" for name in re.findall(r"`(\w+)`", names)]
        pages[title.replace(" ", "-")] = "\n".join(parts)
    return pages


def _decisions() -> list[Path]:
    return [path for path in sorted((DOCS / "decisions").glob("0*.md")) if not path.name.startswith("0000")]


def _list_of_decisions() -> str:
    titles = {path: path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ") for path in _decisions()}
    rows = "".join(f"- [{html.escape(title)}]({path.name})\n" for path, title in titles.items())
    return f"# Decisions\n\nWhy things are as they are, and what was weighed.\n\n{rows}"

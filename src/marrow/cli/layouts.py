"""`marrow layouts`: which layouts there are, what a layout has, and which joint of one is which of another."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace

from marrow.cli.arguments import make_parser
from marrow.errors import ConfigError

if TYPE_CHECKING:
    from marrow.skeleton.layout import Skeleton
    from marrow.skeleton.retarget import JointMatch


def build_parser() -> ArgumentParser:
    """Return the parser of the command."""
    parser = make_parser(
        "marrow layouts",
        "Without a layout: list those that are built in. With one: list its joints, and which place of the body each "
        "is. With two: show which joint of the first is which of the second, what is derived, and what is left. A "
        "layout is the name of one that is built in, a YAML file with one of your own, or a store.",
    )
    parser.add_argument("layouts", nargs="*", type=str, metavar="LAYOUT", help="a name, a YAML file, or a store")
    parser.add_argument(
        "--picture", type=Path, default=None, help="SVG file to draw into: the layout, or all where none is given"
    )
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    return parser


def run(arguments: Namespace) -> int:
    """List, show or compare."""
    if len(arguments.layouts) > 2:
        raise ConfigError(f"expected one layout or two, got {len(arguments.layouts)}: {', '.join(arguments.layouts)}")
    picture: Path | None = arguments.picture
    if picture is not None and picture.suffix.lower() != ".svg":
        raise ConfigError(f"--picture must end in .svg, got {str(picture)!r}")
    if picture is not None and len(arguments.layouts) == 2:
        raise ConfigError("--picture draws one layout, or all; got two to compare")
    layouts = [_layout(name) for name in arguments.layouts]
    if not layouts:
        _list_all(arguments.json)
    elif len(layouts) == 1:
        _show(layouts[0], arguments.json)
    else:
        _compare(layouts[0], layouts[1], arguments.json)
    if picture is not None:
        _draw(layouts, picture)
        if not arguments.json:
            print(f"picture: {picture}")
    return 0


def _layout(name: str) -> "Skeleton":
    """Return a layout by its name, from its YAML file, or of a store."""
    from marrow.skeleton.layout_file import get_layout

    if Path(name).is_dir():
        from marrow.store.format import Store

        return Store.open(name).skeleton
    return get_layout(name)


def _list_all(as_json: bool) -> None:
    from marrow.skeleton.known import LAYOUTS, SOURCES
    from marrow.skeleton.places import places_of

    rows = [
        {"name": name, "joints": len(layout.joints), "places": len(places_of(layout)), "source": SOURCES[name]}
        for name, layout in LAYOUTS.items()
    ]
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    table = [(row["name"], str(row["joints"]), str(row["places"]), row["source"]) for row in rows]
    _print(("layout", "joints", "places", "where it is from"), table)
    print("\n`marrow layouts NAME` shows one, `marrow layouts NAME NAME` compares two")


def _show(layout: "Skeleton", as_json: bool) -> None:
    from marrow.skeleton.derived import with_middles
    from marrow.skeleton.places import place_of_joints

    whole = with_middles(layout)
    places, roles = place_of_joints(whole), {joint: role for role, joint in whole.anchors.items()}
    rows: list[dict[str, Any]] = [
        {
            "joint": name,
            "parent": None if whole.parents[joint] == joint else whole.joints[whole.parents[joint]],
            "place": places.get(joint),
            "mirror": None if whole.mirror[joint] == joint else whole.joints[whole.mirror[joint]],
            "anchor": roles.get(joint),
            "derived": {whole.joints[source]: weight for source, weight in whole.derived.get(joint, ())} or None,
        }
        for joint, name in enumerate(whole.joints)
    ]
    if as_json:
        print(
            json.dumps({"name": whole.name, "up": whole.up, "dimensions": whole.dimensions, "joints": rows}, indent=1)
        )
        return
    added = len(whole.joints) - len(layout.joints)
    derived = f", {added} that importing derives" if added else ""
    print(f"{layout.name}: {len(layout.joints)} joints in {layout.dimensions}D, up is {layout.up}{derived}\n")
    table = []
    for joint, row in enumerate(rows):
        made_of = " and ".join(row["derived"]) if row["derived"] else ""
        said = "; ".join(
            text for text in (row["anchor"] and f"anchor {row['anchor']}", made_of and f"between {made_of}") if text
        )
        table.append((str(joint), row["joint"], row["parent"] or "(root)", row["place"] or "-", said))
    _print(("", "joint", "hangs from", "place", ""), table)


def _compare(source: "Skeleton", target: "Skeleton", as_json: bool) -> None:
    """Show what becomes of the joints of one layout in another."""
    from marrow.skeleton.places import place_of_joints
    from marrow.skeleton.retarget import match

    found = match(source, target)
    derived = _derived_names(found)
    missing = [name for name in found.unmatched_target if name not in derived]
    here, there = place_of_joints(source), place_of_joints(target)
    pairs = {joint: other for joint, other in enumerate(found.sources) if other is not None}
    near = [joint for joint, other in pairs.items() if here.get(other) != there.get(joint)]
    if as_json:
        described = {"source": source.name, "target": target.name, "pairs": found.pairs, "derived": derived}
        described |= {"near": [target.joints[joint] for joint in near]}
        print(json.dumps(described | {"missing": missing, "left": list(found.unmatched_source)}, indent=1))
        return
    table = []
    for joint, name in enumerate(target.joints):
        if joint in pairs:
            other = pairs[joint]
            said = f"near: {here.get(other, 'its own')}" if joint in near else ""
            said = "; ".join(text for text in (said, "derived" if other in source.derived else "") if text)
            table.append((name, source.joints[other], there.get(joint, "-"), said))
        elif name in derived:
            table.append((name, f"between {' and '.join(derived[name])}", there.get(joint, "-"), "derived"))
        else:
            table.append((name, "", there.get(joint, "-"), "missing"))
    _print((target.name, f"is in {source.name}", "place", ""), table)
    there_already = sum(other not in source.derived for other in pairs.values())
    counted = f"{len(target.joints) - there_already - len(missing)} derived, {len(missing)} missing"
    print(f"\n{there_already} of {len(target.joints)} joints are there, {counted}")
    if found.unmatched_source:
        print(f"left of {source.name}: {', '.join(found.unmatched_source)}")


def _derived_names(found: "JointMatch") -> dict[str, list[str]]:
    """Return what the derived joints of the target are made of, as the source calls it."""
    return {
        found.target.joints[joint]: [
            found.source.joints[other]
            for other in (found.sources[made_of] for made_of, _ in sources)
            if other is not None
        ]
        for joint, sources in found.derived.items()
    }


def _draw(layouts: list["Skeleton"], picture: Path) -> None:
    from marrow.files import write_text_whole
    from marrow.skeleton.known import LAYOUTS
    from marrow.viewer.layout_picture import layout_picture, layout_sheet

    write_text_whole(picture, layout_picture(layouts[0]) if layouts else layout_sheet([*LAYOUTS.values()]))


def _print(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Print a table whose columns are as wide as what is in them."""
    widths = [max(len(row[column]) for row in (headings, *rows)) for column in range(len(headings))]
    for row in (headings, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())

"""Put an encoder into the package: `python tools/ship_general.py RUN [SEED_RUN ...]`.

Only what was trained on data that may be given away is taken. Paths of the machine are left out; the card is written
from what the run says of itself and from `general_scores.json` beside it, which holds the tables of docs/general.md.
"""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from marrow.errors import ConfigError, MarrowError
from marrow.models.export import DESCRIPTION, WEIGHTS

# What may be trained on and shipped, by the source of its store, and under which terms.
TERMS = {
    "cmu_mocap": (
        'CMU Graphics Lab Motion Capture Database, mocap.cs.cmu.edu: "free for all uses"; it may be a part of products '
        "that are sold, and must not be sold as data. The data used here was obtained from mocap.cs.cmu.edu; the "
        "database was created with funding from NSF EIA-0196217."
    ),
    "ui_prmd": (
        "UI-PRMD (A. Vakanski, H. Jun, D. Paul, R. Baker, Data 3(1):2, 2018): Open Data Commons Public Domain "
        "Dedication and Licence."
    ),
    "synthetic": "Synthetic motion, made by marrow: no terms.",
}
LARGEST_BYTES = 6_000_000
HOME = Path(__file__).parents[1] / "src/marrow/weights/general"


def shipped_source(store: dict[str, Any]) -> str:
    """Return the source of a store as the table above has it.

    Raises:
        ConfigError: data of that source may not be shipped.
    """
    source = store["source"] if store["source"] != "import" else store["name"]
    if source not in TERMS:
        raise ConfigError(
            f"the run learned from {store['name']!r} ({store['source']}), whose terms do not allow its weights to be "
            f"given away; expected nothing but {', '.join(TERMS)}"
        )
    return source


def described(run: Path) -> dict[str, Any]:
    """Return what the package says of an encoder: that of the run, without paths."""
    description = json.loads((run / "encoder" / DESCRIPTION).read_text(encoding="utf-8"))
    provenance = description["provenance"]
    if not provenance.get("finished") or "stores" not in provenance:
        raise ConfigError(f"{run}: expected a finished run over several stores")
    stores = [
        {**{name: value for name, value in store.items() if name != "path"}, "source": shipped_source(store)}
        for store in provenance["stores"]
    ]
    settings = {name: value for name, value in provenance["settings"].items() if name not in ("store", "stores", "out")}
    environment = json.loads((run / "environment.json").read_text(encoding="utf-8"))[0]
    hardware = {name: environment[name] for name in ("device", "precision", "python", "commit")}
    hardware["torch"] = environment["packages"]["torch"]
    description["provenance"] = provenance | {
        "stores": stores,
        "settings": settings,
        "hardware": hardware,
        "terms": {source: TERMS[source] for source in sorted({store["source"] for store in stores})},
    }
    return description


def card(description: dict[str, Any], digest: str, scores: dict[str, Any]) -> str:
    """Return the card: data, terms, command, hardware, scores, hash."""
    provenance = description["provenance"]
    lines = [
        "# general",
        "",
        "An encoder of human motion for any skeleton: recordings are brought to 40 places of the body, in three "
        "dimensions or two.",
        f"Learned without labels by {provenance['method']} (recipe `general`), {provenance['steps']:,} steps in "
        f"{provenance['cpu_seconds']:.0f} processor seconds, seed {provenance['seed']}; "
        f"{provenance['hardware']['precision']}.",
        "",
        "## Data",
        "",
        "| store | rows | clips | pieces |",
        "|---|---|---|---|",
        *(
            f"| {store['name']} | {store['rows']} | {store['clips']:,} | {store['pieces']:,} |"
            for store in provenance["stores"]
        ),
        "",
        "## Terms",
        "",
        *(f"- {text}" for text in provenance["terms"].values()),
        "",
        "## Scores",
        "",
        *scores["lines"],
        "",
        "## Command",
        "",
        "```bash",
        *scores["command"],
        "```",
        "",
        f"SHA-256 of `{WEIGHTS}`: {digest}",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the folder of the package."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="run directory of `marrow pretrain --recipe general`")
    parser.add_argument("--scores", type=Path, required=True, help="JSON with the lines of the table, and the command")
    arguments = parser.parse_args()
    try:
        description = described(arguments.run)
    except MarrowError as error:
        raise SystemExit(f"ship_general: {error}") from error
    HOME.mkdir(parents=True, exist_ok=True)
    save_file(load_file(arguments.run / "encoder" / WEIGHTS), HOME / WEIGHTS)
    content = (HOME / WEIGHTS).read_bytes()
    if len(content) > LARGEST_BYTES:
        raise SystemExit(f"ship_general: {len(content):,} bytes of weights, at most {LARGEST_BYTES:,} are shipped")
    digest = hashlib.sha256(content).hexdigest()
    description["provenance"]["sha256"] = digest
    (HOME / DESCRIPTION).write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
    scores = json.loads(arguments.scores.read_text(encoding="utf-8"))
    (HOME / "card.md").write_text(card(description, digest, scores), encoding="utf-8")
    print(f"{HOME}: {len(content):,} bytes, {digest}")


if __name__ == "__main__":
    main()

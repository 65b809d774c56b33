"""Pack a model: from a run to a folder of three files that can be passed on (`marrow.models.packed`)."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import marrow
from marrow.errors import CheckpointError, ConfigError
from marrow.files import write_text_whole
from marrow.models.encoder import Encoder
from marrow.models.export import described, load_encoder
from marrow.models.heads import DESCRIPTION as HEAD
from marrow.models.heads import Recogniser
from marrow.models.packed import CARD, CONFIG, WEIGHTS, Packed, is_packed, read_packed, write_packed
from marrow.tasks.detection.kept import DESCRIPTION as DETECTOR
from marrow.tasks.encoders import facts_of
from marrow.tasks.evaluation_report import Report
from marrow.tasks.kept_reports import fullest
from marrow.tasks.prediction.kept import DESCRIPTION as FORECASTER
from marrow.use.known import DESCRIPTION as KNOWN
from marrow.use.model_card import model_card, score_rows
from marrow.weights import shipped_folder

# Where a run was and where its data were on the machine that made it: names say enough, and folders tell too much.
_PLACES = ("path", "store", "out", "run", "root")


def pack(model: Path | str, out: Path | str, *, terms: str = "", overwrite: bool = False) -> Path:
    """Pack a model with everything that using it takes.

    Args:
        model: a run of `marrow pretrain` or `marrow finetune`, an exported encoder, the name of one that marrow ships,
            or a packed folder.
        out: the new folder.
        terms: of the data that it learned from, for the card; "": the card says whose terms hold, as far as is known,
            and that of a packed folder stays as it is.
        overwrite: whether a packed folder that is there may be replaced.

    Returns:
        The folder.

    Raises:
        ConfigError: `out` holds something else, or a packed model that must not be replaced; or the model is of a kind
            that cannot be packed.
        CheckpointError: there is no model, or it is damaged.
    """
    model, out = shipped_folder(model) or Path(model), Path(out)
    check_folder(out, overwrite=overwrite)
    packed, card = packed_from(model), ""
    if is_packed(model) and not terms:
        card = (model / CARD).read_text(encoding="utf-8") if (model / CARD).is_file() else ""
    card = card or model_card(packed, model.resolve().name, scores=_scores_of(model), terms=terms)
    write_packed(out, packed, card)
    # How sure its answers are goes along; features of the recordings that it learned from stay where they are.
    (out / KNOWN).unlink(missing_ok=True)
    if packed.head is not None and (model / KNOWN).is_file():
        write_text_whole(out / KNOWN, (model / KNOWN).read_text(encoding="utf-8"))
    return out


def packed_from(model: Path) -> Packed:
    """Read a model from its folder as it is packed; what it says of folders on this machine is reduced to names.

    Raises:
        CheckpointError: there is no model, or it is damaged.
    """
    if is_packed(model):
        return read_packed(model)
    for description, kind in ((DETECTOR, "detector"), (FORECASTER, "forecaster")):
        if (model / description).is_file():
            raise ConfigError(
                f"{model} is a {kind}, which cannot be packed: pass its folder on as it is, or pack {model / 'encoder'}"
            )
    if not (model / HEAD).is_file():
        encoder = load_encoder(model)
        return packed_of(encoder, facts_of(model, 0).description.get("provenance", {}))
    recogniser = Recogniser.load(model)
    try:
        head = json.loads((model / HEAD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{model / HEAD} cannot be read: {error}") from error
    return packed_of(recogniser, head.get("provenance", {}))


def packed_of(model: Encoder | Recogniser, provenance: Mapping[str, Any] | None = None) -> Packed:
    """Return a model in memory as it is packed.

    Args:
        model: an encoder, or a recogniser.
        provenance: plain values that tell where it came from.

    Raises:
        CheckpointError: the encoder is of no known kind, and so could not be read again.
    """
    origin: dict[str, Any] = without_places(dict(provenance or {}))
    encoder = model.encoder if isinstance(model, Recogniser) else model
    weights = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    head = None
    if isinstance(model, Recogniser):
        weights |= {f"head.{name}": value for name, value in model.head.state_dict().items()}
        head = model.describe_head(origin)
    # As JSON has it: tuples are lists, as they are where a packed folder is read.
    plain = json.loads(json.dumps(described(encoder, origin)))
    return Packed(plain, head, weights, marrow.__version__)


def without_places(provenance: Any) -> Any:
    """Return what tells where a model came from, without folders of the machine that made it: only their names."""
    if isinstance(provenance, Mapping):
        return {
            name: Path(value).name if name in _PLACES and isinstance(value, str) else without_places(value)
            for name, value in provenance.items()
        }
    return [without_places(value) for value in provenance] if isinstance(provenance, list) else provenance


def check_folder(out: Path, *, overwrite: bool) -> None:
    """Refuse a folder that a model must not be packed into.

    Raises:
        ConfigError: it is a file, holds anything else, or a packed model that must not be replaced.
    """
    if out.is_file():
        raise ConfigError(f"{out} is a file; give a folder for --out")
    there = sorted(file.name for file in out.iterdir()) if out.is_dir() else []
    strangers = [name for name in there if name not in (CONFIG, WEIGHTS, CARD, KNOWN)]
    if strangers or (there and not is_packed(out)):
        raise ConfigError(f"{out} holds other files ({(strangers or there)[0]}, ...); give an empty folder for --out")
    if there and not overwrite:
        raise ConfigError(f"{out} holds a packed model already; give another --out, or --overwrite to replace it")


def _scores_of(model: Path) -> list[list[str]]:
    """Return the rows of the card's table of scores: what the run's own reports say, if it has any.

    The scores of a fine-tuning are those of its last epoch.
    """
    rows = [row for report, _ in fullest(model) for row in score_rows(report)]
    if (model / "report.json").is_file():
        protocol = facts_of(model, 0).description.get("provenance", {}).get("protocol", "")
        report = Report.load(model / "report.json")
        for name, value in report.metrics.items():
            quantity = report.quantity(name)
            if not quantity.chosen_on_test:
                rows.append([report.task, str(protocol), quantity.words, f"{value:.1f} {quantity.unit}", "", ""])
    return rows

"""Packed models on the Hugging Face hub, by its own conventions: save_pretrained, from_pretrained, push_to_hub.

    HubModel(marrow.load_encoder("runs/first")).save_pretrained("packed")
    encoder = HubModel.from_pretrained("packed").model          # a folder, or NAME/MODEL on the hub

Needs `pip install "marrow[hub]"`. What is written is what `marrow pack` writes; what is read, it reads, too. A folder
that `marrow pack` made, with its scores, is pushed by `HubModel.from_pretrained(FOLDER).push_to_hub("NAME/MODEL")`.
"""

from pathlib import Path
from typing import Any

from marrow.errors import ConfigError
from marrow.models.encoder import Encoder
from marrow.models.export import load_encoder
from marrow.models.heads import Recogniser
from marrow.models.packed import CARD, CONFIG, WEIGHTS, Packed, read_packed, write_packed
from marrow.use.model_card import model_card
from marrow.use.pack import packed_of

try:
    from huggingface_hub import ModelHubMixin, snapshot_download
except ImportError as error:
    raise ConfigError(
        'models are shared on the Hugging Face hub by a package of its own: `pip install "marrow[hub]"`'
    ) from error


class HubModel(ModelHubMixin):
    """A model as the hub has it.

    Args:
        model: an encoder, or a recogniser.
        card: the text of its card; "": one without scores.
    """

    def __init__(self, model: Encoder | Recogniser, card: str = "") -> None:
        self.model = model
        self.card = card
        self._packed: Packed | None = None

    def _save_pretrained(self, save_directory: Path) -> None:
        packed = self._packed or packed_of(self.model)
        write_packed(save_directory, packed, self.card or model_card(packed, save_directory.resolve().name))

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **options: Any) -> "HubModel":
        folder = Path(model_id)
        if not folder.is_dir():
            known = ("revision", "cache_dir", "force_download", "local_files_only", "token")
            fetched = {name: options[name] for name in known if name in options}
            folder = Path(snapshot_download(model_id, allow_patterns=[CONFIG, WEIGHTS, CARD], **fetched))
        packed = read_packed(folder)
        model = load_encoder(folder) if packed.head is None else Recogniser.load(folder)
        card = (folder / CARD).read_text(encoding="utf-8") if (folder / CARD).is_file() else ""
        hub_model = cls(model, card)
        hub_model._packed = packed
        return hub_model

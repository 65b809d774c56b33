"""An encoder for a store of another skeleton: what `--transfer` does before a task sees the encoder."""

from collections.abc import Mapping
from pathlib import Path

from marrow.errors import ConfigError
from marrow.models.adapt import adapted
from marrow.models.encoder import Encoder
from marrow.store.format import Store
from marrow.tasks.run_facts import check_skeleton


def encoder_for(
    encoder: Encoder, store: Store, transfer: bool | Mapping[str, str | None], seed: int, name: Path | str
) -> tuple[Encoder, list[str]]:
    """Return an encoder that reads a store, and what is to be said of it.

    Args:
        encoder: as it was trained.
        store: that it is to read.
        transfer: adapt it where the skeletons differ, joints being matched by name; or joint of the encoder by joint
            of the store, where names do not tell (None: that one begins untrained). False: do not.
        seed: of the joints that the encoder has never seen.
        name: of the encoder, for messages.

    Raises:
        ConfigError: the skeletons differ, and `transfer` is False or cannot make one of the other.
    """
    if transfer is False:
        try:
            check_skeleton(encoder, store, name)
        except ConfigError as error:
            raise ConfigError(f"{error}; or adapt the encoder with --transfer, which matches joints by name") from error
        return encoder, []
    if transfer is True and encoder.skeleton.joints == store.skeleton.joints:
        return encoder, []
    result, adaptation = adapted(encoder, store.skeleton, None if transfer is True else transfer, seed)
    notes = [adaptation.sentence()]
    up = encoder.skeleton.up, store.skeleton.up
    if encoder.input.alignment == "none" and up[0] != up[1]:
        notes.append(
            f"the encoder reads coordinates as they are stored, and learned them with {up[0]} pointing up; "
            f"in this store {up[1]} does"
        )
    return result, notes

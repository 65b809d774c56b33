"""An encoder for another skeleton: joints that it knows keep what was learned of them.

Most of an encoder does not depend on the joints. Where it does, as its `joint_axes` say, what belongs to a joint goes
with it to its place in the other layout, which joint is which being a matter of names (`marrow.skeleton.retarget`). A
joint that the encoder has never seen begins as it would in a larger layout, in which it follows those that the encoder
knows: so embeddings that count joints (sinusoids) give it a place of its own.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from marrow.errors import ConfigError
from marrow.models.encoder import Encoder, JointAxis
from marrow.skeleton.layout import Skeleton
from marrow.skeleton.retarget import JointMatch, match


@dataclass(frozen=True)
class Adaptation:
    """What became of the joints of an encoder.

    Args:
        source: name of the layout that it was trained on.
        target: name of the layout that it was adapted to.
        kept: joint of the source by joint of the target, for those that keep what was learned.
        new: joints of the target that it has never seen.
        gone: joints of the source that the target does not have.
        other_bones: joints that are kept, but hang from another joint than they did. Empty where the encoder does not
            read bones.
    """

    source: str
    target: str
    kept: Mapping[str, str]
    new: tuple[str, ...]
    gone: tuple[str, ...]
    other_bones: tuple[str, ...] = ()

    def sentence(self) -> str:
        """Say it in a sentence."""
        parts = [f"{_count(len(self.kept), 'keeps', 'keep')} what it learned"]
        if self.new:
            parts.append(f"{len(self.new)} of {self.target} begin untrained ({', '.join(self.new)})")
        if self.gone:
            parts.append(f"{len(self.gone)} of {self.source} are missing ({', '.join(self.gone)})")
        if self.other_bones:
            parts.append(f"the bones of {len(self.other_bones)} lead elsewhere ({', '.join(self.other_bones)})")
        return f"the encoder of {self.source} was adapted to {self.target}: {'; '.join(parts)}"


def adapted(
    encoder: Encoder, skeleton: Skeleton, joints: Mapping[str, str | None] | None = None, seed: int = 0
) -> tuple[Encoder, Adaptation]:
    """Return an encoder of another layout that knows what this one knows; this one stays as it is.

    Args:
        encoder: to be adapted.
        skeleton: the layout that is wanted.
        joints: joint of the encoder's layout by joint of the other one, where names do not tell; None for one that is
            to begin untrained.
        seed: of what begins untrained.

    Raises:
        ConfigError: the encoder does not say, or says wrongly, which of its parameters have an axis of joints; or
            the joints cannot be matched.
    """
    pairing = match(encoder.skeleton, skeleton, joints)
    learned, axes = encoder.state_dict(), _joint_axes(encoder)
    result = encoder.fresh(seed, skeleton)
    untrained = sum(source is None for source in pairing.sources)
    larger = encoder.fresh(seed, _numbered(len(encoder.skeleton.joints) + untrained)).state_dict()
    places = torch.tensor(_places(pairing))
    weights = {
        name: _rearranged(value, larger[name], axes[name], places) if name in axes else value.clone()
        for name, value in learned.items()
    }
    for name, value in result.state_dict().items():
        if name in weights and weights[name].shape != value.shape:
            raise ConfigError(
                f"the parameter {name!r} of {type(encoder).__name__} has another size on another skeleton, "
                f"{list(value.shape)} for {len(skeleton.joints)} joints and {list(learned[name].shape)} for "
                f"{len(encoder.skeleton.joints)}; name it in joint_axes()"
            )
    result.load_state_dict(weights)
    return result.train(encoder.training), _adaptation(encoder, pairing)


def _joint_axes(encoder: Encoder) -> Mapping[str, JointAxis]:
    """Return the joint axes that an encoder declares, after checking them against its parameters."""
    kind, learned, count = type(encoder).__name__, encoder.state_dict(), len(encoder.skeleton.joints)
    axes = encoder.joint_axes()
    if axes is None:
        larger = encoder.fresh(0, _numbered(count + 1)).state_dict()
        grow = [name for name, value in learned.items() if larger[name].shape != value.shape]
        raise ConfigError(
            f"{kind} cannot be adapted to another skeleton, for it does not say where its parameters have an axis of "
            "joints: define joint_axes(), which returns JointAxis(axis, values) by name; the size of these depends on "
            f"the number of joints: {', '.join(grow) or 'none'}"
        )
    for name, axis in axes.items():
        shape = list(learned[name].shape) if name in learned else None
        if shape is None or not 0 <= axis.axis < len(shape) or shape[axis.axis] != count * axis.values:
            raise ConfigError(
                f"joint_axes() of {kind} expects {count} joints x {axis.values} values along axis {axis.axis} of "
                f"{name!r}, which {'is no parameter' if shape is None else f'has the shape {shape}'}"
            )
    return axes


def _rearranged(learned: Tensor, larger: Tensor, axis: JointAxis, places: Tensor) -> Tensor:
    """Return the joints of a parameter at their new places; the last ones of the larger layout are the new joints."""
    kept, untrained = (parameter.unflatten(axis.axis, (-1, axis.values)) for parameter in (learned, larger))
    count = kept.shape[axis.axis]
    untrained = untrained.narrow(axis.axis, count, untrained.shape[axis.axis] - count).to(kept.dtype)
    both = torch.cat((kept, untrained), dim=axis.axis)
    return both.index_select(axis.axis, places.to(both.device)).flatten(axis.axis, axis.axis + 1)


def _places(pairing: JointMatch) -> list[int]:
    """Return where each joint of the target is in the larger layout."""
    following = itertools.count(len(pairing.source.joints))
    return [next(following) if source is None else source for source in pairing.sources]


def _numbered(count: int) -> Skeleton:
    """Return a layout that is nothing but so many joints."""
    return Skeleton("numbered", tuple(map(str, range(count))), (0,) * count, tuple(range(count)), {})


def _adaptation(encoder: Encoder, pairing: JointMatch) -> Adaptation:
    hang_elsewhere = tuple(
        pairing.target.joints[joint]
        for joint, source in enumerate(pairing.sources)
        if source is not None and pairing.sources[pairing.target.parents[joint]] != pairing.source.parents[source]
    )
    return Adaptation(
        source=encoder.skeleton.name,
        target=pairing.target.name,
        kept=pairing.pairs,
        new=pairing.unmatched_target,
        gone=pairing.unmatched_source,
        other_bones=hang_elsewhere if "bone" in encoder.input.stream else (),
    )


def _count(count: int, singular: str, plural: str) -> str:
    return f"1 joint {singular}" if count == 1 else f"{count} joints {plural}"

"""AMR: adaptive masked reconstruction.

Sun, Cheng, Zhang, Dong, Li, Wang: "Exploring Adaptive Masked Reconstruction for Self-Supervised Skeleton-Based Action
Recognition", CVPR 2026 (arXiv 2606.11450). The encoder sees a tenth of a skeleton's tokens, as in MAMP. What follows it
is lighter and looks elsewhere:

- Decoupled decoder: learned queries, one per large patch of the target, ask the visible tokens by cross-attention and
  never each other. With patches six times as long as the encoder's, 125 queries stand for 750 tokens.
- Focal reconstruction: errors count less in windows of a joint that hardly move. With e the variance of a joint within
  a window of n frames and e_t the mean of e over the skeleton, the weight is 1 / (1 + k e_t / (e + floor)): 0.990 for a
  window of mean energy, 0.5 for one of a hundredth of it (k = 0.01). Windows of 4, 8 and 12 frames are averaged.

The authors released no code, and no text known to us settles the following. Our choice, and the options beside it:

1. Target: motion standardised patch by patch, as MAMP's (`target`, `stride`, `normalise_target`: also positions, and
   metres).
2. Hiding: uniform (`masking`, `tau`: also MAMP's, which hides what moves), 75 of 750 tokens visible (`round_visible`:
   also 74, the integer part, as in MAMP).
3. Energy: of the coordinates that the encoder is given, in m² with a floor of 1e-8, a jitter of 0.1 mm
   (`energy_floor`); e_t for each body and window length by itself.
4. Fusion of the window lengths: the mean of the three weights.
5. Reduction: the mean over target patches and their numbers of weight times squared error.
6. Queries: one learned vector for all, plus learned embeddings of time and joint, all of them drawn with a standard
   deviation of 0.02 (`query_std`: in runs of minutes 0.5 learns faster).
7. Blocks: x += cross(norm(x), memory), x += mlp(norm(x)); the memory is the encoder's output after its last norm and a
   linear layer, with nothing added. 5 blocks of the encoder's width (`decoder_depth`, ...), inferred from the published
   FLOPs.

Absence is treated as in MAMP: absent bodies are packed away (`parity` computes them as zeros instead), and a patch that
is absent in part is neither visible nor hidden. Target patches are long: where one is absent in part, the frames that
exist count. Energies, means and variances are of the frames that exist; motion into or out of an absent one does not.
Target patches of which nothing exists are not asked for.

All target patches are predicted and count, whether or not the encoder saw something of them: at nine tenths hidden,
half of the large patches hold a visible token.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from marrow.data.batch import Batch
from marrow.data.draws import Draws
from marrow.errors import ConfigError
from marrow.models.blocks import CrossBlock, ExactLinear, initialise_linear, position_parameter
from marrow.models.grid import PatchGrid
from marrow.models.packing import first_flagged
from marrow.models.patch_transformer import PatchTransformer
from marrow.models.trainable import StepOutput
from marrow.objectives.base import Objective, Picture, patches_as_positions, picture_of
from marrow.objectives.masking import Hiding, HidingDraw, hide
from marrow.objectives.motion import motion, motion_exists

_FLOOR = 1e-6  # of the variance of a target patch, in m²; the value is that of MAMP's authors


@dataclass(frozen=True)
class AMRConfig:
    """Settings of adaptive masked reconstruction; the defaults are the paper's as far as they are known.

    Args:
        mask_ratio: share of the usable tokens that is hidden.
        masking: motion: hide what moves; uniform: hide at random.
        tau: temperature of motion-guided hiding; smaller is stronger.
        round_visible: round the number of visible tokens to the nearest, 75 of 750; otherwise down, 74 as in MAMP.
        target: motion (differences of frames) or joint (positions).
        stride: frames from a frame to the one its motion leads to.
        normalise_target: patch: standardise every target patch by its own mean and variance; none: predict metres.
        target_frames: frames of a target patch; must divide the window, and need not fit the encoder's patches.
        focal_k: how strongly still windows are discounted; 0: not at all.
        energy_windows: lengths in frames of the windows whose energy decides; must divide the window.
        energy_floor: added to the energies, in m².
        query_std: standard deviation of the queries and of their embeddings of time and joint before training.
        decoder_depth: blocks of the decoder.
        decoder_width: width of the decoder.
        decoder_heads: attention heads of the decoder.
        decoder_mlp_ratio: width of the hidden layer of its MLPs, in widths.
        parity: bodies and joints that are not there become zeros that are embedded, hidden, predicted and averaged like
            any other.
    """

    mask_ratio: float = 0.9
    masking: Literal["motion", "uniform"] = "uniform"
    tau: float = 0.8
    round_visible: bool = True
    target: Literal["motion", "joint"] = "motion"
    stride: int = 1
    normalise_target: Literal["patch", "none"] = "patch"
    target_frames: int = 24
    focal_k: float = 0.01
    energy_windows: tuple[int, ...] = (4, 8, 12)
    energy_floor: float = 1e-8
    query_std: float = 0.02
    decoder_depth: int = 5
    decoder_width: int = 256
    decoder_heads: int = 8
    decoder_mlp_ratio: float = 4.0
    parity: bool = False

    def __post_init__(self) -> None:
        if not 0.0 < self.mask_ratio < 1.0:
            raise ConfigError(f"objective.mask_ratio must lie between 0 and 1, got {self.mask_ratio}")
        if self.tau <= 0:
            raise ConfigError(
                f"objective.tau must be positive, got {self.tau}; for no guidance set masking to 'uniform'"
            )
        for name in ("stride", "decoder_depth", "decoder_width", "decoder_heads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"objective.{name} must be at least 1, got {getattr(self, name)}")
        if self.decoder_mlp_ratio * self.decoder_width < 1:
            raise ConfigError(f"objective.decoder_mlp_ratio must be positive, got {self.decoder_mlp_ratio}")
        if self.focal_k < 0 or self.energy_floor <= 0:
            raise ConfigError(
                f"objective.focal_k must not be negative and objective.energy_floor must be positive, got "
                f"{self.focal_k} and {self.energy_floor}; for no weights set focal_k to 0"
            )
        if self.query_std <= 0:
            raise ConfigError(f"objective.query_std must be positive, got {self.query_std}")
        if not self.energy_windows or min(self.energy_windows) < 2:
            raise ConfigError(
                f"objective.energy_windows must name at least one window, each of at least 2 frames, got "
                f"{list(self.energy_windows)}"
            )
        if self.decoder_width % self.decoder_heads:
            raise ConfigError(
                f"objective.decoder_heads must divide objective.decoder_width, got {self.decoder_heads} heads for "
                f"{self.decoder_width}"
            )


class AMR(Objective):
    """Adaptive masked reconstruction.

    Args:
        config: settings.
        encoder: the network that is kept.

    Attributes:
        grid: patches that are predicted; those that the encoder reads are `encoder.grid`.
    """

    config_type = AMRConfig
    encoder_type = PatchTransformer
    encoder: PatchTransformer

    def __init__(self, config: AMRConfig, encoder: PatchTransformer) -> None:
        super().__init__()
        self.config, self.encoder, frames = config, encoder, encoder.grid.frames
        if config.target == "motion" and config.stride >= frames:
            raise ConfigError(
                f"objective.stride must be less than the {frames} frames of the window, got {config.stride}"
            )
        divisors = [n for n in range(1, frames + 1) if frames % n == 0]
        sizes = [("target_frames", config.target_frames), *(("energy_windows", n) for n in config.energy_windows)]
        for name, size in sizes:
            if size not in divisors:
                raise ConfigError(
                    f"objective.{name}: {size} frames do not tile {frames} frames; choose from {divisors}"
                )
        self.grid = PatchGrid(
            *(frames, encoder.grid.joints, config.target_frames), coordinates=encoder.grid.coordinates
        )
        width, std = config.decoder_width, config.query_std
        self.bridge = nn.Linear(encoder.dim, width)
        self.query = position_parameter(1, width, std=std)
        self.joint_position = position_parameter(1, self.grid.joint_patches, width, std=std)
        self.time_position = position_parameter(self.grid.times, 1, width, std=std)
        self.blocks = nn.ModuleList(
            CrossBlock(width, config.decoder_heads, config.decoder_mlp_ratio) for _ in range(config.decoder_depth)
        )
        self.norm = nn.LayerNorm(width)
        self.predict = ExactLinear(width, self.grid.patch_values)
        for part in (self.bridge, self.blocks, self.predict):
            initialise_linear(part)

    def sample(self, batch: Batch, draws: Draws) -> HidingDraw:
        """Draw the hidden tokens of every body."""
        bodies = batch.joints.shape[1]
        return self.hide(batch, draws.uniform("hidden", bodies, self.encoder.grid.tokens))

    @torch.no_grad()
    def hide(self, batch: Batch, noise: Float[Tensor, "batch body token"]) -> HidingDraw:
        """Turn uniform noise into hidden tokens."""
        batch, config, grid = self._with_absent(batch), self.config, self.encoder.grid
        tau = config.tau if config.masking == "motion" else None
        return hide(batch, noise, grid, config.mask_ratio, tau=tau, rounded=config.round_visible)

    def forward(self, batch: Batch, draw: HidingDraw) -> StepOutput:
        """Compute the loss over all target patches that exist."""
        (joints, present), hiding = draw.rows.of(self._with_absent(batch)), draw.hiding
        is_flat = draw.rows.are_flat(batch)

        # Encode: the visible patches only.
        encoded = self._encode(joints, hiding, is_flat)

        # Target: the motion in large patches, and how much each of its numbers matters; functions of the input alone.
        target = self._target(joints, present, is_flat)
        exists = self._target_exists(present, is_flat)
        weight = self._weight(joints, present) * exists

        # Decode: the learned queries ask what the encoder saw, never each other; only for what exists.
        asked = self._asked(exists, batch)
        if asked is not None:
            target, weight, exists = (self.grid.take(of_all, asked) for of_all in (target, weight, exists))
        prediction = self._decode(encoded, hiding, asked)

        # Loss: weighted squared error per target patch, summed over them.
        error = (weight * (prediction - target).square()).mean(-1)
        # To compare with: predicting the mean target of this micro-batch everywhere.
        mean = (weight * target).sum((0, 1)) / weight.sum((0, 1)).clamp(min=1e-12)
        error_of_mean = (weight * (target - mean).square()).mean(-1)
        return StepOutput(
            loss_sum=error.sum(),
            weight=exists.float().mean(-1).sum(),
            metrics={"loss_of_mean": error_of_mean.sum().detach()},
        )

    @torch.no_grad()
    def explain(self, batch: Batch, draw: HidingDraw) -> Picture:
        """Show what is hidden, and the predicted patches there as positions."""
        (joints, present), config = draw.rows.of(self._with_absent(batch)), self.config
        is_flat = draw.rows.are_flat(batch)
        spread = mean_and_deviation(self._values(joints), self._target_exists(present, is_flat))
        positions, note = patches_as_positions(
            self._decode(self._encode(joints, draw.hiding, is_flat), draw.hiding),
            joints,
            self.grid,
            standardised=spread if config.normalise_target == "patch" else None,
            stride=config.stride if config.target == "motion" else None,
        )
        visible, hidden = draw.hiding.per_joint(self.encoder.grid)
        if config.target == "motion":  # which leads on from the first frame of a patch: a gap ends that
            hidden &= self.grid.spread(self.grid.all_of_patch(motion_exists(present, config.stride)))
        return picture_of(batch, draw.rows, visible, hidden & present, positions, note)

    def _with_absent(self, batch: Batch) -> Batch:
        return batch.absent_as_zeros() if self.config.parity else batch

    def _encode(
        self, joints: Float[Tensor, "body time joint 3"], hiding: Hiding, is_flat: Bool[Tensor, " body"] | None = None
    ) -> Float[Tensor, "body visible dim"]:
        return self.encoder.encode_at(joints, hiding.visible, hiding.visible_exists, is_flat)

    def _asked(self, exists: Bool[Tensor, "body patch value"], batch: Batch) -> Int64[Tensor, "body asked"] | None:
        """Return the target patches that are asked for: those of which something exists; None: all."""
        of_patch, tokens = exists.any(-1), self.grid.tokens
        if batch.shapes is None:
            most = int(of_patch.sum(1).max()) if len(of_patch) else tokens
        else:
            most = tokens if batch.shapes.joints is None else batch.shapes.joints * self.grid.times
        return first_flagged(of_patch, max(1, most))[0] if most < tokens else None

    def _decode(
        self,
        encoded: Float[Tensor, "body visible dim"],
        hiding: Hiding,
        asked: Int64[Tensor, "body asked"] | None = None,
    ) -> Float[Tensor, "body patch value"]:
        """Predict the target patches that are asked for; None: all."""
        memory = self.bridge(encoded)
        position = (self.time_position + self.joint_position).flatten(0, 1)
        # The same for all bodies until they have asked, unless they ask for different patches.
        tokens = (self.query + (position[None] if asked is None else position[asked])).to(memory.dtype)
        for block in self.blocks:
            tokens = block(tokens, memory, may_attend=hiding.visible_exists)
        return self.predict(self.norm(tokens))

    def _target(
        self,
        joints: Float[Tensor, "body time joint 3"],
        present: Bool[Tensor, "body time joint"],
        is_flat: Bool[Tensor, " body"] | None = None,
    ) -> Float[Tensor, "body patch value"]:
        """Return the target of every target patch."""
        patches = self._values(joints)
        if self.config.normalise_target == "none":
            return patches
        mean, deviation = mean_and_deviation(patches, self._target_exists(present, is_flat))
        return (patches - mean) / deviation

    def _target_exists(
        self, present: Bool[Tensor, "body time joint"], is_flat: Bool[Tensor, " body"] | None = None
    ) -> Bool[Tensor, "body patch value"]:
        """Tell which numbers of the target patches exist: of bodies in two dimensions, none of the third coordinate."""
        if self.config.target == "motion":
            present = motion_exists(present, self.config.stride)
        exists = self.grid.patchify(present[..., None].expand(-1, -1, -1, 3).float()) > 0
        coordinates = self.grid.coordinates_exist(is_flat)
        return exists if coordinates is None else exists & coordinates

    @torch.no_grad()
    def _weight(
        self, joints: Float[Tensor, "body time joint 3"], present: Bool[Tensor, "body time joint"]
    ) -> Float[Tensor, "body patch value"]:
        """Return how much each number of the target matters."""
        k, floor = self.config.focal_k, self.config.energy_floor
        seen = joints[..., : self.grid.coordinates]
        energies = (energy(seen, present, frames) for frames in self.config.energy_windows)
        weight = torch.stack([focal_weight(of_windows, present, k, floor) for of_windows in energies]).mean(0)
        return self.grid.patchify(weight[..., None].expand(-1, -1, -1, 3))

    def _values(self, joints: Float[Tensor, "body time joint 3"]) -> Float[Tensor, "body patch value"]:
        """Return motion or positions in patches, as they are measured."""
        return self.grid.patchify(motion(joints, self.config.stride) if self.config.target == "motion" else joints)


def mean_and_deviation(
    patches: Float[Tensor, "body patch value"], exists: Bool[Tensor, "body patch value"]
) -> tuple[Float[Tensor, "body patch 1"], Float[Tensor, "body patch 1"]]:
    """Return the mean and the unbiased deviation of the numbers of each patch that exist; 0 and the floor of none."""
    count = exists.sum(-1, keepdim=True)
    mean = torch.where(exists, patches, 0.0).sum(-1, keepdim=True) / count.clamp(min=1)
    squares = torch.where(exists, patches - mean, 0.0).square().sum(-1, keepdim=True)
    return mean, (squares / (count - 1).clamp(min=1) + _FLOOR).sqrt()


def energy(
    joints: Float[Tensor, "body time joint coordinate"], present: Bool[Tensor, "body time joint"], window_frames: int
) -> Float[Tensor, "body time joint"]:
    """Measure how much a joint moves within windows: its mean squared distance from its mean place there, in m².

    Every frame is given the energy of its window; frames that do not exist take no part.
    """
    exists = present.unflatten(1, (-1, window_frames))[..., None]
    windows = torch.where(exists, joints.unflatten(1, (-1, window_frames)), 0.0)
    count = exists.sum(2).clamp(min=1)
    mean = windows.sum(2) / count
    distance = torch.where(exists, windows - mean[:, :, None], 0.0).square()
    return (distance.sum((2, 4)) / count[..., 0]).repeat_interleave(window_frames, dim=1)


def focal_weight(
    energy: Float[Tensor, "body time joint"], present: Bool[Tensor, "body time joint"], k: float, floor: float
) -> Float[Tensor, "body time joint"]:
    """Return 1 / (1 + k e_t / (e + floor)), with e_t the mean energy of the body; near 0 where it is much calmer."""
    total = torch.where(present, energy, 0.0).sum((1, 2), keepdim=True)
    mean = total / present.sum((1, 2), keepdim=True).clamp(min=1)
    return 1.0 / (1.0 + k * mean / (energy + floor))

"""MAMP: masked motion prediction.

Mao, Deng, Zhou, Fang, Ouyang, Li: "Masked Motion Predictors are Strong 3D Action Representation Learners", ICCV 2023
(arXiv 2308.07092). Nine tenths of a skeleton's tokens are hidden, the moving ones rather than the still ones; from the
rest an encoder and a light decoder predict the motion (the difference of successive frames) at every hidden token.

The same function as the released code, computed with less work:

1. Only visible patches are embedded, and nothing is un-shuffled: a token carries its place as an embedding.
2. The decoder's last block, and all that follows it, runs for the hidden tokens alone. Nobody reads the others.
3. Absent bodies are packed away. The released code pushes them through everything as skeletons at the origin, with
   target 0, and averages them in: `parity=True` does the same.

Deviations, each with no effect on a clip whose joints are all present:

4. A token is usable when its joint is present in all its frames. Unusable tokens are neither visible nor hidden, and
   the number of visible ones is taken from the usable ones (all 750 usable: exactly 74).
5. A hidden token whose motion leads into an absent frame is predicted but not counted.

With `target="joint"` and `masking="uniform"` this is the masked autoencoder that the paper compares with. Bone and
motion streams are chosen by the encoder's input (`input.stream`); everything below then happens on that stream.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from marrow.data.batch import Batch
from marrow.data.draws import Draws
from marrow.errors import ConfigError
from marrow.models.blocks import Block, ExactLinear, initialise_linear, position_parameter
from marrow.models.patch_transformer import PatchTransformer
from marrow.models.trainable import StepOutput
from marrow.objectives.base import Objective, Picture, patches_as_positions, picture_of
from marrow.objectives.masking import Hiding, HidingDraw, hide
from marrow.objectives.motion import motion, motion_exists

_FLOOR = 1e-6  # of the variance of a target patch, in m²; the value is the authors'


@dataclass(frozen=True)
class MAMPConfig:
    """Settings of masked motion prediction; the defaults are the paper's for NTU-60.

    Args:
        mask_ratio: share of the usable tokens that is hidden.
        masking: motion: hide what moves; uniform: hide at random.
        tau: temperature of motion-guided hiding; smaller is stronger (0.80 for NTU-60 and PKU-MMD, 0.75 for NTU-120).
        target: motion (differences of frames) or joint (positions, the masked autoencoder).
        stride: frames from a frame to the one its motion leads to.
        normalise_target: standardise every target patch by its own mean and variance.
        decoder_depth: blocks of the decoder (3 for NTU-60, 5 for NTU-120 and PKU-MMD).
        decoder_width: width of the decoder.
        decoder_heads: attention heads of the decoder.
        decoder_mlp_ratio: width of the hidden layer of its MLPs, in widths.
        parity: bodies and joints that are not there become zeros that are embedded, hidden, predicted and averaged like
            any other, as in the released code.
    """

    mask_ratio: float = 0.9
    masking: Literal["motion", "uniform"] = "motion"
    tau: float = 0.8
    target: Literal["motion", "joint"] = "motion"
    stride: int = 1
    normalise_target: bool = True
    decoder_depth: int = 3
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
        if self.decoder_width % self.decoder_heads:
            raise ConfigError(
                f"objective.decoder_heads must divide objective.decoder_width, got {self.decoder_heads} heads for "
                f"{self.decoder_width}"
            )


class MAMP(Objective):
    """Masked motion prediction.

    Args:
        config: settings.
        encoder: the network that is kept.
    """

    config_type = MAMPConfig
    encoder_type = PatchTransformer
    encoder: PatchTransformer

    def __init__(self, config: MAMPConfig, encoder: PatchTransformer) -> None:
        super().__init__()
        self.config, self.encoder, self.grid = config, encoder, encoder.grid
        if config.target == "motion" and config.stride >= encoder.input.window_frames:
            raise ConfigError(
                f"objective.stride must be less than the {encoder.input.window_frames} frames of the window, "
                f"got {config.stride}"
            )
        width = config.decoder_width
        self.bridge = nn.Linear(encoder.dim, width)
        self.hidden_token = position_parameter(1, 1, width)
        self.joint_position = position_parameter(1, self.grid.joint_patches, width)
        self.time_position = position_parameter(self.grid.times, 1, width)
        self.blocks = nn.ModuleList(
            Block(width, config.decoder_heads, config.decoder_mlp_ratio) for _ in range(config.decoder_depth)
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
        return hide(batch, noise, grid, config.mask_ratio, tau=tau)

    def forward(self, batch: Batch, draw: HidingDraw) -> StepOutput:
        """Compute the loss over the hidden tokens."""
        (joints, present), hiding = draw.rows.of(self._with_absent(batch)), draw.hiding
        is_flat = draw.rows.are_flat(batch)
        exists = self.grid.coordinates_exist(is_flat)

        # Encode: the visible patches only.
        encoded = self._encode(joints, hiding, is_flat)

        # Decode: the hidden places ask, everything answers.
        prediction = self._decode(encoded, hiding, queries_from=hiding.visible.shape[1])

        # Target: the motion of the hidden patches, a function of the input alone.
        target = self.grid.take(self._target(joints, exists), hiding.hidden)
        counts = self._target_exists(present).gather(1, hiding.hidden)
        if hiding.hidden_exists is not None:
            counts = counts & hiding.hidden_exists

        # Loss: squared error per token, summed over the tokens that count.
        weight = counts.float()
        error = mean_over_values((prediction - target).square(), exists)
        # To compare with: predicting the mean target of this micro-batch everywhere.
        mean = (target * weight[..., None]).sum((0, 1)) / weight.sum().clamp(min=1.0)
        error_of_mean = mean_over_values((target - mean).square(), exists)
        return StepOutput(
            loss_sum=(error * weight).sum(),
            weight=weight.sum(),
            metrics={"loss_of_mean": (error_of_mean * weight).sum().detach()},
        )

    @torch.no_grad()
    def explain(self, batch: Batch, draw: HidingDraw) -> Picture:
        """Show what is hidden, and the predicted patches there as positions."""
        joints, config = draw.rows.joints(self._with_absent(batch)), self.config
        spread = mean_and_deviation(self._values(joints), self.grid.coordinates_exist(draw.rows.are_flat(batch)))
        positions, note = patches_as_positions(
            self.predictions(batch, draw)["prediction"],
            joints,
            self.grid,
            standardised=spread if config.normalise_target else None,
            stride=config.stride if config.target == "motion" else None,
        )
        visible, hidden = draw.hiding.per_joint(self.encoder.grid)
        return picture_of(batch, draw.rows, visible, hidden, positions, note)

    @torch.no_grad()
    def predictions(self, batch: Batch, draw: HidingDraw) -> dict[str, Tensor]:
        """Predict at every token of the grid, visible or hidden.

        Returns:
            `prediction` and `target` [body, token, value], `hidden` [body, token], for the packed bodies.
        """
        joints, hiding = draw.rows.joints(self._with_absent(batch)), draw.hiding
        is_flat = draw.rows.are_flat(batch)
        encoded = self._encode(joints, hiding, is_flat)
        prediction = self._decode(encoded, hiding, queries_from=0)
        return {
            "prediction": self.grid.put(prediction, torch.cat((hiding.visible, hiding.hidden), dim=1), hiding.exists()),
            "target": self._target(joints, self.grid.coordinates_exist(is_flat)),
            "hidden": self.grid.flags_at(hiding.hidden, hiding.hidden_exists),
        }

    def _with_absent(self, batch: Batch) -> Batch:
        return batch.absent_as_zeros() if self.config.parity else batch

    def _encode(
        self, joints: Float[Tensor, "body time joint 3"], hiding: Hiding, is_flat: Bool[Tensor, " body"] | None = None
    ) -> Float[Tensor, "body visible dim"]:
        return self.encoder.encode_at(joints, hiding.visible, hiding.visible_exists, is_flat)

    def _decode(
        self, encoded: Float[Tensor, "body visible dim"], hiding: Hiding, queries_from: int
    ) -> Float[Tensor, "body query value"]:
        """Predict patches for the tokens (visible first, then hidden) from `queries_from` on."""
        position = (self.time_position + self.joint_position).flatten(0, 1)
        seen = self.bridge(encoded) + position[hiding.visible]
        asked = self.hidden_token + position[hiding.hidden]
        tokens, exists = torch.cat((seen, asked.to(seen.dtype)), dim=1), hiding.exists()
        for block in self.blocks[:-1]:
            tokens = block(tokens, may_attend=exists)
        tokens = self.blocks[-1](tokens, queries_from=queries_from, may_attend=exists)
        return self.predict(self.norm(tokens))

    def _target(
        self, joints: Float[Tensor, "body time joint 3"], exists: Bool[Tensor, "body 1 value"] | None = None
    ) -> Float[Tensor, "body patch value"]:
        """Return the target of every token."""
        patches = self._values(joints)
        if not self.config.normalise_target:
            return patches
        mean, deviation = mean_and_deviation(patches, exists)
        return (patches - mean) / deviation

    def _target_exists(self, present: Bool[Tensor, "body time joint"]) -> Bool[Tensor, "body patch"]:
        """Tell which tokens have a target: those of which every number exists."""
        if self.config.target == "motion":
            present = motion_exists(present, self.config.stride)
        return self.grid.all_of_patch(present)

    def _values(self, joints: Float[Tensor, "body time joint 3"]) -> Float[Tensor, "body patch value"]:
        """Return motion or positions in patches, as they are measured."""
        return self.grid.patchify(motion(joints, self.config.stride) if self.config.target == "motion" else joints)


def mean_over_values(
    values: Float[Tensor, "body token value"], exists: Bool[Tensor, "body 1 value"] | None
) -> Float[Tensor, "body token"]:
    """Return the mean of the numbers of each token that exist; None: all do."""
    if exists is None:
        return values.mean(-1)
    return torch.where(exists, values, 0.0).sum(-1) / exists.sum(-1)


def mean_and_deviation(
    patches: Float[Tensor, "body patch value"], exists: Bool[Tensor, "body 1 value"] | None = None
) -> tuple[Float[Tensor, "body patch 1"], Float[Tensor, "body patch 1"]]:
    """Return the mean and the unbiased deviation of each patch, over frames, joints and coordinates together.

    The floor of 1e-6 m² is the authors'. It sets the scale of what counts as noise: jitter of 1 mm on a still joint
    becomes a target of standard deviation 0.77.
    """
    if exists is None:
        variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
    else:
        mean = mean_over_values(patches, exists)[..., None]
        squares = torch.where(exists, patches - mean, 0.0).square().sum(-1, keepdim=True)
        variance = squares / (exists.sum(-1, keepdim=True) - 1)
    return mean, (variance + _FLOOR).sqrt()

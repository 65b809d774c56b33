import torch

from marrow.data.batch import Batch
from marrow.models.grid import PatchGrid
from marrow.models.packing import Rows
from marrow.objectives.base import patches_as_positions, picture_of


def test_packed_bodies_are_put_back_and_the_others_show_the_truth() -> None:
    present = torch.ones(1, 3, 2, 1, dtype=torch.bool)
    present[0, 2, 1] = False
    batch = Batch(torch.zeros(1, 3, 2, 1, 3), present, torch.zeros(1).long(), torch.zeros(1).long())
    visible = torch.tensor([True, False]).view(1, 2, 1).expand(2, -1, -1)
    predicted = torch.tensor([1.0, 2.0]).view(2, 1, 1, 1).expand(-1, 2, 1, 3)
    picture = picture_of(batch, Rows(torch.tensor([2, 0])), visible, ~visible, predicted, "A note.")
    assert picture.joints is batch.joints
    assert picture.predicted[0, :, 0, 0, 0].tolist() == [2.0, 0.0, 1.0]
    assert picture.visible[0, :, :, 0].tolist() == [[True, False], [False, False], [True, False]]
    assert picture.hidden[0, :, :, 0].tolist() == [[False, True], [False, False], [False, False]]
    assert picture.note == "A note."


def test_predicted_positions_are_as_they_are() -> None:
    grid, joints = PatchGrid(4, 2, 2), torch.randn(1, 4, 2, 3)
    positions, note = patches_as_positions(grid.patchify(joints), joints, grid, standardised=None, stride=None)
    assert torch.equal(positions, joints)
    assert note == ""


def test_standardised_motion_takes_its_size_and_its_start_from_the_truth() -> None:
    """Of two frames at x = 4 and 9: a standardised motion of 1 at mean 2 and deviation 3 is 5, which leads to 9."""
    grid, joints = PatchGrid(2, 1, 2), torch.tensor([4.0, 9.0]).view(1, 2, 1, 1).expand(-1, -1, -1, 3)
    mean, deviation = torch.full((1, 1, 1), 2.0), torch.full((1, 1, 1), 3.0)
    positions, note = patches_as_positions(torch.ones(1, 1, 6), joints, grid, standardised=(mean, deviation), stride=1)
    assert positions[0, :, 0, 0].tolist() == [4.0, 9.0]
    assert "standardised" in note
    assert "every 2 frames" in note

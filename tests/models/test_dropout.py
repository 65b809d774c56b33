"""Tests of dropout that follows from a key."""

import math

import torch

from marrow.models.dropout import Dropout

KEY = torch.tensor(1234)


def test_the_share_is_left_out_and_the_others_make_up_for_it() -> None:
    """Of 30,000 ones at rate 0.2, 6,000 ± 3 * sqrt(30,000 * 0.2 * 0.8) become 0, the others 1 / 0.8 = 1.25."""
    values = Dropout(KEY, 0.2)(torch.ones(100, 300))
    assert set(values.unique().tolist()) == {0.0, 1.25}
    assert abs(int((values == 0).sum()) - 6000) < 3 * math.sqrt(30_000 * 0.2 * 0.8)


def test_a_rate_near_one_keeps_next_to_nothing() -> None:
    assert int((Dropout(KEY, 0.999999)(torch.ones(10_000)) > 0).sum()) <= 2


def test_it_is_a_function_of_key_and_place() -> None:
    ones, dropout = torch.ones(40, 7), Dropout(KEY, 0.5)
    assert torch.equal(dropout(ones), dropout(ones))
    # What comes behind changes nothing before it.
    assert torch.equal(dropout(torch.ones(41, 7))[:40], dropout(ones))
    parts = [dropout(ones), dropout.of(0)(ones), dropout.of(1)(ones), Dropout(KEY + 1, 0.5)(ones)]
    for number, one in enumerate(parts):
        for other in parts[number + 1 :]:
            agreement = (one == other).float().mean()
            assert abs(float(agreement) - 0.5) < 0.15  # independent: half of 280 places, ± 3 * 0.03


def test_the_gradient_flows_through_what_is_kept() -> None:
    values = torch.ones(64, requires_grad=True)
    dropped = Dropout(KEY, 0.25)(values)
    dropped.sum().backward()
    assert torch.equal(values.grad, torch.where(dropped > 0, 4 / 3, 0.0))

"""What a window of an image looks like is computed from the whole as if it had been cut out."""

import numpy as np
import pytest
import torch

import scenes
from thaw.data import signature
from thaw.inspection.likeness import windows
from thaw.inspection.likeness.windows import KEPT, UNITS


def spectrum(image):
    return torch.from_numpy(signature.spectra(signature.packed([scenes.signature(image)]))[0])


@pytest.mark.parametrize("cuts", [(0, 0, 0, 0), (0.2, 0, 0, 0), (0, 0.1, 0.05, 0.15)])
def test_a_window_is_what_cutting_it_out_gives(cuts):
    left, top, right, bottom = cuts
    image, table = scenes.scene(3, 400, 400), windows.along()
    down, across = (table[round(first * UNITS), round(last * UNITS)] for first, last in ((top, bottom), (left, right)))
    computed = (down @ spectrum(image) @ across.T)[:12, :12]
    cut = (table[0, 0] @ spectrum(scenes.cropped(image, *cuts)) @ table[0, 0].T)[:12, :12]
    often = signature.frequencies()[:12, :12]
    one, other = (np.asarray(found) * often for found in (computed, cut))
    one[0, 0] = other[0, 0] = 0
    assert (one * other).sum() / np.linalg.norm(one) / np.linalg.norm(other) > 0.93  # steps are coarse


def test_the_whole_is_a_window_of_itself():
    image = spectrum(scenes.scene(4))
    whole = windows.along()[0, 0]
    torch.testing.assert_close(whole @ image @ whole.T, image[:KEPT, :KEPT], rtol=0, atol=1e-4)

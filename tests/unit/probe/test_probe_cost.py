"""Cost is counted as it is in the field, and measured as often as it says."""

import time

import pytest
import torch
from torch import Tensor, nn

from thaw.errors import ModelError
from thaw.probe import cost


def test_a_stem_costs_what_its_convolution_does(monkeypatch: pytest.MonkeyPatch) -> None:
    class Conv:
        @staticmethod
        def create(_name: str, _size: int) -> nn.Module:
            return _TwoArguments(nn.Conv2d(3, 8, 3, stride=2, padding=1))

    monkeypatch.setattr(cost.family, "of", lambda _name: Conv)
    assert cost.size("conv", 32) == cost.Size(parameters=8 * 27 + 8, macs=16 * 16 * 8 * 27)


class _TwoArguments(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, images: Tensor, _with_maps: bool) -> Tensor:
        found: Tensor = self.body(images)
        return found


@pytest.mark.parametrize(
    ("name", "million", "giga"), [("resnet18", 11.18, 1.81), ("torchvision/shufflenet_v2_x1_0", 1.25, 0.144)]
)
def test_known_backbones_cost_what_their_papers_say(name: str, million: float, giga: float) -> None:
    found = cost.size(name, 224)
    assert found.parameters / 1e6 == pytest.approx(million, rel=0.01)
    assert found.macs / 1e9 == pytest.approx(giga, rel=0.02)


def test_an_unknown_backbone_is_refused() -> None:
    with pytest.raises(ModelError, match="no model 'resnet_18'; did you mean 'resnet18'"):
        cost.size("resnet_18", 224)


class _Slow(nn.Module):
    """Takes 200 ms twice, and then 5 ms but for one pass; works in a part of that time."""

    def __init__(self, working: float) -> None:
        super().__init__()
        self.working = working
        self.seen: list[tuple[int, ...]] = []

    def forward(self, pixels: Tensor) -> None:
        seconds = {0: 0.2, 1: 0.2, 4: 0.3}.get(len(self.seen), 0.005)
        time.sleep(seconds * (1 - self.working))
        until = time.thread_time() + seconds * self.working
        while time.thread_time() < until:
            pass
        self.seen.append(tuple(pixels.shape))


def test_latency_is_the_median_of_forward_passes_after_those_that_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "_MOST_RUNS", 3)
    slow = _Slow(working=0.0)
    found = cost.latency(slow, 32, 2, torch.device("cpu"))
    assert 5 <= found.ms < 150
    assert set(slow.seen) == {(2, 3, 32, 32)}
    assert len(slow.seen) == 5


def test_a_thread_that_does_not_have_its_core_is_disturbed() -> None:
    waits, works = (cost.latency(_Slow(share), 32, 1, torch.device("cpu")) for share in (0.2, 1.0))
    assert waits.disturbed
    assert waits.running < 0.5
    assert 0 < works.running <= 1  # how near to 1 depends on what else this machine does
    assert not cost.Latency(1.0, 0.95).disturbed

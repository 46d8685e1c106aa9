"""Precision: which layers leave bf16, and that it changes speed and rounding, not the result."""

import pytest
import timm
import torch

from thaw import processor
from thaw.training import precision


def network():
    torch.manual_seed(0)
    return timm.create_model("tf_efficientnet_lite0", num_classes=3).eval()


def eased(model):
    return {name for name, module in model.named_modules() if isinstance(module.forward, precision._Fp32Where)}


def gradients(model, images, bf16=True):
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        outputs = model(images)
    outputs.float().square().sum().backward()
    return torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])


def test_only_depthwise_convolutions_with_a_stride_or_a_large_kernel_leave_bf16():
    model = network()
    precision.learn_depthwise_in_fp32(model)
    chosen = eased(model)
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Conv2d):
            depthwise = module.groups > 1
            assert (name in chosen) == (depthwise and (module.stride[0] > 1 or module.kernel_size[0] > 3)), name
    assert chosen


def test_gradients_stay_as_near_to_fp32_as_those_of_bf16_are():
    usual, changed = network(), network()
    precision.learn_depthwise_in_fp32(changed)
    images = torch.randn(4, 3, 64, 64)
    exact = gradients(network(), images, bf16=False)
    near = torch.nn.functional.cosine_similarity
    in_bf16, in_both = gradients(usual, images), gradients(changed, images)
    assert not torch.equal(in_bf16, in_both)
    assert near(in_both, exact, dim=0) > max(0.95, near(in_bf16, exact, dim=0) - 0.01)


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_network_computes_as_before(frozen):
    usual, changed = network(), network()
    precision.learn_depthwise_in_fp32(changed)
    images = torch.randn(2, 3, 64, 64)
    for model in (usual, changed):
        model.requires_grad_(not frozen)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(usual(images), changed(images)) == frozen


def test_without_autocast_nothing_changes():
    usual, changed = network(), network()
    precision.learn_depthwise_in_fp32(changed)
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(usual(images), changed(images))


def test_the_best_precision_is_one_that_the_machine_has():
    assert precision.best("cpu") in ("fp32", "bf16")
    if not any(processor.facts().get(name) for name in ("avx512_bf16", "amx_bf16")):
        assert precision.best("cpu") == "fp32"


def test_every_precision_has_a_type_and_that_type_its_name():
    for name, dtype in precision.DTYPES.items():
        assert precision.name(dtype) == name

"""The number format of a training is measured, and the measurement leaves no trace."""

from __future__ import annotations

import time

import pytest
import torch
from torch import nn

from emotion_perception.learning.common import moving_average, one_cycle, one_cycle_schedule
from emotion_perception.learning.precision import autocast, training_precision

CPU = torch.device("cpu")


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1)).train()


@pytest.mark.parametrize(("slow", "chosen"), [(torch.bfloat16, torch.float32), (torch.float32, torch.bfloat16)])
def test_the_faster_format_is_chosen(slow: torch.dtype, chosen: torch.dtype) -> None:
    batches = []

    def loss(net: nn.Module, number_format: torch.dtype) -> torch.Tensor:
        batches.append(number_format)
        time.sleep(0.3 if number_format is slow else 0.0)
        with autocast(CPU, number_format):
            return net(torch.rand(6, 4)).float().mean()

    assert training_precision(network(), loss) is chosen
    assert batches.count(torch.bfloat16) == (1 if slow is torch.bfloat16 else 2), "emulation is not measured twice"


def test_measuring_changes_neither_the_network_nor_the_random_numbers() -> None:
    net = network()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    random = torch.get_rng_state()
    training_precision(net, lambda net, number_format: net(torch.rand(6, 4)).mean())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert torch.equal(torch.get_rng_state(), random)


def test_autocast_computes_in_the_chosen_format() -> None:
    layer, x = nn.Linear(4, 4), torch.rand(2, 4)
    for number_format in (torch.float32, torch.bfloat16):
        with autocast(CPU, number_format):
            assert layer(x).dtype is number_format


def test_moving_average_is_warmed_up_and_includes_batch_norm_statistics() -> None:
    net, generator = network(), torch.Generator().manual_seed(1)
    average = moving_average(net, 0.9)
    expected = {name: value.clone().double() for name, value in net.state_dict().items()}
    for n in range(1, 120):
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator))
            net(torch.rand(6, 4, generator=generator))
        average.update_parameters(net)
        decay = min(0.9, (1 + n) / (10 + n))
        for name, value in net.state_dict().items():
            expected[name] = expected[name] * decay + value * (1 - decay) if value.is_floating_point() else value
    assert not average.module.training and not any(p.requires_grad for p in average.module.parameters())
    for name, value in average.module.state_dict().items():
        torch.testing.assert_close(value.double(), expected[name].double(), rtol=1e-4, atol=1e-4)


def test_schedule_scales_the_peak_rate_of_each_group() -> None:
    layers = [nn.Linear(1, 1), nn.Linear(1, 1)]
    groups = [{"params": layer.parameters(), "lr": peak} for layer, peak in zip(layers, (0.1, 0.4), strict=True)]
    optimizer = torch.optim.SGD(groups)
    schedule = one_cycle_schedule(optimizer, 20)
    for step in range(20):
        rates = [group["lr"] for group in optimizer.param_groups]
        assert rates == pytest.approx([0.1 * one_cycle(step, 20), 0.4 * one_cycle(step, 20)])
        optimizer.step()
        schedule.step()

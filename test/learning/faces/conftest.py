"""The face trainings compute in bfloat16: in fp32, torch on some CPUs corrupts memory with networks this small."""

import pytest
import torch


@pytest.fixture(scope="module")
def number_format() -> torch.dtype:
    return torch.bfloat16

"""Memory: freed blocks stay with the process where glibc can do that, and the layout of convolutions."""

import subprocess
import sys

import pytest
import torch

from mmbal.data.store.store import ModalitySpec
from mmbal.engine import memory
from mmbal.models.encoders import build_encoder

FAULTS = """
import resource, sys
from mmbal.engine.memory import keep_freed_memory
kept = keep_freed_memory()
counts = []
for _ in range(6):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    b"x" * (48 << 20)
    counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(kept, min(counts))
"""


@pytest.mark.skipif(not memory.is_glibc(), reason="the C library is not glibc")
@pytest.mark.parametrize(("switch", "kept"), [("1", True), ("0", False)])
def test_a_block_that_was_freed_costs_no_new_pages_unless_switched_off(switch, kept, monkeypatch):
    monkeypatch.setenv(memory.SWITCH, switch)
    done = subprocess.run([sys.executable, "-c", FAULTS], check=True, capture_output=True, text=True)
    told, faults = done.stdout.split()
    assert told == str(kept)
    if kept:  # else there are about 12,288, or 24 where the system hands out huge pages
        assert int(faults) < 10


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(memory, "is_glibc", lambda: False)
    assert not memory.keep_freed_memory()


@pytest.mark.parametrize("name", ["resnet18", "cnn"])
def test_convolutions_have_their_channels_last(name):
    encoder = build_encoder(ModalitySpec(kind="image", shape=(3, 32, 32)), name, {})
    maps = encoder.maps(torch.randn(2, 3, 32, 32))
    assert maps.is_contiguous(memory_format=torch.channels_last)
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in encoder.parameters() if p.dim() == 4)

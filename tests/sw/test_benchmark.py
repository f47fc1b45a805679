"""The benchmark of analog layers measures what it says; no time is asserted."""

import json
import subprocess
import sys

import pytest
import torch
from torch import nn

from quietbar.analog import benchmark


def test_the_large_network_is_resnet_50():
    """Parameters and multiply-accumulates as published (He et al., arXiv 1512.03385, table 1: 3.8 billion FLOPs)."""
    network = benchmark.resnet50().eval()
    assert sum(parameter.numel() for parameter in network.parameters()) == 25_557_032
    macs = 0

    def count(layer, _, result):
        nonlocal macs
        macs += layer.weight.numel() * (result[0, 0].numel() if isinstance(layer, nn.Conv2d) else 1)

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 224, 224)).shape == (1, 1000)
    assert macs == 4_089_184_256


def test_every_member_runs_and_the_first_is_plain():
    for title, group in benchmark.resnet20().values():
        assert next(iter(group)) in ("plain torch", "without IR drop"), title


def test_times_are_of_each_member_and_ratios_of_the_first(capsys):
    calls = []
    group = {name: lambda name=name: lambda: calls.append(name) for name in ("one", "two")}
    entries = benchmark._print_times("title", group, (1,), rounds=3)
    assert calls == ["one", "two"] * 4, "in turn, the first round for the caches"
    assert [entry["name"] for entry in entries] == ["one", "two"] and entries[0]["ratio"] == 1
    assert "title" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform != "linux", reason="the system's own count of memory is Linux's")
def test_the_peak_is_that_of_the_call():
    code = "import json, torch; from quietbar.analog.benchmark import measure_peak; "
    code += "print(json.dumps(measure_peak(lambda: torch.ones(1 << 24).sum())))"
    found = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    assert found is None or 0.9 * (1 << 26) < found < 1.3 * (1 << 26)


def test_a_section_by_another_name_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmark", "--sections", "speed"])
    with pytest.raises(SystemExit):
        benchmark.main()
    assert "invalid choice: 'speed'" in capsys.readouterr().err

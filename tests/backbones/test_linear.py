"""Our linear layer against that of torch."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmark.backbones.linear import FLOP_FORMULAS, ONEDNN, Linear


@pytest.mark.parametrize("needs_input_gradient", [True, False])
@pytest.mark.parametrize(("batch", "n_in", "n_out"), [(64, 784, 400), (1, 3, 5), (48, 257, 401)])
def test_values_gradients_and_flops_are_torchs(batch: int, n_in: int, n_out: int, needs_input_gradient: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    ours, torchs = Linear(n_in, n_out), nn.Linear(n_in, n_out)
    torchs.load_state_dict(ours.state_dict())
    x = torch.randn(batch, n_in, generator=generator)
    gradient = torch.randn(batch, n_out, generator=generator)
    results = []
    for layer in (ours, torchs):
        layer_input = x.clone().requires_grad_(needs_input_gradient)
        with FlopCounterMode(display=False, custom_mapping=FLOP_FORMULAS) as counter:
            out = layer(layer_input)
            out.backward(gradient)
        results.append((out, layer.weight.grad, layer.bias.grad, layer_input.grad, counter.get_total_flops()))
    for got, expected in zip(*(result[:4] for result in results), strict=True):
        if expected is None:
            assert got is None
        else:
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    products = 3 if needs_input_gradient else 2
    assert results[0][4] == results[1][4] == products * 2 * batch * n_in * n_out


@pytest.mark.skipif(not ONEDNN, reason="this CPU's fastest product is torch's own")
def test_the_fast_path_is_taken() -> None:
    layer = Linear(400, 400)
    assert "OneDNN" in type(layer(torch.ones(64, 400)).grad_fn).__name__
    assert "OneDNN" not in type(layer(torch.ones(2, 400)).grad_fn).__name__


@pytest.mark.parametrize("shape", [(8,), (2, 3, 8)])
def test_other_shapes_and_types_fall_back(shape: tuple[int, ...]) -> None:
    assert Linear(8, 4)(torch.ones(shape)).shape == (*shape[:-1], 4)
    assert Linear(8, 4).double()(torch.ones(2, 8, dtype=torch.float64)).dtype == torch.float64

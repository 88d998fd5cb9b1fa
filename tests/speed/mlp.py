"""The fully connected backbone: our loop against a plain one, where a step's time goes, and what metrics cost."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from benchmark.backbones.linear import MIN_PRODUCTS, ONEDNN, Linear, _product
from benchmark.config.protocol import Training
from searchers.in_training.geco_l0arm import GecoController
from tests.speed.cases import MLP, Case, ours, plain_loop, together
from tests.speed.metrics import evaluation
from tests.speed.timing import Effort, Measure, Table, interleaved, ratio, seconds, with_threads

PAIR_SECONDS = 4.0
ROUNDS = 7


def measure(effort: Effort) -> list[Table]:
    """Training, the parts of a step, the parts of an evaluation."""
    return [_training(effort), _step(effort), evaluation(effort)]


def _training(effort: Effort) -> Table:
    case, threads = MLP.shortened(effort), effort.threads
    bf16 = replace(case, training=Training(precision="bf16"))
    at_least = PAIR_SECONDS * effort.scale
    loops = {"plain": plain_loop(case), "ours": ours(case), "bf16": ours(bf16)}
    loops["geco"] = ours(case, GecoController(case.latents, tau=10.0))
    measures: dict[str, Measure] = {name: loop.rate for name, loop in loops.items()}
    measures |= {"gemm": lambda: _gemm_rate(case), "pair": lambda: together([[case], [case]], at_least)[0]}
    measures = {name: with_threads(threads, one) for name, one in measures.items()}
    rates = interleaved("mlp: training", effort.rounds or ROUNDS, measures)
    rows = {
        f"plain loop, {threads} threads: images/s": rates["plain"],
        f"ours, {threads} threads: images/s": rates["ours"],
        "ours / plain": ratio(rates["ours"], rates["plain"]),
        "ours in bf16 / plain": ratio(rates["bf16"], rates["plain"]),
        "two trainers of 1 thread: images/s": rates["pair"],
        f"two of 1 thread / one of {threads}": ratio(rates["pair"], rates["ours"]),
        "two of 1 thread / plain": ratio(rates["pair"], rates["plain"]),
        "two of 1 thread / float32 GEMM peak": ratio(rates["pair"], rates["gemm"]),
        "GECO/L0-ARM step / plain ELBO step (time)": ratio(rates["ours"], rates["geco"]),
    }
    return Table(f"mlp 784-400-400, {case.latents} latents, batch {case.training.batch_size}, noise, CPU", rows)


def _layers(case: Case) -> list[nn.Linear]:
    return [module for module in case.vae().modules() if isinstance(module, nn.Linear)]


def _gemm_rate(case: Case) -> float:
    """Images per second if a training step's matrix products ran at the machine's float32 peak."""
    layer, x = Linear(1024, 1024), torch.rand(1024, 1024)
    with torch.inference_mode():
        flops = 2 * 1024**3 / seconds(lambda: layer(x), repeats=20)
    layers = _layers(case)
    weights = [layer.weight.numel() for layer in layers]
    return flops / (3 * 2 * sum(weights) - 2 * weights[0])  # two products backward, none for the input's gradient


def _step(effort: Effort) -> Table:
    """Where the time of one step goes, on one thread."""
    case = MLP.shortened(effort)
    loop, multiply, adam = ours(case), _products(case), _adam(case)
    steps = case.images_per_run // case.training.batch_size
    measures: dict[str, Measure] = {
        "step": lambda: case.training.batch_size / loop.rate(),
        "products": lambda: seconds(multiply, steps),
        "adam": lambda: seconds(adam, steps),
    }
    measures = {name: with_threads(1, one) for name, one in measures.items()}
    parts = interleaved("mlp: a step", effort.rounds or ROUNDS, measures)
    products, adam_share = ratio(parts["products"], parts["step"]), ratio(parts["adam"], parts["step"])
    rows = {
        "a step: ms": [1e3 * value for value in parts["step"]],
        "matrix products, with their biases": products,
        "Adam, fused": adam_share,
        "the rest": [1 - a - b for a, b in zip(products, adam_share, strict=True)],
    }
    return Table("mlp, 1 thread: shares of one step's time", rows)


def _products(case: Case) -> Callable[[], None]:
    """One step's matrix products alone, on the operands' layouts that the step has."""
    batch, layers = case.training.batch_size, _layers(case)
    operands = [
        (layer, torch.rand(batch, layer.in_features), torch.rand(batch, layer.out_features)) for layer in layers
    ]

    def multiply(a: Tensor, b: Tensor, by_onednn: bool) -> Tensor:
        return _product(a, b) if by_onednn else a @ b.t()

    @torch.no_grad()
    def run() -> None:
        for layer, x, gradient in operands:
            by_onednn = ONEDNN and isinstance(layer, Linear) and batch * layer.weight.numel() >= MIN_PRODUCTS
            layer(x)
            multiply(gradient.t(), x.t(), by_onednn)
            if layer is not layers[0]:
                multiply(gradient, layer.weight.t(), by_onednn)

    run()
    return run


def _adam(case: Case) -> Callable[[], object]:
    state = case.state()
    for parameter in state.vae.parameters():
        parameter.grad = torch.rand_like(parameter)
    return state.optimizer.step

"""Steps that are recorded and replayed are the steps of a plain training. There need not be a GPU."""

import copy
import gc
import math
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pandas as pd
import pytest
import torch
from torch import Generator, Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmark.backbones.build import build_vae
from benchmark.config.protocol import Training
from benchmark.datasets.base import Split
from benchmark.store.folders import TrialFolder
from benchmark.suite.population import Population
from benchmark.suite.problem import TrainingRun
from benchmark.training import cuda_graph
from benchmark.training.cuda_graph import WARM_UP, Replay
from benchmark.training.loop import finish, run_steps, train_epoch
from benchmark.training.rng import Purpose, stream
from benchmark.training.state import TrainingState, new_state
from searchers.base import KEEP_ALL, Controller, Decision, FixedSize, Model
from searchers.experiments.latent_noise import LatentNoise, LatentNoiseController
from searchers.experiments.unsampled import Unsampled
from searchers.in_training.ald import ALD, ALDController
from searchers.in_training.geco_l0arm import GecoController
from searchers.in_training.sparsity import Sparsity, SparsityController
from searchers.parts.gate_estimators import ESTIMATORS
from searchers.parts.objectives import VAE, Loss

CPU = torch.device("cpu")
N, BATCH, STEPS = 6, 16, 8
SETTINGS = Training(batch_size=BATCH, learning_rate=1e-2)
SEED, TRIAL = 4, 1
TAU = 1.5  # an error that the first epoch reaches, so that gates are drawn in replayed steps
NO_ROWS = pd.DataFrame()  # none of these controllers reads them


class _OnGPU(Generator):
    """A stream that says it is on a GPU, so that `train_epoch` takes replayed steps where it can."""

    device = torch.device("cuda")


class Eager(FixedSize):
    """What `FixedSize` does, never recorded."""

    @property
    def capturable(self) -> bool:
        return False


class OwnLoss(FixedSize):
    def loss(self, vae: VAE, x: Tensor, generator: Generator) -> Loss:
        return super().loss(vae, x, generator)


class OwnAfterStep(FixedSize):
    def after_step(self, vae: VAE) -> None:
        return None


class OwnDecision(Controller):
    def after_epoch(self, history: pd.DataFrame, model: Model) -> Decision:
        return KEEP_ALL


class Counts(FixedSize):
    """Not what it says: its loss grows with a number of Python's."""

    steps = 0

    @property
    def capturable(self) -> bool:
        return True

    def loss(self, vae: VAE, x: Tensor, generator: Generator) -> Loss:
        self.steps += 1
        return Loss(super().loss(vae, x, generator).total * self.steps)


BACKBONES = {"mlp": ({"hidden": [12]}, (1, 4, 4)), "geco-conv": ({"hidden": 16}, (1, 28, 28))}


def _split(device: torch.device = CPU, backbone: str = "mlp") -> Split:
    shape = BACKBONES[backbone][1]
    generator = Generator().manual_seed(0)
    factors = torch.randn(STEPS * BATCH + 5, 2, generator=generator)
    mixing = torch.randn(2, math.prod(shape), generator=generator)
    images = (255 * torch.sigmoid(2 * factors @ mixing)).to(torch.uint8).unflatten(1, shape)
    return Split(images, torch.zeros(len(images), dtype=torch.int64), torch.arange(len(images))).to(device)


def _state(controller: Controller, device: torch.device = CPU, backbone: str = "mlp") -> TrainingState:
    vae = build_vae(backbone, *BACKBONES[backbone], N, 1).to(device)
    return new_state(vae, controller.to(device), SETTINGS.learning_rate)


def _train(
    state: TrainingState, split: Split, epochs: Sequence[int], noise: type[Generator] = Generator
) -> list[float]:
    """These epochs and the decisions after them; their losses. noise: of type `_OnGPU`, replayed steps."""
    losses = []
    for epoch in epochs:
        order, own = (stream(purpose, SEED, TRIAL, epoch) for purpose in (Purpose.ORDER, Purpose.NOISE))
        generator = noise().manual_seed(own.initial_seed())
        losses.append(train_epoch(state, split, SETTINGS, order, generator))
        state.controller.after_epoch(NO_ROWS, None)
    return losses


def _assert_same(got: TrainingState, expected: TrainingState) -> None:
    """Bit for bit: weights, the controller's parameters and buffers, and Adam's moments."""
    for name in ("vae", "controller"):
        ours, theirs = getattr(got, name).state_dict(), getattr(expected, name).state_dict()
        assert ours.keys() == theirs.keys()
        for key, value in ours.items():
            torch.testing.assert_close(value, theirs[key], rtol=0, atol=0, equal_nan=True, msg=f"{name}.{key}")
    states = (state.optimizer.state_dict()["state"] for state in (got, expected))
    for ours, theirs in zip(*(own.values() for own in states), strict=True):
        assert all(torch.equal(ours[key], theirs[key]) for key in ("step", "exp_avg", "exp_avg_sq"))
    for name in ("images_seen", "train_flops", "flops_per_step"):
        assert getattr(got, name) == getattr(expected, name) > 0


# --- stand-ins for a GPU


class _Tape(TorchDispatchMode):
    """Notes each operation on tensors, which can then be done again on the same memory, as a CUDA graph does it.

    What Python does between the operations is not done again, as it is not by a graph.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, out))
        return out

    @torch.no_grad()
    def replay(self) -> None:
        for func, args, kwargs, noted in self.calls:
            out = func(*args, **kwargs)
            for ours, new in zip(_tensors(noted), _tensors(out), strict=True):
                if ours.data_ptr() != new.data_ptr():  # not in place, and no view
                    ours.copy_(new)


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [tensor for item in value for tensor in _tensors(item)] if isinstance(value, (list, tuple)) else []


def _called_anew(work: Callable[[], None], generators: Sequence[Generator]) -> Callable[[], None]:
    return work


@pytest.fixture
def replays(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many steps each recording has replayed. Recording one carries nothing out."""
    return _stand_in(monkeypatch, _called_anew)


def _stand_in(monkeypatch: pytest.MonkeyPatch, record: Callable[..., Callable[[], None]]) -> list[int]:
    counts: list[int] = []

    def counted(work: Callable[[], None], generators: Sequence[Generator]) -> Callable[[], None]:
        number, replay = len(counts), record(work, generators)
        counts.append(0)

        def replay_and_count() -> None:
            counts[number] += 1
            replay()

        return replay_and_count

    monkeypatch.setattr(cuda_graph, "_side_stream", nullcontext)
    monkeypatch.setattr(cuda_graph, "_record", counted)
    monkeypatch.setattr("benchmark.training.loop.Replay", lambda step, members, device: Replay(step, members, CPU))
    return counts


# --- trainings

CONTROLLERS: dict[str, Callable[[], Controller]] = {
    "elbo": FixedSize,
    "unsampled": Unsampled,
    **{f"geco {name}": lambda name=name: GecoController(N, TAU, estimator=name) for name in ESTIMATORS},  # type: ignore[misc]
}


@pytest.mark.parametrize("controller", CONTROLLERS)
def test_replayed_steps_are_plain_steps(controller: str, replays: list[int]) -> None:
    split, plain, replayed = _split(), *(_state(CONTROLLERS[controller]()) for _ in range(2))
    losses = _train(plain, split, (1, 2))
    assert replays == [] and plain.replay is None
    assert _train(replayed, split, (1, 2), _OnGPU) == losses and losses[0] != losses[1]
    assert replays == [2 * STEPS - WARM_UP] and WARM_UP > 0
    _assert_same(replayed, plain)
    if controller.startswith("geco"):
        drawn = replayed.controller.state_dict()
        assert drawn["hit"] and drawn["gates"].unique().numel() > 1


def test_latents_removed_in_between_are_recorded_anew(replays: list[int]) -> None:
    split, plain, replayed = _split(), _state(FixedSize()), _state(FixedSize())
    losses = []
    for state, noise in ((plain, Generator), (replayed, _OnGPU)):
        losses.append(_train(state, split, (1, 2), noise))
        state.remove_all_but((0, 2, 5))
        assert state.replay is None
        losses[-1] += _train(state, split, (3,), noise)
    assert losses[0] == losses[1]
    assert replays == [2 * STEPS - WARM_UP, STEPS - WARM_UP]
    assert replayed.vae.latent_dim == 3
    _assert_same(replayed, plain)


def test_a_controller_that_cannot_be_recorded_is_not(replays: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    def on_cpu(batches: Any, step: Any, noise: Sequence[Generator], replay: Replay | None) -> list[float]:
        return run_steps(batches, step, [Generator().manual_seed(own.initial_seed()) for own in noise], replay)

    monkeypatch.setattr("benchmark.training.loop.run_steps", on_cpu)
    state, expected = _state(Eager()), _state(FixedSize())
    assert _train(state, _split(), (1, 2), _OnGPU) == _train(expected, _split(), (1, 2))
    assert replays == [] and state.replay is None
    _assert_same(state, expected)


def test_recording_is_of_the_images_that_come(replays: list[int]) -> None:
    """Each step sees its own images, each once, and an epoch's sums are its own."""
    seen: list[float] = []

    def step(images: Tensor, generators: Sequence[Generator], totals: Tensor) -> None:
        seen.append(float(images[0]))
        totals += images.sum() + torch.randn((), generator=generators[0])

    replay = Replay(step, 1, CPU)
    for epoch in (1, 2):
        noise = [stream(Purpose.NOISE, SEED, TRIAL, epoch)]
        replay.start(noise)
        assert replay.totals.tolist() == [0]
        for value in range(6):
            replay(torch.full((2,), float(value)))
        assert seen == [0, 1, 2, 3, 4, 5] * epoch
        drawn = torch.stack([torch.randn((), generator=noise[0]) for _ in range(6)]).sum()
        assert replay.totals.item() == pytest.approx(30 + drawn.item(), abs=1e-5)
    assert replays == [12 - WARM_UP]


def _population(folder: Path, device: torch.device = CPU) -> Population:
    members = []
    for number, n in enumerate((2, N, 4)):
        vae = build_vae("mlp", *BACKBONES["mlp"], n, number).to(device)
        state = new_state(vae, FixedSize(), SETTINGS.learning_rate)
        members.append(TrainingRun(TrialFolder(folder / str(number)), n, (SEED, number), state))
    return Population(members, SETTINGS, [_split(device)] * len(members))


def test_a_populations_replayed_steps_are_plain_steps(replays: list[int], tmp_path: Path) -> None:
    plain, replayed = _population(tmp_path), _population(tmp_path)
    replayed._on_gpu = True
    assert [replayed.train_epoch(epoch) for epoch in (1, 2)] == [plain.train_epoch(epoch) for epoch in (1, 2)]
    assert replays == [2 * STEPS - WARM_UP]
    for name, value in replayed._stack.parameters.items():
        assert torch.equal(value, plain._stack.parameters[name]), name
    for ours, theirs in zip(replayed._members, plain._members, strict=True):
        for a, b in zip(ours.state.vae.parameters(), theirs.state.vae.parameters(), strict=True):
            assert torch.equal(a, b)


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Python's collector of circles runs seldom on its own, and not at all here."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
def test_a_recordings_memory_is_given_back_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    replays = _stand_in(monkeypatch, lambda work, generators: lambda: None)  # keeps nothing of the step, as a graph
    state = _state(FixedSize())
    _train(state, _split(), (1,), _OnGPU)
    recorded = weakref.ref(state.replay)
    state.remove_all_but((0, 2))
    assert recorded() is None
    _train(state, _split(), (2,), _OnGPU)
    recorded = weakref.ref(state.replay)
    finish(state)
    assert recorded() is None and len(replays) == 2
    population = _population(tmp_path)
    population._on_gpu = True
    population.train_epoch(1)
    recorded = weakref.ref(population._replay)
    population.end()
    assert recorded() is None and len(replays) == 3


class _Stream:
    """In place of a CUDA stream."""

    made: ClassVar[list["_Stream"]] = []

    def __init__(self, gpu: int) -> None:
        self.gpu = gpu
        self.made.append(self)

    def wait_stream(self, other: object) -> None:
        assert other is not self


def test_steps_before_a_recording_run_on_its_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """Autograd remembers the stream of a parameter's first gradient; another one breaks a recording."""
    used: list[_Stream] = []

    class Graph:
        def register_generator_state(self, generator: Generator) -> None:
            return None

        def replay(self) -> None:
            return None

    def on(stream: _Stream) -> Any:
        used.append(stream)
        return nullcontext()

    monkeypatch.setattr(_Stream, "made", [])
    monkeypatch.setattr(torch.cuda, "Stream", _Stream)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "stream", on)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph, stream: on(stream))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: SimpleNamespace(wait_stream=lambda other: None))
    cuda_graph._recording_stream.cache_clear()
    for gpu in (0, 0, 1):  # and on that of the recording before, on the same GPU
        monkeypatch.setattr(torch.cuda, "current_device", lambda gpu=gpu: gpu)
        replay = Replay(lambda images, generators, totals: None, 1, CPU)
        for _ in range(WARM_UP + 2):
            replay(torch.zeros(2))
    assert [stream.gpu for stream in used] == 2 * (WARM_UP + 1) * [0] + (WARM_UP + 1) * [1]
    assert set(used) == set(_Stream.made) and len(_Stream.made) == 2
    cuda_graph._recording_stream.cache_clear()


# --- of what is recorded Python's part is not done again


def _noted(state: TrainingState) -> Callable[..., Callable[[], None]]:
    """Recordings of this training on a tape; as a recording carries nothing out, what noting has done is undone."""

    def record(work: Callable[[], None], generators: Sequence[Generator]) -> Callable[[], None]:
        assert state.replay is not None
        changed = [
            *(state.replay.totals, *state.vae.state_dict().values(), *state.controller.state_dict().values()),
            *(tensor for moments in state.optimizer.state.values() for tensor in moments.values()),
        ]
        before = [tensor.detach().clone() for tensor in changed]
        places = [generator.get_state() for generator in generators]
        with _Tape() as tape:
            work()
        for tensor, value in zip(changed, before, strict=True):
            tensor.detach().copy_(value)
        for generator, place in zip(generators, places, strict=True):
            generator.set_state(place)
        return tape.replay

    return record


@pytest.mark.parametrize(
    ("controller", "backbone"),
    [*((name, "mlp") for name in CONTROLLERS), ("elbo", "geco-conv"), ("geco arm", "geco-conv")],
)
def test_a_step_is_operations_on_tensors_alone(controller: str, backbone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    split = _split(backbone=backbone)
    plain, replayed = (_state(CONTROLLERS[controller](), backbone=backbone) for _ in range(2))
    counts = _stand_in(monkeypatch, _noted(replayed))
    losses = _train(plain, split, (1, 2))
    assert _train(replayed, split, (1, 2), _OnGPU) == losses
    assert counts == [2 * STEPS - WARM_UP]
    _assert_same(replayed, plain)


def test_a_step_that_is_more_than_that_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, replayed = _state(Counts()), _state(Counts())
    _stand_in(monkeypatch, _noted(replayed))
    assert _train(replayed, _split(), (1,), _OnGPU) != _train(plain, _split(), (1,))


# --- which controllers


def test_capturable() -> None:
    for controller in (
        FixedSize(),
        ALDController(ALD(), seed=0),
        SparsityController(Sparsity(), 64, epochs=12),
        *(GecoController(N, TAU, gated, name) for gated in (True, False) for name in ESTIMATORS),
        OwnDecision(),
        Unsampled(),
    ):
        assert controller.capturable is True, controller
    for other in (OwnLoss(), OwnAfterStep(), LatentNoiseController(LatentNoise(), N), Eager()):
        assert other.capturable is False, other


# --- on a GPU


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: nothing can be captured here")
@pytest.mark.parametrize("controller", CONTROLLERS)
def test_captured_on_a_gpu(controller: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise is the same either way, so that a rounding is all that steps may differ by."""
    device = torch.device("cuda")
    split = _split(device)
    states, losses = [], []
    for capturable in (False, True):
        monkeypatch.setattr(Controller, "capturable", capturable)
        for own in (GecoController, Unsampled):
            monkeypatch.setattr(own, "capturable", capturable)
        state = _state(CONTROLLERS[controller](), device)
        losses.append([])
        for epoch in (1, 2, 3):
            order = stream(Purpose.ORDER, SEED, TRIAL, epoch)
            noise = stream(Purpose.NOISE, SEED, TRIAL, epoch, device)
            losses[-1].append(train_epoch(state, split, SETTINGS, order, noise))
            state.controller.after_epoch(NO_ROWS, None)
        assert (state.replay is not None) == capturable
        states.append(copy.deepcopy([state.vae.state_dict(), state.controller.state_dict()]))
    assert losses[1] == pytest.approx(losses[0], rel=1e-4) and all(map(math.isfinite, losses[0]))
    for ours, theirs in zip(*states, strict=True):
        for key, value in ours.items():
            torch.testing.assert_close(value, theirs[key], rtol=1e-3, atol=1e-3, equal_nan=True, msg=key)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: nothing can be captured here")
def test_a_population_captured_on_a_gpu(tmp_path: Path) -> None:
    device = torch.device("cuda")
    eager, captured = _population(tmp_path, device), _population(tmp_path, device)
    eager._on_gpu = False
    losses = [[population.train_epoch(epoch) for epoch in (1, 2, 3)] for population in (eager, captured)]
    assert eager._replay is None and captured._replay is not None
    for ours, theirs in zip(*losses, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    for name, value in captured._stack.parameters.items():
        torch.testing.assert_close(value, eager._stack.parameters[name], rtol=1e-3, atol=1e-3, msg=name)

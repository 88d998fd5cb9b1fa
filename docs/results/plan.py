"""What the study is made of: the commands of its runs, with what a seed of all methods is estimated to take."""

from __future__ import annotations

from dataclasses import dataclass

MANY, FEW = range(10), range(5)  # seeds where a training takes under a minute, and elsewhere


@dataclass(frozen=True)
class Block:
    """All methods on one protocol. hours: of one core for a seed of all methods, by `latentbench run --dry-run`."""

    protocol: str
    seeds: range
    hours: float
    options: str = ""

    @property
    def name(self) -> str:
        """The protocol's name without `study-`: `digits`, `manifold`, `manifold-8`, `mnist`."""
        return self.protocol.removeprefix("study-")

    @property
    def command(self) -> str:
        """The command of all its searches."""
        seeds = " ".join(map(str, self.seeds))
        options = f" {self.options}" if self.options else ""
        what = f"--protocol {self.protocol} --searchers all --seeds {seeds}{options}"
        return f"latentbench run {what} --results results/study"


PLAN = (
    Block("digits", MANY, 0.1, "--set size_only=true"),
    Block("study-manifold-3", MANY, 0.3),
    Block("manifold", MANY, 0.3, "--set size_only=true"),
    Block("study-manifold-8", MANY, 0.3),
    Block("study-manifold-12", MANY, 0.4),
    Block("study-manifold-20", MANY, 0.4),
    Block("study-linear", MANY, 0.06),
    Block("study-torus", MANY, 0.05),
    Block("study-shapes2d", MANY, 0.35),
    Block("study-mnist", FEW, 1.5),
    Block("study-fashionmnist", FEW, 1.5),
    Block("study-mnist-conv", FEW, 3.5),
    Block("study-eurosat", FEW, 3.5),
)

ON_IMAGES = (
    "grid nested sparsity ard ald geco-l0arm twonn"  # the methods whose sizes are followed over numbers of images
)
SENSITIVITY = (
    "--protocol sensitivity --seeds 0 1 2",
    *(
        f"--protocol digits --set choice.margin={margin} --searchers grid nested --seeds 0 1 2"
        for margin in (0.016, 0.028, 0.089, 0.16)
    ),
    "--protocol digits --set space.high=16 --set 'space.sizes=[2, 4, 8, 16]' --searchers nested --seeds 0 1 2",
    "--protocol digits --set space.high=64 --searchers nested --seeds 0 1 2",
    *(
        f"--protocol {protocol} --searchers nested sparsity ard geco-l0arm --seeds 0 1 2 --epochs 450"  # 20,250 steps
        for protocol in ("study-torus", "study-linear")
    ),
    "--protocol study-manifold-20 --searchers nested sparsity ard --seeds 0 1 --epochs 450",
    *(
        f"--protocol manifold --set dataset.n_images={n} --searchers {ON_IMAGES} --seeds 0 1 2"
        for n in (700, 1250, 2200, 3900)
    ),
)

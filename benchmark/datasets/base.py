"""A dataset: images or rows in memory or memory-mapped, labels, and three splits, in the partition of a seed."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from benchmark.config.protocol import N_PARTITIONS
from benchmark.datasets.scaling import BYTES, Scaling, standardised
from benchmark.text import printable

HELD_OUT_FRACTION = 0.1
FEWEST_ROWS = 4  # of which two are held out
SPLIT_SEED = 0  # of the partition that a loader draws, and of samples of a split
COPY_BATCH = 4096  # images that are copied to a device at once
MAX_NAMED = 10  # classes that a description names
STORED = (
    *(torch.uint8, torch.int8, torch.uint16, torch.int16, torch.int32, torch.int64),
    *(torch.float16, torch.float32, torch.float64),
)
STANDARDISED = "standardised on the training split"  # in a description
FITTED_BYTES = 2**23  # of the values that are read at once for a scaling


@dataclass(frozen=True)
class Split:
    """A subset of the rows of an image tensor. Several splits may share the tensor.

    images: numbers of a type in STORED, in memory or memory-mapped: images [N, C, H, W], most often uint8, videos
        [N, C, T, H, W], or rows of a table [N, D].
    labels: int64 [N].
    rows: int64 [M], the rows of `images` and `labels` that belong to this split.
    scaling: from the stored values to what a network sees.
    """

    images: Tensor
    labels: Tensor
    rows: Tensor
    scaling: Scaling = BYTES

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def is_of_bytes(self) -> bool:
        """Whether the images are bytes that a network sees in [0, 1]; those of 0 and 1 alone are seen as stored."""
        scaling, numbers = self.scaling, (int, float)
        are_numbers = isinstance(scaling.shift, numbers) and isinstance(scaling.scale, numbers)
        return are_numbers and (scaling.shift, scaling.scale) == (0, 255) and self.images.dtype == torch.uint8

    def take(self, positions: Tensor) -> Tensor:
        """Returns the images at these positions of the split as they are stored: [len(positions), C, H, W]."""
        return self.images[self.rows[positions]]

    def inputs(self, positions: Tensor, device: torch.device | None = None) -> Tensor:
        """Returns what a network sees of them, float32; on `device`, or where the split is."""
        device = self.images.device if device is None else device
        return self.scaling.to(device)(self.take(positions).to(device))

    def sample(self, count: int) -> "Split":
        """Draws `count` images with a fixed seed, in the split's order; returns the whole split if it has no more."""
        if count >= len(self):
            return self
        chosen = torch.randperm(len(self), generator=torch.Generator().manual_seed(SPLIT_SEED))[:count]
        return replace(self, rows=self.rows[chosen.sort().values.to(self.rows.device)])

    def to(self, device: torch.device) -> "Split":
        """Copies the split to `device`: only its own rows, since the shared images may be gigabytes."""
        if _is_on(self.images, device):
            return self
        images = torch.empty(
            (len(self), *self.images.shape[1:]), dtype=_dtype_on(device, self.images.dtype), device=device
        )
        for batch, rows in zip(images.split(COPY_BATCH), self.rows.split(COPY_BATCH), strict=True):
            batch.copy_(self.images[rows])
        labels, rows = self.labels[self.rows].to(device), torch.arange(len(self), device=device)
        return Split(images, labels, rows, self.scaling.to(device))


def copy_splits(splits: Sequence[Split], device: torch.device) -> list[Split]:
    """Copies splits to `device`; an image that several of them hold is copied once."""
    if all(_is_on(split.images, device) for split in splits):
        return list(splits)
    copies: dict[int, tuple[Tensor, Split]] = {}
    for images in {id(split.images): split.images for split in splits}.values():
        sharing = [split for split in splits if split.images is images]
        held = torch.cat([split.rows for split in sharing]).unique()
        copies[id(images)] = held, Split(images, sharing[0].labels, held).to(device)
    moved = []
    for split in splits:
        held, copy = copies[id(split.images)]
        rows = torch.searchsorted(held, split.rows).to(device)
        moved.append(Split(copy.images, copy.labels, rows, split.scaling.to(device)))
    return moved


def _is_on(images: Tensor, device: torch.device) -> bool:
    return images.device.type == device.type and device.index in (None, images.device.index)


def _dtype_on(device: torch.device, dtype: torch.dtype) -> torch.dtype:
    """The type on a device of values of this one: GPUs do not index uint16, and Apple's have no float64."""
    if device.type != "cpu" and dtype == torch.uint16:
        return torch.int32
    return torch.float32 if device.type == "mps" and dtype == torch.float64 else dtype


@dataclass(frozen=True)
class Dataset:
    """A dataset ready to train on. `fingerprint` is a hash of its content; `description` is a line about it.

    drawn: the names of the splits that are drawn at random, since the data have no official ones. partition: the number
    of the draw, see `for_seed`. truth: the smallest and the largest latent size that is right, where that is known.
    value_names: of a table's columns, where they have names. likelihood: the one that the values are prepared for.
    """

    name: str
    train: Split
    val: Split
    test: Split
    n_classes: int
    fingerprint: str
    description: str
    drawn: tuple[str, ...] = ()
    partition: int = 0
    truth: tuple[int, int] | None = None
    value_names: tuple[str, ...] = ()
    likelihood: str = "bernoulli"

    def for_seed(self, seed: int) -> "Dataset":
        """Returns the dataset in the partition of this seed, one of N_PARTITIONS; all searches of the seed use it.

        Partition 0 is the one that was loaded. The others draw anew which images are in the `drawn` splits, whose sizes
        stay; they share the images without a copy. Official splits are the same in all of them. A scaling that is
        fitted to the training split is computed anew.
        """
        partition = seed % N_PARTITIONS if self.drawn else 0
        if partition == self.partition:
            return self
        if self.partition:
            raise ValueError(f"got a dataset in partition {self.partition}, expected it as it was loaded")
        splits = [getattr(self, name) for name in self.drawn]
        rows = torch.cat([split.rows for split in splits]).sort().values
        positions = _draw_rows(len(rows), [len(split) for split in splits[:-1]], partition)
        drawn = (replace(split, rows=rows[own]) for split, own in zip(splits, positions, strict=True))
        own = replace(self, partition=partition, **dict(zip(self.drawn, drawn, strict=True)))
        return own.with_scaling(standardised_on(own.train, own.val, own.test)) if self.train.scaling.is_fitted else own

    def with_scaling(self, scaling: Scaling) -> "Dataset":
        """Returns the dataset with another scaling of its stored values."""
        parts = {name: replace(getattr(self, name), scaling=scaling) for name in ("train", "val", "test")}
        return replace(self, **parts)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(C, H, W), or (C, T, H, W) for video, or (D,) for the rows of a table."""
        return tuple(self.train.images.shape[1:])

    @property
    def is_images(self) -> bool:
        """Whether the samples are images or videos; else they are rows of a table."""
        return len(self.image_shape) > 1


Rescaled = Scaling | Literal["standard"] | None
"""How stored values are scaled: None for the bytes of images, which become numbers in [0, 1]; `standard` makes each
value of mean 0 and standard deviation 1 over the training split of the partition; where it is constant, by its standard
deviation over all splits."""


def make_dataset(
    name: str,
    train_images: Tensor,
    train_labels: Tensor,
    test_images: Tensor,
    test_labels: Tensor,
    n_classes: int,
    fingerprint: str | None = None,
    val: tuple[Tensor, Tensor] | None = None,
    classes: Sequence[str] = (),
    notes: Sequence[str] = (),
    scaling: Rescaled = None,
    value_names: Sequence[str] = (),
) -> Dataset:
    """Makes a dataset with an official test split; 10 % of the training rows are drawn for validation.

    The drawn rows follow from the seed alone, see `Dataset.for_seed`. Images [N, C, H, W] or rows [N, D] are of a type
    in STORED, labels int64 [N]; data without labels have one class, and 0 for each. The fingerprint is computed from
    the content unless given. val: images and labels of the data's own validation split. classes: their names. notes:
    more facts for the description. scaling: see `Rescaled`. value_names: of the columns. Raises ValueError for other
    dtypes or lengths; that is a mistake of the loader, not of the user.
    """
    drawn = ("val", "train") if val is None else ()
    _check(name, train_images, train_labels, scaling)
    _check(name, test_images, test_labels, scaling)
    if val is None:
        val_rows, train_rows = _draw_rows(len(train_images), [_tenth(len(train_images))])
        val_split, train = (Split(train_images, train_labels, rows) for rows in (val_rows, train_rows))
    else:
        _check(name, *val, scaling)
        val_split, train = _all_rows(*val), _all_rows(train_images, train_labels)
    test = _all_rows(test_images, test_labels)
    fingerprint = fingerprint or _content_hash(train_images, train_labels, test_images, test_labels)
    description = describe(
        (train, val_split, test), n_classes, classes, [*_partition_note(drawn), *_scaling_note(scaling), *notes]
    )
    columns = tuple(value_names)
    dataset = Dataset(name, train, val_split, test, n_classes, fingerprint, description, drawn, value_names=columns)
    return _scaled(dataset, scaling)


def split_dataset(
    name: str,
    images: Tensor,
    labels: Tensor,
    n_classes: int,
    fingerprint: str | None = None,
    classes: Sequence[str] = (),
    notes: Sequence[str] = (),
    train_test: tuple[Tensor, Tensor] | None = None,
    truth: tuple[int, int] | None = None,
    scaling: Rescaled = None,
    value_names: Sequence[str] = (),
) -> Dataset:
    """Makes a dataset without an official split: draws a tenth for testing, and a tenth of the rest for validation.

    The drawn rows follow from the seed alone, see `Dataset.for_seed`. The three splits share `images` [N, C, H, W] and
    `labels` [N] without a copy. train_test: rows of partition 0 that the loader has drawn itself, int64: those for
    training and validation, and those for testing. truth: see `Dataset`. The other arguments are those of make_dataset.
    """
    _check(name, images, labels, scaling)
    if train_test is None:
        n_test = _tenth(len(images))
        test_rows, val_rows, train_rows = _draw_rows(len(images), [n_test, _tenth(len(images) - n_test)])
        fingerprint = fingerprint or _content_hash(images, labels)
    else:
        rest, test_rows = train_test
        val_rows, train_rows = (rest[positions] for positions in _draw_rows(len(rest), [_tenth(len(rest))]))
        parts = (part[rows] for rows in train_test for part in (images, labels))
        fingerprint = fingerprint or _content_hash(*parts)
    test, val, train = (Split(images, labels, rows) for rows in (test_rows, val_rows, train_rows))
    drawn = ("test", "val", "train")
    known = [] if truth is None else [f"right latent sizes: {truth[0]} to {truth[1]}"]
    description = describe(
        (train, val, test), n_classes, classes, [*_partition_note(drawn), *_scaling_note(scaling), *notes, *known]
    )
    facts = (name, train, val, test, n_classes, fingerprint, description, drawn)
    return _scaled(Dataset(*facts, truth=truth, value_names=tuple(value_names)), scaling)


def standardised_on(train: Split, *others: Split) -> Scaling:
    """The scaling that makes every value of mean 0 and standard deviation 1 over a split, which is read in parts.

    others: for the scale of values that are constant over `train`: their standard deviation over all these splits.
    """
    return standardised(stored_parts(train), (part for split in (train, *others) for part in stored_parts(split)))


def stored_parts(split: Split) -> Iterator[Tensor]:
    """The stored values of a split, some MB at a time, [B, *image_shape] each."""
    rows = max(1, FITTED_BYTES // (8 * math.prod(split.images.shape[1:])))
    return (split.take(positions) for positions in torch.arange(len(split)).split(rows))


def _scaled(dataset: Dataset, scaling: Rescaled) -> Dataset:
    if scaling is None:
        return dataset
    if scaling == "standard":
        scaling = standardised_on(dataset.train, dataset.val, dataset.test)
    return dataset.with_scaling(scaling)


def _scaling_note(scaling: Rescaled) -> list[str]:
    return [STANDARDISED] if scaling == "standard" else []


def _partition_note(drawn: Sequence[str]) -> list[str]:
    """The fact for the description that splits differ by seed."""
    if not drawn:
        return []
    which = "all differ" if "test" in drawn else "train and validation differ"
    return [f"{which} by seed ({N_PARTITIONS} partitions)"]


def _all_rows(images: Tensor, labels: Tensor) -> Split:
    return Split(images, labels, torch.arange(len(images)))


def describe(splits: Sequence[Split], n_classes: int, classes: Sequence[str] = (), notes: Sequence[str] = ()) -> str:
    """Writes a line: the number of images, their shape, the classes and their sizes, and the sizes of the splits.

    splits: train, val, test. classes: their names, if they have names; the line shows the first ten. notes: more facts.
    """
    counts = torch.stack([split.labels[split.rows].bincount(minlength=n_classes) for split in splits]).sum(0).tolist()
    samples = "rows" if splits[0].images.ndim == 2 else "images"
    named = [f"{printable(name)} {count:,}" for name, count in zip(classes, counts, strict=False) if name]
    class_text = f"{n_classes} class{'' if n_classes == 1 else 'es'}"
    if n_classes > len(named) or n_classes > MAX_NAMED:
        few, many = min(counts), max(counts)
        class_text += f" of {few:,} to {many:,} {samples}" if few < many else f" of {few:,}"
    if named:
        class_text += f": {', '.join(named[:MAX_NAMED])}{', ...' if len(named) > MAX_NAMED else ''}"
    facts = [
        f"{sum(counts):,} {samples}, {_kind(splits[0].images)}",
        class_text,
        f"splits: {len(splits[0]):,} train, {len(splits[1]):,} validation, {len(splits[2]):,} test",
    ]
    return "; ".join([*facts, *notes])


def _kind(images: Tensor) -> str:
    """The shape of a sample, and the type of its numbers where they are no bytes."""
    first, *sides = images.shape[1:]
    dtype = "" if images.dtype == torch.uint8 else f" of {str(images.dtype).removeprefix('torch.')}"
    if not sides:
        return f"{first:,} columns{dtype}"
    kind = {1: "grey", 3: "RGB"}.get(first, f"{first} channels")
    return f"{kind} {'x'.join(map(str, sides))}{dtype}"


def _check(name: str, images: Tensor, labels: Tensor, scaling: Rescaled) -> None:
    allowed = STORED if scaling is not None else (torch.uint8,)
    is_right = images.dtype in allowed and images.ndim in (2, 4, 5) and (images.ndim > 2 or scaling is not None)
    if not is_right or labels.dtype != torch.int64 or len(images) != len(labels) or len(images) < 2:
        raise ValueError(
            f"{name}: got {images.dtype} images {tuple(images.shape)} and {labels.dtype} labels "
            f"{tuple(labels.shape)}, expected uint8 [N, C, H, W], or numbers with a scaling, and int64 [N] with N >= 2"
        )


def _tenth(n_rows: int) -> int:
    """A tenth of the rows; of few rows two, which metrics need, as far as two are left."""
    return max(2 if n_rows >= FEWEST_ROWS else 1, round(HELD_OUT_FRACTION * n_rows))


def _draw_rows(n_rows: int, sizes: list[int], seed: int = SPLIT_SEED) -> list[Tensor]:
    """Draws disjoint sets of rows of these sizes; returns them and the set of all other rows, each sorted."""
    order = torch.randperm(n_rows, generator=torch.Generator().manual_seed(seed))
    return [rows.sort().values for rows in order.split([*sizes, n_rows - sum(sizes)])]


def _content_hash(*tensors: Tensor) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for tensor in tensors:
        dtype = "" if tensor.dtype in (torch.uint8, torch.int64) else str(tensor.dtype)
        digest.update(f"{tuple(tensor.shape)}{dtype}".encode())
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()

"""What a dataset is: uint8 images in memory or memory-mapped, labels, and three fixed splits."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.text import printable

HELD_OUT_FRACTION = 0.1
SPLIT_SEED = 0
COPIED_AT_ONCE = 4096  # images, on their way to a device
MOST_CLASSES = 10  # that a description names


@dataclass(frozen=True)
class Split:
    """Rows of an image tensor that several splits may share.

    images: uint8 [N, C, H, W] (video [N, C, T, H, W]); may be backed by a memory-mapped file.
    labels: int64 [N].
    rows: int64 [M], the rows of `images` and `labels` that belong to this split.
    """

    images: Tensor
    labels: Tensor
    rows: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, positions: Tensor) -> Tensor:
        """Images at these positions of the split: uint8 [len(positions), C, H, W]."""
        return self.images[self.rows[positions]]

    def sample(self, count: int) -> "Split":
        """A random part of the split, the same each time, in the split's order; all of it where it has fewer images."""
        if count >= len(self):
            return self
        chosen = torch.randperm(len(self), generator=torch.Generator().manual_seed(SPLIT_SEED))[:count]
        return Split(self.images, self.labels, self.rows[chosen.sort().values.to(self.rows.device)])

    def to(self, device: torch.device) -> "Split":
        """The same split on `device`. What moves is its own rows alone: images may be gigabytes that splits share."""
        if self.images.device == device:
            return self
        images = torch.empty((len(self), *self.images.shape[1:]), dtype=torch.uint8, device=device)
        for part, rows in zip(images.split(COPIED_AT_ONCE), self.rows.split(COPIED_AT_ONCE), strict=True):
            part.copy_(self.images[rows])
        return Split(images, self.labels[self.rows].to(device), torch.arange(len(self), device=device))


@dataclass(frozen=True)
class Dataset:
    """A dataset ready to train on. `fingerprint` is a hash of its content; `description` says in a line what it is."""

    name: str
    train: Split
    val: Split
    test: Split
    n_classes: int
    fingerprint: str
    description: str

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(C, H, W), or (C, T, H, W) for video."""
        return tuple(self.train.images.shape[1:])


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
) -> Dataset:
    """Holds out 10 % of the training rows for validation: the same rows for every searcher and seed.

    Images are uint8 [N, C, H, W], labels int64 [N]. The fingerprint is computed from the content unless given. val:
    images and labels, where the data have a validation split of their own. classes: their names. notes: what the
    description says too. Raises ValueError for other dtypes or lengths: a loader's mistake, not the user's.
    """
    _check(name, train_images, train_labels)
    _check(name, test_images, test_labels)
    if val is None:
        val_rows, train_rows = _draw(len(train_images), [_tenth(len(train_images))])
        val_split, train = (Split(train_images, train_labels, rows) for rows in (val_rows, train_rows))
    else:
        _check(name, *val)
        val_split, train = (_whole(*part) for part in (val, (train_images, train_labels)))
    test = _whole(test_images, test_labels)
    return Dataset(
        name=name,
        train=train,
        val=val_split,
        test=test,
        n_classes=n_classes,
        fingerprint=fingerprint or _content_hash(train_images, train_labels, test_images, test_labels),
        description=describe((train, val_split, test), n_classes, classes, notes),
    )


def split_dataset(
    name: str,
    images: Tensor,
    labels: Tensor,
    n_classes: int,
    fingerprint: str | None = None,
    classes: Sequence[str] = (),
) -> Dataset:
    """A dataset without an official split: a tenth of the rows is the test split, a tenth of the rest validation.

    The rows are drawn at random with SPLIT_SEED: the same for every searcher and seed. The three splits share
    `images` [N, C, H, W] and `labels` [N], of which nothing is copied. Otherwise as make_dataset.
    """
    _check(name, images, labels)
    n_test = _tenth(len(images))
    parts = _draw(len(images), [n_test, _tenth(len(images) - n_test)])
    test, val, train = (Split(images, labels, rows) for rows in parts)
    return Dataset(
        name=name,
        train=train,
        val=val,
        test=test,
        n_classes=n_classes,
        fingerprint=fingerprint or _content_hash(images, labels),
        description=describe((train, val, test), n_classes, classes),
    )


def _whole(images: Tensor, labels: Tensor) -> Split:
    return Split(images, labels, torch.arange(len(images)))


def describe(splits: Sequence[Split], n_classes: int, classes: Sequence[str] = (), notes: Sequence[str] = ()) -> str:
    """In a line: number of images, their shape, classes and how many images each has, the sizes of the three splits.

    splits: train, val, test. classes: their names, none if they have none; of many the first are named. notes: more
    facts.
    """
    counts = torch.stack([split.labels[split.rows].bincount(minlength=n_classes) for split in splits]).sum(0).tolist()
    channels, *sides = splits[0].images.shape[1:]
    kind = {1: "grey", 3: "RGB"}.get(channels, f"{channels} channels")
    named = [f"{printable(name)} {count:,}" for name, count in zip(classes, counts, strict=False) if name]
    total = f"{n_classes} class{'' if n_classes == 1 else 'es'}"
    if n_classes > len(named) or n_classes > MOST_CLASSES:
        total += f" of {min(counts):,} to {max(counts):,} images" if min(counts) < max(counts) else f" of {counts[0]:,}"
    if named:
        total += f": {', '.join(named[:MOST_CLASSES])}{', ...' if len(named) > MOST_CLASSES else ''}"
    parts = [
        f"{sum(counts):,} images, {kind} {'x'.join(map(str, sides))}",
        total,
        f"splits: {len(splits[0]):,} train, {len(splits[1]):,} validation, {len(splits[2]):,} test",
    ]
    return "; ".join([*parts, *notes])


def _check(name: str, images: Tensor, labels: Tensor) -> None:
    if images.dtype != torch.uint8 or labels.dtype != torch.int64 or len(images) != len(labels) or len(images) < 2:
        raise ValueError(
            f"{name}: got {images.dtype} images {tuple(images.shape)} and {labels.dtype} labels "
            f"{tuple(labels.shape)}, expected uint8 [N, C, H, W] and int64 [N] with N >= 2"
        )


def _tenth(n_rows: int) -> int:
    return max(1, round(HELD_OUT_FRACTION * n_rows))


def _draw(n_rows: int, sizes: list[int]) -> list[Tensor]:
    """Disjoint random rows of these sizes, and all other rows; each sorted."""
    order = torch.randperm(n_rows, generator=torch.Generator().manual_seed(SPLIT_SEED))
    return [rows.sort().values for rows in order.split([*sizes, n_rows - sum(sizes)])]


def _content_hash(*tensors: Tensor) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for tensor in tensors:
        digest.update(str(tuple(tensor.shape)).encode())
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()

"""Handwritten digits that are bundled with scikit-learn."""

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from benchmark.datasets.base import Dataset, split_dataset

TEST_FRACTION = 0.2
TEST_SEED = 0


def load() -> Dataset:
    """Loads 1,797 grey images [N, 1, 8, 8] of the digits 0-9; 360 of them are the test split.

    In partition 0 these are stratified by digit.
    """
    values, digits = load_digits(return_X_y=True)
    # Pixel values are counts from 0 to 16.
    images = torch.from_numpy(np.rint(values * 255 / 16).astype(np.uint8)).reshape(-1, 1, 8, 8)
    labels = torch.from_numpy(digits.astype(np.int64))
    rest, test = train_test_split(
        np.arange(len(digits)), test_size=TEST_FRACTION, stratify=digits, random_state=TEST_SEED
    )
    train_test = (torch.from_numpy(rest), torch.from_numpy(test))
    return split_dataset("digits", images, labels, n_classes=10, train_test=train_test)

"""Image folders: what is in them, how they are split, what was skipped and why."""

from __future__ import annotations

from edgetl.data.dataset import ClassFolder, Dataset, Sample, Scan, Skipped
from edgetl.data.folder import list_images, scan_folder
from edgetl.data.split import load_dataset, split_samples

__all__ = [
    "ClassFolder",
    "Dataset",
    "Sample",
    "Scan",
    "Skipped",
    "list_images",
    "load_dataset",
    "scan_folder",
    "split_samples",
]

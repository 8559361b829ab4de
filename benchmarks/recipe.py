"""The usual transfer-learning recipe: a frozen backbone run anew in every epoch, and SGD on its new head.

S. Chilamkurthy, *Transfer Learning for Computer Vision Tutorial*, PyTorch, "ConvNet as fixed feature
extractor": random resized crop and flip, SGD with momentum 0.9 and rate 0.001..0.01 decayed by 0.1 every
7 epochs, 25 epochs, a validation pass in each, the best one kept. Here with batches of 32, which is faster
than the tutorial's 4, and batch norm in evaluation mode.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import lr_scheduler

from edgetl.contract import Contract
from edgetl.contract.stream import usable_cores
from edgetl.transfer.backbones import load, resolve

EPOCHS = 25
BATCH = 32
WORKERS = 2
RATE = 0.01


@dataclass(frozen=True)
class Epoch:
    """``seconds`` of training and validation; ``accuracy`` on the validation images."""

    number: int
    seconds: float
    accuracy: float


def epochs(folder: Path, count: int = EPOCHS) -> Iterator[Epoch]:
    """Train on ``folder/train``, validate on ``folder/val``; importing and building are not timed."""
    torch.manual_seed(0)
    torch.set_num_threads(usable_cores())
    backbone, contract = load(resolve())
    training, validation, classes = _loaders(folder, contract)
    with torch.no_grad():
        width = backbone(torch.zeros(1, 3, contract.height, contract.width)).shape[1]
    model = nn.Sequential(backbone, nn.Linear(width, classes)).eval()
    optimiser = torch.optim.SGD(model[1].parameters(), lr=RATE, momentum=0.9)
    schedule = lr_scheduler.StepLR(optimiser, step_size=7, gamma=0.1)
    for number in range(1, count + 1):
        start = time.perf_counter()
        _train(model, training, optimiser)
        schedule.step()
        accuracy = _validate(model, validation)
        yield Epoch(number, time.perf_counter() - start, accuracy)


def _train(model: nn.Module, batches: Any, optimiser: torch.optim.Optimizer) -> None:
    for images, labels in batches:
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()


def _validate(model: nn.Module, batches: Any) -> float:
    right = total = 0
    with torch.no_grad():
        for images, labels in batches:
            right += int((model(images).argmax(1) == labels).sum())
            total += len(labels)
    return right / total


def _loaders(folder: Path, contract: Contract) -> tuple[Any, Any, int]:
    from torchvision import datasets, transforms

    size = (contract.height, contract.width)
    filter_ = transforms.InterpolationMode(contract.interpolation)
    tensor = [transforms.ToTensor(), transforms.Normalize(contract.mean, contract.std)]
    augmented = transforms.Compose(
        [transforms.RandomResizedCrop(size), transforms.RandomHorizontalFlip(), *tensor]
    )
    centred = transforms.Compose(
        [transforms.Resize(contract.resize_to, filter_), transforms.CenterCrop(size), *tensor]
    )
    training = datasets.ImageFolder(str(folder / "train"), augmented)
    validation = datasets.ImageFolder(str(folder / "val"), centred)
    load_ = torch.utils.data.DataLoader
    return (
        load_(training, BATCH, shuffle=True, num_workers=WORKERS),
        load_(validation, BATCH, num_workers=WORKERS),
        len(training.classes),
    )

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from edgetl.contract import Contract
from edgetl.errors import ContractMismatchError, InputError


def test_survives_json(contract: Contract) -> None:
    again = Contract.from_dict(json.loads(json.dumps(contract.to_dict())))
    assert again == contract and again.fingerprint == contract.fingerprint
    assert contract.input_shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("height", 31),
        ("width", 31),
        ("resize", "stretch"),
        ("resize_to", 40),
        ("interpolation", "bicubic"),
        ("mean", (0.485, 0.456, 0.407)),
        ("std", (0.229, 0.224, 0.226)),
        ("background", 0),
    ],
)
def test_every_field_is_in_the_fingerprint(contract: Contract, field: str, value: Any) -> None:
    other = replace(contract, **{field: value})
    assert other.fingerprint != contract.fingerprint
    with pytest.raises(ContractMismatchError) as caught:
        contract.require(other, mine="model", theirs="bundle")
    marked = [line.split()[1] for line in str(caught.value).splitlines() if line.startswith("!=")]
    assert marked == ["fingerprint", field]


def test_fingerprint_is_the_published_one() -> None:
    contract = Contract(224, 224, "shorter", 256, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert contract.fingerprint == "08a0cb7be41a3f3aff735f2579b8768c42b95e5a4e5f04072b8d82b560eefdde"


def test_equal_contracts_pass(contract: Contract) -> None:
    contract.require(Contract.from_dict(contract.to_dict()), mine="a", theirs="b")


@pytest.mark.parametrize(
    "change",
    [
        {"height": 0},
        {"width": 8193},
        {"height": "x"},
        {"height": 1e999},
        {"resize": "crop"},
        {"resize": ["shorter"]},
        {"resize_to": 31},
        {"resize_to": 10**9},
        {"interpolation": "cubic"},
        {"mean": [0.5, 0.5]},
        {"mean": [float("nan"), 0.5, 0.5]},
        {"mean": "abc"},
        {"std": [0.1, 0.1, 0.0]},
        {"std": [float("nan"), 0.1, 0.1]},
        {"std": [float("inf"), 0.1, 0.1]},
        {"background": 256},
        {"background": -1},
        {"version": 2},
        {"surprise": 1},
    ],
)
def test_bad_fields_are_refused_in_one_line(contract: Contract, change: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        Contract.from_dict({**contract.to_dict(), **change})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["height", "mean", "version", "background"])
def test_missing_fields_are_refused(contract: Contract, name: str) -> None:
    data = contract.to_dict()
    del data[name]
    with pytest.raises(InputError, match=name):
        Contract.from_dict(data)


@pytest.mark.parametrize("data", [None, 3, "text", [], ["height"]])
def test_what_is_no_table_is_refused(data: Any) -> None:
    with pytest.raises(InputError):
        Contract.from_dict(data)

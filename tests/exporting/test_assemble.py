from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgetl.context import Context
from edgetl.contract import Contract
from edgetl.errors import ContractMismatchError
from edgetl.exporting.stage import assemble
from edgetl.store import Store
from edgetl.transfer.head import Head


def test_a_head_of_another_contract_is_refused(tiny: Any, contract: Contract, tmp_path: Path) -> None:
    head = Head(np.zeros((3, 16), np.float32), np.zeros(3, np.float32), 1.0, ())
    context = Context(Store(tmp_path))
    other = replace(contract, mean=(0.5, 0.5, 0.5))
    with pytest.raises(ContractMismatchError, match="!= mean"):
        assemble(context, tiny.backbone, head, other, ("a", "b", "c"))
    assert assemble(context, tiny.backbone, head, contract, ("a", "b", "c")).path.is_file()

"""The conformance kit: what every backend must do, tried on a small real network.

``edgetl backend test NAME`` prints what it finds; ``run_checks`` gives it to a test.
"""

from edgetl.conformance.case import Case, choose_target
from edgetl.conformance.checking import Check, Failed, NotApplicable, Outcome
from edgetl.conformance.run import CHECKS, outcome, passed, run_checks

__all__ = [
    "CHECKS",
    "Case",
    "Check",
    "Failed",
    "NotApplicable",
    "Outcome",
    "choose_target",
    "outcome",
    "passed",
    "run_checks",
]

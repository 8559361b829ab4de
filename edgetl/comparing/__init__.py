"""Two results documents side by side: what got worse, what got better, what they do not tell."""

from edgetl.comparing.checks import Check, Verdict
from edgetl.comparing.compare import Compared, Comparison, compare
from edgetl.comparing.settings import Settings

__all__ = ["Check", "Compared", "Comparison", "Settings", "Verdict", "compare"]

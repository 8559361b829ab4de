"""Reports of a run's results: one HTML page, one table in the terminal."""

from __future__ import annotations

from edgetl.reporting.html import write_report
from edgetl.reporting.table import render_summary, summary_table

__all__ = ["render_summary", "summary_table", "write_report"]

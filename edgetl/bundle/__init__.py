"""Bundles: written whole, verified before use, run without torch."""

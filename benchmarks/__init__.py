"""edgetl against what users would do otherwise: ratios, measured side by side in one run."""

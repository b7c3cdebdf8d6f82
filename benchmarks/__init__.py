"""Benchmarks: ratios against the published procedure, measured side by side in one run."""

"""Metrics, benchmarks and the before/after report."""

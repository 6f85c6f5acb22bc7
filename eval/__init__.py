"""Metrics, comparisons, reports, the paper's tables and checks of tracked clips."""

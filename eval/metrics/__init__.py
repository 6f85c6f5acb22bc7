"""The metrics of a tracked clip, a registry: each is a function of a `TrackedClip`, with its unit and its meaning.

A metric is added by `@metric(name, label, unit, meaning)` on a function, in a module that is imported here; comparison
tables, reports and files of figures then have it. A test is in the file of the same name under tests/eval/metrics.
"""

from selftrack.eval.metrics import skin  # isort: skip  the order of imports is that of tables
from selftrack.eval.metrics import landmarks  # isort: skip
from selftrack.eval.metrics import annotated, truth, stability, lag, lost, calibration  # isort: skip
from selftrack.eval.metrics.registry import METRICS, Metric, headline, measure, metric
from selftrack.eval.metrics.subject import TrackedClip

__all__ = [
    "METRICS",
    "Metric",
    "TrackedClip",
    "annotated",
    "calibration",
    "headline",
    "lag",
    "landmarks",
    "lost",
    "measure",
    "metric",
    "skin",
    "stability",
    "truth",
]

"""Self-supervised adaptation: a model learns from one clip, without labels (Yoon et al. 2019, Sec. 3.2).

The package may be called: `selftrack.adapt(model, source)` is `selftrack.adapt.run.adapt`.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    """This package: the noun `selftrack.adapt` and the folder of that name are one object."""

    def __call__(self, *args: Any, **settings: Any) -> Any:
        """Fine-tune a copy of a model on a clip; see `selftrack.adapt.run.adapt`."""
        from selftrack.adapt.run import adapt

        return adapt(*args, **settings)


sys.modules[__name__].__class__ = _Callable

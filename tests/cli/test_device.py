"""The tracker and the adaptation on a device that is not the CPU, emulated where there is none.

The emulated device computes on the CPU but is as strict as CUDA: its tensors mix with no others but single numbers
and indices, and NumPy cannot read them. It is called "meta", the one device besides the CPU whose gradients torch
computes without hardware.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from selftrack.adapt.frames.clip import ClipConfig, read_clip
from selftrack.adapt.learning.trainer import AdaptConfig
from selftrack.decoders.head.model import load_head
from selftrack.eval.checks.gpu import first_step, moved, rasterizer_check, step_checks, track_checks
from selftrack.tracker import load
from selftrack.tracker.clips.config import TrackConfig, open_clip
from selftrack.tracker.clips.single import track_clip
from selftrack.tracker.clips.subjects import PersonConfig
from selftrack.tracker.frame_result import FrameResult
from selftrack.tracker.landmarks import everyone
from selftrack.tracker.landmarks.detectors import AttentionMesh
from selftrack.tracker.model import Model
from selftrack.tracker.network.weights import WEIGHTS, load_network
from selftrack.tracker.sources.base import Frame
from selftrack.tracker.tracker import Tracker

DEVICE = torch.device("meta")
MOVES = ("_to_copy", "copy_", "_local_scalar_dense", "_has_compatible_shallow_copy_type")
INDEXED = ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index")


class There(torch.Tensor):
    """A tensor on the emulated device; its numbers are in `here`."""

    here: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # else what leaves the device would become one again

    @staticmethod
    def __new__(cls, here: torch.Tensor) -> There:
        made = torch.Tensor._make_wrapper_subclass(
            cls, here.shape, here.stride(), here.storage_offset(), dtype=here.dtype, device=DEVICE
        )
        made.here = here
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class Emulation(TorchDispatchMode):
    """While it is on, tensors can be made on and moved to the emulated device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class FromNumbers(TorchFunctionMode):
    """Tensors of Python numbers: for "meta" torch does not even read the numbers."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.Tensor.new_tensor and isinstance(args[0], There):
            return torch.tensor(args[1], dtype=args[0].dtype).to(DEVICE)
        if func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__) and isinstance(args[0], There):
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            args = (args[0], tuple(torch.tensor(i) if isinstance(i, list) else i for i in index), *args[2:])
        if func is torch.Tensor.tolist and isinstance(args[0], There):
            return args[0].cpu().tolist()
        if func is torch.tensor and torch.device(kwargs.get("device") or "cpu") == DEVICE:
            return torch.tensor(*args, **kwargs | {"device": "cpu"}).to(DEVICE)
        return func(*args, **kwargs)


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    name = func.__name__.split(".")[0]
    tensors = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, torch.Tensor)]
    there = [x for x in tensors if isinstance(x, There)]
    asked = kwargs.get("device")
    if there and name not in MOVES:
        mixed = [x for x in (tensors[:1] if name in INDEXED else tensors) if x.ndim and not isinstance(x, There)]
        if mixed:
            raise RuntimeError(f"{name}: expected all tensors on one device, got {[tuple(x.shape) for x in mixed]}")
    target = torch.device(asked) == DEVICE if asked is not None else bool(there)
    kwargs = kwargs | {"device": "cpu"} if asked is not None else kwargs
    out = func(*tree_map(_unwrapped, args), **tree_map(_unwrapped, kwargs))
    if func._schema.is_mutable and name.endswith("_"):
        return args[0]
    if name == "_to_copy" and asked is not None:
        out = out.clone()  # an own storage there
    return tree_map(lambda x: There(x) if target and isinstance(x, torch.Tensor) else x, out)


def _unwrapped(x: Any) -> Any:
    return x.here if isinstance(x, There) else x


@pytest.fixture
def emulated() -> Iterator[str]:
    """Name of the emulated device, while it is there."""
    with Emulation(), FromNumbers():
        yield str(DEVICE)


class AtOnce(Executor):
    """Calls everything at once, in the thread that asks for it."""

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        future: Future = Future()
        future.set_result(call(*args, **kwargs))
        return future


def test_the_emulated_device_is_strict(emulated: str) -> None:
    there, here = torch.ones(3).to(emulated), torch.ones(3)
    with pytest.raises(RuntimeError, match="one device"):
        there + here
    with pytest.raises(RuntimeError, match="numpy"):
        there.numpy()
    assert torch.equal((there * 2 + torch.tensor(1.0)).cpu(), here * 3)


def test_rasterizer_returns_to_the_device(emulated: str) -> None:
    assert rasterizer_check(emulated).passed


def test_tracking_and_adaptation_stay_on_their_device(
    smile: Path, tmp_path: Path, emulated: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every tensor follows the models' device, and what comes out is what the CPU says."""

    # the emulation holds in the thread that began it only
    def one_by_one(trackers: Sequence[Tracker], frames: Iterable[Frame]) -> Iterator[list[FrameResult]]:
        return ([tracker(frame) for tracker in trackers] for frame in frames)

    monkeypatch.setattr(Tracker, "stream_together", staticmethod(one_by_one))
    monkeypatch.setattr(everyone, "ThreadPoolExecutor", lambda threads: AtOnce())
    config = TrackConfig(overlay=False, duration=0.4, person=PersonConfig(samples=2))

    def on(device: str) -> Model:
        place = torch.device(device)
        return Model(load_network(device=device), load_head().to(place), AttentionMesh(place), place, WEIGHTS)

    here, there = on("cpu"), on(emulated)
    tracks, steps = [], []
    for name, model in (("here", here), ("there", there)):
        track_clip(smile, tmp_path / name, config, model=model)
        tracks.append(load(tmp_path / name))
    with open_clip(smile, config) as source:
        clip = read_clip(source, here, config, ClipConfig())
    quick = AdaptConfig(groups=2, texels=200, texture=64)
    for model in (here, there):
        steps.append(first_step(moved(clip, str(model.device)), model, quick))
    checks = track_checks(*tracks) + step_checks(*steps)
    assert all(check.passed for check in checks), [check for check in checks if not check.passed]

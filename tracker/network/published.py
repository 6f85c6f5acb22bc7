"""The public weights of frozen streams: where they come from, where they are looked for, and the file that packs them.

Nothing is downloaded here. A file is looked for in a file that `track-train streams` has packed, or else where
torchvision and face-alignment keep what they have downloaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from selftrack.errors import UserError
from selftrack.io import atomic_path

State = dict[str, Tensor]


@dataclass(frozen=True)
class Published:
    """Weights that are public, in a file of their own."""

    name: str
    """In a packed file."""
    file: str
    """As it is called where it comes from, and in the libraries' cache."""
    url: str
    part: str = ""
    """What the names of the tensors that are used begin with."""

    def cached(self) -> Path:
        """Where the library keeps the file that it has downloaded."""
        return Path(torch.hub.get_dir()) / "checkpoints" / self.file

    def read(self, path: Path) -> State:
        """Read the file as it was published.

        Raises:
            UserError: it cannot be read, or has nothing of what is used.
        """
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            used = {k.removeprefix(self.part): v.float() for k, v in state.items() if k.startswith(self.part)}
        except Exception as error:  # torch.load raises whatever unpickling does
            raise UserError(f"{path}: cannot be read as weights; take {self.url}") from error
        if not used:
            raise UserError(f"{path}: holds no weights of {self.name}; take {self.url}")
        return used

    def find(self, packed: Path | None = None) -> State:
        """Read the weights from a packed file, or from the library's cache.

        Raises:
            UserError: they are not there; it says what is missing, where it was looked for and where it comes from.
        """
        if packed is not None:
            return self._unpack(packed)
        path = self.cached()
        if not path.is_file():
            raise UserError(
                f"{self.file}: not in {path.parent}; take it from {self.url} and put it there, or pack it with "
                "track-train streams and name that file with --streams"
            )
        return self.read(path)

    def _unpack(self, packed: Path) -> State:
        start = f"{self.name}."
        try:
            with safe_open(packed, "pt") as file:
                state = {k.removeprefix(start): file.get_tensor(k) for k in file.keys() if k.startswith(start)}
        except (OSError, SafetensorError) as error:
            raise UserError(f"{packed}: not a file of streams ({error}); make one with track-train streams") from error
        if not state:
            raise UserError(f"{packed}: has no weights of {self.name}; pack {self.file} of {self.url} into it, too")
        return state


VGG16 = Published(
    "vgg16", "vgg16-397923af.pth", "https://download.pytorch.org/models/vgg16-397923af.pth", part="features."
)
FAN = Published(
    "fan",
    "2DFAN4-11f355bf06.pth.tar",
    "https://www.adrianbulat.com/downloads/python-fan/2DFAN4-11f355bf06.pth.tar",
)


def pack(out: Path, streams: dict[str, State]) -> Path:
    """Write the weights of streams, by `Published.name`, into one file."""
    with atomic_path(out) as part:
        save_file({f"{name}.{k}": v.contiguous() for name, state in streams.items() for k, v in state.items()}, part)
    return out

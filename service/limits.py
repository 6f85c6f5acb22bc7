"""What a service allows, and how it says no."""

from __future__ import annotations

from dataclasses import dataclass, fields

from selftrack.errors import UserError

MEGA = 1_000_000


@dataclass(frozen=True)
class ServeConfig:
    """Settings of a service; all are more than 0."""

    workers: int = 1
    """Processes that track jobs, one job at a time each."""
    upload: float = 1000.0
    """Megabytes that an uploaded clip may have."""
    length: float = 600.0
    """Seconds of a clip that a job may track."""
    pixels: float = 9.0
    """Megapixels that a picture may have, in a clip or a stream: 4096x2160 at most."""
    picture: float = 4.0
    """Megabytes that a compressed picture of a stream may have."""
    connections: int = 8
    """Streams at a time."""
    queued: int = 20
    """Jobs that wait for a worker, with those that are being uploaded."""
    kept: int = 500
    """Jobs that are there at a time, with those that have ended, until somebody deletes them."""
    idle: float = 30.0
    """Seconds without data after which an upload or a stream is ended."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value > 0:
                raise UserError(f"serve.{field.name} must be more than 0; got {value}")


class Refusal(Exception):
    """A request that is not served: the status of HTTP, and one line for whoever sent it."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status, self.why = status, " ".join(why.split())

"""The form of a job as it comes over the network (multipart/form-data, RFC 7578): the clip goes to the disk at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

import anyio.to_thread
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from selftrack.errors import UserError
from selftrack.service.jobs import CLIP, JobOptions
from selftrack.service.limits import MEGA, Refusal, ServeConfig
from selftrack.tracker.sources.names import VIDEOS
from selftrack.tracker.sources.opening import open_source

_FIELD = 1000  # bytes
_PARTS = 20
_NAME = 200  # characters that are shown of a clip's name


class Upload(NamedTuple):
    """What a form held."""

    name: str
    """The clip's name as the user has it, to be shown."""
    clip: str
    """Name of the file into which it was written."""
    fields: Mapping[str, str]


async def receive(request: Request, folder: Path, config: ServeConfig) -> Upload:
    """Read a form; its clip is written into a folder while it comes.

    Raises:
        Refusal: it is no such form, its clip is no video or too large, or it comes too slowly or not to its end.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise Refusal(415, "send a form as multipart/form-data, the clip in its field 'clip'")
    most = round(config.upload * MEGA)
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > most + _PARTS * _FIELD:
        raise _too_large(config)
    with _Form(options[b"boundary"], folder) as form:
        received = 0
        async for chunk in _timely(request.stream(), config.idle):
            received += len(chunk)
            if received > most + _PARTS * _FIELD:
                raise _too_large(config)
            await anyio.to_thread.run_sync(form.write, chunk)
        return form.upload()


def _too_large(config: ServeConfig) -> Refusal:
    return Refusal(413, f"a clip may have {config.upload:g} MB; cut it, or compress it more")


async def _timely(chunks: AsyncIterator[bytes], seconds: float) -> AsyncIterator[bytes]:
    """Pass chunks on. Raises Refusal where one does not come in time, or the connection breaks off."""
    while True:
        try:
            yield await asyncio.wait_for(anext(chunks), seconds)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise Refusal(408, f"nothing came for {seconds:g} s") from error
        except ClientDisconnect as error:
            raise Refusal(400, "the upload broke off") from error


class _Form:
    """A form that is being read; use it as a context manager."""

    def __init__(self, boundary: bytes, folder: Path) -> None:
        self._folder, self._parts = folder, 0
        self._fields: dict[str, bytes] = {}
        self._clip: BinaryIO | None = None
        self._name, self._file, self._ended = "", "", False
        self._part = ""  # name of the one that comes
        self._header, self._value = b"", b""
        self._headers: dict[bytes, bytes] = {}
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, start, end: self._add_header(data[start:end], b""),
                "on_header_value": lambda data, start, end: self._add_header(b"", data[start:end]),
                "on_header_end": self._end_header,
                "on_headers_finished": self._open,
                "on_part_data": lambda data, start, end: self._add(data[start:end]),
                "on_end": self._end,
            },
        )

    def __enter__(self) -> _Form:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._clip is not None:
            self._clip.close()

    def write(self, chunk: bytes) -> None:
        """Take the next bytes. Raises Refusal of what is no form, or not the one that is expected."""
        try:
            self._parser.write(chunk)
        except MultipartParseError as error:
            raise Refusal(422, f"this is no form ({error})") from error
        except OSError as error:
            raise Refusal(503, f"the clip cannot be kept here ({error.strerror or 'the disk'}); try later") from error

    def upload(self) -> Upload:
        """What the form held. Raises Refusal where it has no clip, or no end."""
        if not self._ended:
            raise Refusal(422, "the form has no end")
        if self._clip is None:
            raise Refusal(422, "the form has no clip; send a video in its field 'clip'")
        self._clip.flush()
        try:
            fields = {name: value.decode("utf-8") for name, value in self._fields.items()}
        except UnicodeDecodeError as error:
            raise Refusal(422, "the fields of the form are no UTF-8") from error
        return Upload(self._name, self._file, fields)

    def _begin(self) -> None:
        self._headers, self._parts = {}, self._parts + 1
        if self._parts > _PARTS:
            raise Refusal(422, f"the form has more than {_PARTS} fields")

    def _add_header(self, name: bytes, value: bytes) -> None:
        self._header, self._value = self._header + name, self._value + value

    def _end_header(self) -> None:
        self._headers[self._header.lower()] = self._value
        self._header, self._value = b"", b""

    def _open(self) -> None:
        """Begin with the content of a part."""
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._part = options.get(b"name", b"").decode("utf-8", "replace")
        if self._part in self._fields or (self._part == CLIP and self._clip is not None):
            raise Refusal(422, f"the form has the field {self._part!r} twice")
        if self._part != CLIP:
            self._fields[self._part] = b""
            return
        self._name = _shown(options.get(b"filename", b"").decode("utf-8", "replace"))
        suffix = PurePosixPath(self._name).suffix.lower()
        if suffix not in VIDEOS:
            raise Refusal(
                415, f"{self._name or 'the clip'}: is no video by its name; one ends with {', '.join(VIDEOS)}"
            )
        self._file = f"{CLIP}{suffix}"
        self._clip = open(self._folder / self._file, "xb")

    def _add(self, data: bytes) -> None:
        if self._part == CLIP and self._clip is not None:
            self._clip.write(data)
            return
        self._fields[self._part] += data
        if len(self._fields[self._part]) > _FIELD:
            raise Refusal(413, f"the field {self._part!r} is longer than {_FIELD} bytes")

    def _end(self) -> None:
        self._ended = True


def _shown(name: str) -> str:
    """The last part of a file's name, as it may be shown."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return "".join(sign for sign in last if sign.isprintable())[-_NAME:]


def check_clip(path: Path, name: str, options: JobOptions, config: ServeConfig) -> None:
    """Make sure that a clip can be tracked here.

    Raises:
        Refusal: it cannot be read, is too long or too large, or has nothing in the window.
    """
    _readable(path, name, 415)
    duration, pixels = _readable(path, name, 422, options.start, options.duration)
    if pixels > config.pixels * MEGA:
        raise Refusal(422, f"{name}: its pictures may have {config.pixels:g} megapixels; make it smaller")
    if duration > config.length:
        raise Refusal(422, f"{name}: {config.length:g} s may be tracked, not {duration:.1f}; send start, duration")


def _readable(
    path: Path, name: str, status: int, start: float = 0.0, duration: float | None = None
) -> tuple[float, int]:
    """Seconds of a window of a clip, and the pixels of a picture. Raises Refusal with that status."""
    try:
        with open_source(path, start, duration) as source:
            info, shown = source.info, source.count() or 0
    except UserError as error:
        raise Refusal(status, str(error).replace(str(path), name)) from error
    return shown / float(info.rate) if info.rate else 0.0, info.width * info.height

"""The body format of DICOMweb, `multipart/related` with one part, as streams (DICOM PS3.18 8.6.1.2, RFC 2387)."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from email.message import Message
from pathlib import Path

_BLOCK = 2**18
_LONGEST_HEADER = 2**14


def encode_file(path: Path) -> tuple[str, Iterator[bytes]]:
    """Returns the Content-Type and the body of a request that sends one DICOM file, in blocks."""
    boundary = uuid.uuid4().hex
    return f'multipart/related; type="application/dicom"; boundary={boundary}', _encode(path, boundary)


def _encode(path: Path, boundary: str) -> Iterator[bytes]:
    yield f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    with path.open("rb") as file:
        yield from iter(lambda: file.read(_BLOCK), b"")
    yield f"\r\n--{boundary}--\r\n".encode()


def decode_part(blocks: Iterable[bytes], content_type: str) -> Iterator[bytes]:
    """Yields the content of the only part of a body, in blocks.

    Args:
        blocks: the body.
        content_type: value of the header Content-Type.

    Raises:
        ValueError: the body is not multipart, has several parts, or is truncated.
    """
    message = Message()
    message["Content-Type"] = content_type
    boundary = message.get_boundary()
    if message.get_content_maintype() != "multipart" or not boundary:
        raise ValueError("expected a multipart answer, got another type")
    blocks = iter(blocks)
    end, held, is_open = f"\r\n--{boundary}".encode(), b"", False
    for block in blocks:
        held += block
        if not is_open:
            _, _, part = held.partition(end[2:])  # a preamble before it is ignored (RFC 2046 5.1.1)
            _, separator, rest = part.partition(b"\r\n\r\n")
            if not separator:
                if len(held) > _LONGEST_HEADER:
                    raise ValueError("expected the header of a part, got a longer text")
                continue
            held, is_open = rest, True
        content, found, rest = held.partition(end)
        if found:
            yield content
            _check_last(rest, blocks)
            return
        ready = max(0, len(held) - len(end))
        yield held[:ready]
        held = held[ready:]
    raise ValueError("the answer is truncated")


def _check_last(rest: bytes, blocks: Iterable[bytes]) -> None:
    """Checks that no other part follows."""
    for block in blocks:
        if len(rest) >= 2:
            break
        rest += block
    if rest[:2] != b"--":
        raise ValueError("expected one part, got several, or a truncated answer")

"""Values of ``binaryData`` to text."""

from __future__ import annotations

import base64
import codecs
import gzip
import io
import zlib

MAX_DECOMPRESSED_BYTES = 64 * 2**20
"""What the gzipped keys of one ConfigMap may hold, all together."""

_GZIP_MAGIC = b"\x1f\x8b"

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks and their encodings; that of UTF-32 begins like that of UTF-16."""


class UndecodableKey(ValueError):
    """The value of a key is no text, or too much of it."""


def decode_binary(value: str, *, limit: int) -> bytes:
    """Decode a value of ``binaryData``: base64 of a content that may be gzipped.

    Parameters
    ----------
    value
        The value as the API server gives it.
    limit
        Bytes that may come out of gzip. Not much more than that is ever decompressed.

    Raises
    ------
    UndecodableKey
        If it is not that.
    """
    try:
        content = base64.b64decode(value, validate=True)
    except ValueError as error:
        raise UndecodableKey(f"it is not base64: {error}") from error
    return _decompressed(content, limit) if content.startswith(_GZIP_MAGIC) else content


def decode_text(content: bytes) -> str:
    """Decode a text: UTF-8, or what its byte order mark says (YAML 1.2.2 section 5.2).

    PowerShell writes UTF-16 with a mark, and ``kubectl create configmap --from-file`` puts it
    into ``binaryData``.

    Raises
    ------
    UndecodableKey
        If it is something else.
    """
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise UndecodableKey(
            f"it is neither gzip nor {encoding.upper()} text: {error.reason} at byte {error.start}"
        ) from error


def _decompressed(content: bytes, limit: int) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            decompressed = file.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UndecodableKey(f"its gzip data is broken: {error}") from error
    if len(decompressed) > limit:
        raise UndecodableKey(
            f"gzipped data of one ConfigMap must not be larger than {MAX_DECOMPRESSED_BYTES} "
            "bytes when decompressed; split it"
        )
    return decompressed

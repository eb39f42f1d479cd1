"""Parts of messages that are no text: which they are, and how many tokens each is taken to be.

Known by their shape are parts of OpenAI (`image_url`, `input_image`, `input_audio`, `file`),
Anthropic (`image`, `document`, `search_result` with a `source`), Gemini (`inline_data`,
`file_data`), Bedrock (`image`, `document` and the like with a `source`) and OpenTelemetry (`blob`,
`uri`, `file`), and `data:` addresses inside a text. What a part holds, data or an address, is its
identity.

Lengths are assumed by these rules:
  images     by their pixels where the data say them: 85 tokens and 170 for each square of 512,
             scaled into 2,048 × 2,048 and to 768 on the short side
             (https://platform.openai.com/docs/guides/images-vision); Anthropic's by width × height
             / 750, 1,600 at most (https://docs.anthropic.com/en/docs/build-with-claude/vision);
             others as 1,024 × 1,024 pixels, 765 tokens; with `detail: low`, 85
  audio      10 tokens a second, 16 kB a second where it is packed and 48 kB where it is WAV; 300
             where only its address is known
  documents  1,500 tokens a page (https://docs.anthropic.com/en/docs/build-with-claude/pdf-support,
             1,500 to 3,000), one page where they cannot be counted
  video      2,000 tokens
No part has fewer than 85 tokens.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import struct
from collections.abc import Mapping
from typing import Any

from replay.trace.media import Media, media_of

LEAST_TOKENS = 85
IMAGE_TOKENS, PAGE_TOKENS, VIDEO_TOKENS, AUDIO_TOKENS = 765, 1_500, 2_000, 300
_TILE_TOKENS, _ANTHROPIC_MOST = 170, 1_600
_AUDIO_TOKENS_PER_S, _WAV_BYTES_PER_S, _PACKED_BYTES_PER_S = 10, 48_000, 16_000
_KINDS = {
    "image": "image", "image_url": "image", "input_image": "image", "image_file": "image",
    "computer_screenshot": "image",
    "audio": "audio", "input_audio": "audio", "audio_url": "audio",
    "video": "video", "video_url": "video", "input_video": "video",
    "file": "file", "input_file": "file", "document": "file", "pdf": "file",
}  # fmt: skip
_BARE = ("image", "audio", "video", "document", "file", "image_url", "input_audio")
_WRAPPED = ("inline_data", "inlineData", "file_data", "fileData")
_OF_ANY_KIND = frozenset(("blob", "uri", "media"))
_PAYLOADS = (
    "data", "bytes", "url", "uri", "file_uri", "fileUri", "file_data", "file_url", "file_id",
    "fileId", "image_url", "image", "audio", "video", "content", "id", "s3Location",
)  # fmt: skip
_MIMES = ("media_type", "mime_type", "mimeType", "mime", "format", "modality")
_INSIDE = (
    "source", "image_url", "input_audio", "audio_url", "video_url", "file", "image", "audio",
    "video", "document", "image_file", *_WRAPPED,
)  # fmt: skip
_DATA_URL = re.compile(
    r"data:([a-z]+/[a-z0-9.+-]+)?(?:;[a-z0-9=._-]+)*;base64,([A-Za-z0-9+/_=\s-]*)"
)
# A text that holds so much cannot have been given to a model as text: no context is as long.
_IN_TEXT = re.compile(
    r"data:((?:image|audio|video)/[a-z0-9.+-]+|application/pdf)(?:;[a-z0-9=._-]+)*;base64,"
    r"([A-Za-z0-9+/_-]{1024,}={0,2})"
)
_HEAD_CHARACTERS = 1 << 17  # enough of an image to find its size behind what cameras write first
_PAGE = re.compile(rb"/Type\s*/Page(?![a-zA-Z])")


def media_in_part(part: Mapping[str, Any]) -> Media | None:
    """Return what a part of a message holds that is no text, None where it is of another kind."""
    kind = part.get("type")
    named = _KINDS.get(kind) if isinstance(kind, str) else None
    if isinstance(kind, str) and kind in _OF_ANY_KIND:
        named = "file"
    if named is None and any(isinstance(part.get(name), Mapping) for name in _WRAPPED):
        named = "file"
    if named is None and kind is None:
        bare = next((name for name in _BARE if isinstance(part.get(name), Mapping)), None)
        named = None if bare is None else _KINDS[bare]
    if named is None:
        return None
    source = _source(part)
    payload = next((source[name] for name in _PAYLOADS if isinstance(source.get(name), str)), None)
    mime = next((source[name] for name in _MIMES if isinstance(source.get(name), str)), "")
    if payload is None:
        payload = json.dumps(source, ensure_ascii=False)
    detail = source.get("detail", part.get("detail"))
    anthropic = "source" in part and kind is not None
    return _media(named, payload, mime, low=detail == "low", anthropic=anthropic)


def with_media_marked(text: str) -> str:
    """Return a text with a mark in place of each long `data:` address that it holds."""
    if ";base64," not in text:
        return text
    return _IN_TEXT.sub(
        lambda found: _media("file", found[0], "", low=False, anthropic=False).mark(), text
    )


def _source(part: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the innermost object that says what the part holds, with what stands around it."""
    for _ in range(3):
        inner = next((part[name] for name in _INSIDE if isinstance(part.get(name), Mapping)), None)
        if inner is None:
            break
        part = {key: value for key, value in part.items() if key in ("detail", *_MIMES)} | inner
    return part


def _media(kind: str, payload: str, mime: str, *, low: bool, anthropic: bool) -> Media:
    found = _DATA_URL.fullmatch(payload)
    if found:
        mime, payload = found[1] or mime, found[2]
    elif payload.startswith("data:"):
        payload = payload.partition(",")[2]
    packed = not re.match(r"[a-z0-9]{2,12}://|file[-_]", payload)
    kind = _told_kind(kind, mime, payload)
    tokens = _tokens(kind, payload if packed else None, mime, low=low, anthropic=anthropic)
    return media_of(kind, payload, max(tokens, LEAST_TOKENS))


def _told_kind(kind: str, mime: str, payload: str) -> str:
    """Return the kind that the media type tells, else the start of the data, else that given."""
    if kind != "file":
        return kind
    first = mime.partition("/")[0].lower()
    if first in ("image", "audio", "video"):
        return first
    return "image" if payload.startswith(("iVBORw0KGgo", "/9j/", "R0lGOD", "UklGR")) else kind


def _tokens(kind: str, data: str | None, mime: str, *, low: bool, anthropic: bool) -> int:
    if kind == "image":
        return LEAST_TOKENS if low else _image_tokens(data, anthropic=anthropic)
    if kind == "audio":
        if data is None:
            return AUDIO_TOKENS
        rate = _WAV_BYTES_PER_S if "wav" in mime or "pcm" in mime else _PACKED_BYTES_PER_S
        return _AUDIO_TOKENS_PER_S * (len(data) * 3 // 4) // rate
    if kind == "video":
        return VIDEO_TOKENS
    pages = len(_PAGE.findall(_decoded(data))) if data and data.startswith("JVBERi0") else 0
    return PAGE_TOKENS * max(1, pages)


def _image_tokens(data: str | None, *, anthropic: bool) -> int:
    size = None if data is None else _pixels(_decoded(data[:_HEAD_CHARACTERS]))
    if size is None or not all(size):
        return IMAGE_TOKENS
    width, height = size
    if anthropic:
        return min(width * height // 750, _ANTHROPIC_MOST)
    scale = min(1.0, 2048 / max(width, height))
    scale = min(scale, 768 / min(width, height))
    tiles = -(-int(width * scale) // 512) * -(-int(height * scale) // 512)
    return LEAST_TOKENS + _TILE_TOKENS * max(1, tiles)


def _decoded(data: str) -> bytes:
    """Return base64 as bytes, b'' where it is none; the end of a cut one is left out."""
    plain = re.sub(r"[\s=]+", "", data).replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain[: len(plain) // 4 * 4])
    except (binascii.Error, ValueError):
        return b""


def _pixels(data: bytes) -> tuple[int, int] | None:
    """Return width and height of a PNG, GIF, JPEG or WebP image from its first bytes."""
    if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] == b"IHDR" and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return width, height
    if data.startswith(b"GIF8") and len(data) >= 10:
        width, height = struct.unpack("<HH", data[6:10])
        return width, height
    if data.startswith(b"\xff\xd8"):
        return _jpeg_pixels(data)
    if data[:4] == b"RIFF" and data[8:16] == b"WEBPVP8X" and len(data) >= 30:
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        return width, height
    if data[:4] == b"RIFF" and data[8:16] == b"WEBPVP8 " and len(data) >= 30:
        width, height = struct.unpack("<HH", data[26:30])
        return width & 0x3FFF, height & 0x3FFF
    return None


def _jpeg_pixels(data: bytes) -> tuple[int, int] | None:
    place = 2
    while place + 9 <= len(data) and data[place] == 0xFF:
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4])
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[place + 5 : place + 9])
            return width, height
        place += 2 + length
    return None

"""Media in messages: runs of tokens of a told length that a hash of their content names."""

import base64
import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.trace.media import media_in, media_of, token_ids
from replay.trace.readers.chat_messages import messages_of
from replay.trace.readers.media_parts import media_in_part
from replay.trace.stand_ins import stand_ins
from replay.trace.text import APPROXIMATE
from tests.api_logs import ids, logged, notes, prompts, trace_of, user

BASE64 = base64.b64encode(bytes(range(256)) * 8).decode()
OTHER = base64.b64encode(bytes(range(255, -1, -1)) * 8).decode()
PNG = "image/png"


def shapes(data, mime=PNG):
    """The same image in the parts of every API."""
    url = f"data:{mime};base64,{data}"
    return {
        "chat": {"type": "image_url", "image_url": {"url": url}},
        "chat, bare": {"type": "image_url", "image_url": url},
        "responses": {"type": "input_image", "image_url": url, "detail": "auto"},
        "anthropic": {"type": "image", "source": {
            "type": "base64", "media_type": mime, "data": data}},
        "gemini": {"inline_data": {"mime_type": mime, "data": data}},
        "gemini, camel": {"inlineData": {"mimeType": mime, "data": data}},
        "bedrock": {"image": {"format": "png", "source": {"bytes": data}}},
        "otel blob": {"type": "blob", "mime_type": mime, "modality": "image", "data": data},
        "in a text": {"type": "text", "text": url},
    }  # fmt: skip


def text_of(*parts, role="user"):
    return messages_of([{"role": role, "content": list(parts)}], "messages")[0]["content"]


@pytest.mark.parametrize("shape", shapes(BASE64))
def test_an_image_is_the_same_in_every_shape(shape):
    (media,) = media_in(text_of("see", shapes(BASE64)[shape], "?"))
    assert (media.kind, media.tokens) == ("image", 765)
    assert media == next(media_in(text_of(shapes(BASE64)["chat"])))
    assert media != next(media_in(text_of(shapes(OTHER)["chat"])))


@pytest.mark.parametrize(
    ("part", "kind", "tokens"),
    [
        ({"type": "image_url", "image_url": {"url": "https://x/y.png"}}, "image", 765),
        ({"type": "image_url", "image_url": {"url": "https://x/y", "detail": "low"}}, "image", 85),
        ({"type": "input_image", "file_id": "file-1"}, "image", 765),
        ({"type": "input_audio", "input_audio": {"data": "A" * 640_000, "format": "wav"}}, "audio",
         100),
        ({"type": "input_audio", "input_audio": {"data": "A" * 640_000, "format": "mp3"}}, "audio",
         300),
        ({"type": "audio_url", "audio_url": {"url": "https://x/y.mp3"}}, "audio", 300),
        ({"type": "video_url", "video_url": {"url": "https://x/y.mp4"}}, "video", 2000),
        ({"type": "file", "file": {"file_id": "file-1"}}, "file", 1500),
        ({"type": "input_file", "file_data": "data:application/pdf;base64,AAAA"}, "file", 1500),
        ({"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}}, "file", 1500),
        ({"fileData": {"mimeType": "video/mp4", "fileUri": "gs://x/y"}}, "video", 2000),
        ({"document": {"format": "pdf", "name": "a", "source": {"bytes": "AAAA"}}}, "file", 1500),
        ({"type": "uri", "modality": "image", "mime_type": PNG, "uri": "https://x/y"}, "image",
         765),
    ],
)  # fmt: skip
def test_every_kind_has_its_length(part, kind, tokens):
    media = media_in_part(part)
    assert (media.kind, media.tokens) == (kind, tokens)


def png(width, height):
    head = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height)
    return base64.b64encode(head + bytes(32)).decode()


def jpeg(width, height):
    head = b"\xff\xd8\xff\xe1\0\x08EXIF\0\0\xff\xc0\0\x11\x08" + struct.pack(">HH", height, width)
    return base64.b64encode(head + bytes(32)).decode()


def gif(width, height):
    return base64.b64encode(b"GIF89a" + struct.pack("<HH", width, height) + bytes(32)).decode()


def webp(width, height):
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return base64.b64encode(b"RIFF\0\0\0\0WEBPVP8X" + bytes(8) + size + bytes(9)).decode()


@pytest.mark.parametrize("form", [png, jpeg, gif, webp])
@pytest.mark.parametrize(
    ("width", "height", "tokens", "anthropic"),
    [
        (512, 512, 255, 349),
        (1024, 1024, 765, 1398),  # the example of OpenAI's page
        (2048, 4096, 1105, 1600),  # and the other one
        (10, 10, 255, 85),
    ],
)
def test_the_length_of_an_image_follows_from_its_pixels(form, width, height, tokens, anthropic):
    data = form(width, height)
    assert media_in_part(shapes(data)["chat"]).tokens == tokens
    assert media_in_part(shapes(data)["anthropic"]).tokens == anthropic


def test_the_length_of_a_document_follows_from_its_pages():
    pages = base64.b64encode(b"%PDF-1.4" + b"<</Type /Page>>" * 3 + b"<</Type /Pages>>").decode()
    part = {"type": "document", "source": {
        "type": "base64", "media_type": "application/pdf", "data": pages}}  # fmt: skip
    assert media_in_part(part).tokens == 3 * 1500


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ({"type": "text", "text": "data:image/png;base64,AAAA"}, "data:image/png;base64,AAAA"),
        ({"type": "document", "source": {"type": "text", "data": "Words."}}, "Words."),
        ({"type": "document", "source": {"type": "content", "content": [
            {"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}}, "ab"),
        ({"type": "note", "b": 1, "a": 2}, '{"type": "note", "b": 1, "a": 2}'),
        ({"type": "search_result", "title": "T"}, '{"type": "search_result", "title": "T"}'),
        ({"type": [], "x": 1}, '{"type": [], "x": 1}'),
    ],
)  # fmt: skip
def test_what_is_no_media_stays_text(part, text):
    assert text_of(part) == text


def test_media_in_the_result_of_a_tool_are_media_too():
    result = {"type": "tool_result", "tool_use_id": "1", "content": [shapes(BASE64)["anthropic"]]}
    (message,) = messages_of([{"role": "user", "content": [result]}], "messages")
    assert message["role"] == "tool"
    assert len(list(media_in(message["content"]))) == 1


@given(st.text(max_size=5), st.integers(0, 50), st.integers(0, 50))
def test_stand_ins_follow_from_their_name_and_no_vocabulary_has_them(name, few, more):
    one, other = stand_ins(name, few), stand_ins(name, few + more)
    assert other.dtype == np.uint32
    assert (one == other[:few]).all()
    assert (other >= 1 << 31).all()
    assert (stand_ins(name + "x", few + 1)[0] != stand_ins(name, few + 1)[0]).all()


@given(st.lists(st.text(alphabet="ab <|>\n", max_size=5) | st.integers(1, 3), max_size=6))
def test_a_text_with_media_is_its_pieces_with_their_tokens_between(pieces):
    media = [one if isinstance(one, str) else media_of("image", f"{one}", one) for one in pieces]
    text = "".join(one if isinstance(one, str) else one.mark() for one in media)
    whole, plain = token_ids(APPROXIMATE, [text, "ab"])
    assert plain.tolist() == ids("ab")
    wanted, words = [], ""
    for one in [*media, ""]:
        if isinstance(one, str):
            words += one
        else:
            wanted += ids(words) + stand_ins(f"{one.tokens} {one.digest}", one.tokens).tolist()
            words = ""
    assert whole.tolist() == wanted + ids(words)


def test_equal_media_are_equal_content_and_others_are_not():
    def row(data, at):
        return logged([user([{"type": "text", "text": "a"}, shapes(data)["chat"]])], at=at)

    trace = trace_of([row(BASE64, 0), row(OTHER, 1), row(BASE64, 2)])
    first, other, again = prompts(trace)
    assert first == again
    shared = next(at for at, (a, b) in enumerate(zip(first, other, strict=True)) if a != b)
    assert shared == len(ids("<|im_start|>user\na"))
    assert len(first) == len(ids("<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n")) + 765
    assert (
        "media stand for assumed numbers of tokens, 2,295 in 3 places: 2 images of 765 tokens"
    ) in notes(trace)


def test_a_template_that_writes_content_as_json_keeps_media(tmp_path):
    pytest.importorskip("jinja2")
    path = tmp_path / "t.jinja"
    path.write_text("{{ messages | tojson }}")
    trace = trace_of([logged([user([shapes(BASE64)["chat"]])])], chat_template=path)
    around = json.dumps([user("|")]).split("|")
    assert prompts(trace)[0][: len(ids(around[0]))] == ids(around[0])
    assert trace.frame["input_tokens"][0] == 765 + sum(len(ids(one)) for one in around)

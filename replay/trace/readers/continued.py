"""Which request of a log goes on from which: its messages begin with an earlier one's and reply.

Messages are compared by role, words and calls of tools, without white space at the ends and without
reasoning, which clients leave out when they send a reply back. This needs no template and no
tokens.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from replay.trace.chat_template import Message
from replay.trace.readers.logged_requests import LoggedRequest

_SLACK_TOKENS = 8  # of a response that the next prompt may lack


def inferred_sessions(
    requests: Sequence[LoggedRequest], users: Sequence[str | None]
) -> tuple[list[str | None], int]:
    """Return a session for each request with messages, by number, and how many go on from another.

    A request joins the latest earlier one of the same user that it goes on from; any other starts
    a session. `requests` must be in order of arrival. Linear in messages.
    """
    sessions: list[str | None] = []
    latest: dict[tuple[str | None, bytes], str] = {}  # by what was said up to an answer
    started = joined = 0
    for request, user in zip(requests, users, strict=True):
        if request.chat is None:
            sessions.append(None)
            continue
        chain, answered = _chain(request)
        found = next(
            (latest[user, said] for said in reversed(chain[:-1]) if (user, said) in latest), None
        )
        joined += found is not None
        if found is None:
            found = f"{started}"
            started += 1
        latest[user, answered] = found
        sessions.append(found)
    return sessions, joined


def goes_on(request: LoggedRequest, before: LoggedRequest) -> bool:
    """Return whether a request goes on from another: by its messages, text or lengths."""
    if request.chat is not None and before.chat is not None:
        return _chain(before)[1] in _chain(request)[0][:-1]
    if request.prompt is not None and before.prompt is not None:
        return request.prompt != before.prompt and request.prompt.startswith(before.prompt)
    asked, given = before.usage.input_tokens, before.usage.output_tokens
    if request.has_text or before.has_text or None in (request.usage.input_tokens, asked, given):
        return False
    return (request.usage.input_tokens or 0) >= (asked or 0) + (given or 0) - _SLACK_TOKENS


def said_by(request: LoggedRequest) -> object:
    """Return what equals that of a request with the same words; None where it has no text."""
    if request.chat is not None:
        return _chain(request)[1]
    return None if request.prompt is None else (request.prompt, request.response)


def _chain(request: LoggedRequest) -> tuple[list[bytes], bytes]:
    """Return a digest of the messages up to each, and that of all with the reply.

    Where no reply is known it is that of the messages alone.
    """
    assert request.chat is not None
    chat, chain, state = request.chat, [], b""
    for message in chat.messages:
        state = _digest(state, message)
        chain.append(state)
    if not chat.reply:
        return chain, state
    if chat.goes_on:
        begun, said = chat.messages[-1], chat.reply[0]
        whole = {**begun, **said, "content": begun["content"] + said.get("content", "")}
        before = chain[-2] if len(chain) > 1 else b""
        return chain, _after(before, [whole, *chat.reply[1:]])
    return chain, _after(state, chat.reply)


def _after(state: bytes, messages: Sequence[Message]) -> bytes:
    for message in messages:
        state = _digest(state, message)
    return state


def _digest(state: bytes, message: Message) -> bytes:
    content = message.get("content")
    calls = [(call.get("function"), call.get("id")) for call in message.get("tool_calls", [])]
    told = [message.get("role"), content.strip() if isinstance(content, str) else content, calls]
    text = json.dumps(told, sort_keys=True, default=str)
    return hashlib.blake2b(state + text.encode(), digest_size=12).digest()

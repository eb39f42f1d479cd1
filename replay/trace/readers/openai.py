"""Logs of OpenAI and Anthropic APIs: JSON lines, a request and its response on each.

    {"timestamp": 1735689600.25, "request": {"model": "m", "messages": [{"role": "user",
     "content": "Hi"}]}, "response": {"choices": [{"message": {"content": "Hello"}}],
     "usage": {"prompt_tokens": 9, "completion_tokens": 1}}}

Read are chat completions, completions, the Responses and the Batch API
(https://platform.openai.com/docs/api-reference) and Anthropic messages, as `request` and `response`
or all in one object. A prompt is its messages as a chat template writes them; what the provider
counted is kept beside.
"""

from __future__ import annotations

from replay.trace.frame import Trace
from replay.trace.problems import ProblemList
from replay.trace.readers.api_logs import api_log_trace
from replay.trace.readers.api_rows import ANSWERS, split_row
from replay.trace.readers.chat_messages import RowError
from replay.trace.readers.first_object import first_object
from replay.trace.readers.json_lines import as_lines, walk_objects
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.reader import Reader
from replay.trace.readers.repeated_calls import RESPONSE_ID
from replay.trace.readers.source import Source


def looks_like_openai(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of a log of requests and responses."""
    row = first_object(head)
    if row is None:
        return False
    try:
        parts = split_row(row)
        failed = parts.failure() is not None
        counted = parts.has_counts
    except (RowError, RecursionError):
        return False
    if parts.answer is None:  # the input of a batch, or a request that failed
        named = "custom_id" in row or (failed and "model" in parts.request)
        return parts.has_prompt and named
    if isinstance(parts.answer, str):
        return parts.has_prompt and ("model" in parts.request or counted)
    answered = any(name in parts.answer for name in ANSWERS)
    apart = parts.answer is not row
    if counted:
        lengths = row.get("usage") is not None or (apart and parts.request is not row)
        return answered or parts.has_prompt or lengths
    if failed and parts.has_prompt and "model" in parts.request:
        return True
    return answered and parts.has_prompt and ("model" in parts.request or apart)


def read_openai(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace in a log of requests and responses: by their text, or lengths alone.

    Raises TraceError that names the line of each row that breaks the format, where more do than
    the options allow.
    """
    problems = ProblemList(source.path, allowed=options.max_rejected)
    source = as_lines(source, problems)
    rows = walk_objects(source.data, problems)
    return api_log_trace(rows, source, options, problems, dict, format_name="openai")


OPENAI = Reader(
    name="openai",
    suffixes=(".jsonl", ".ndjson", ".json"),
    meaning="JSON lines: requests and responses of OpenAI or Anthropic APIs, or of the Batch API",
    content="token ids of prompts and responses, by a tokenizer or an approximate splitter",
    sessions="session_id, conversation_id or the like; a user whose requests follow; else inferred",
    assumes="ChatML, unless a chat template is given or lies beside the tokenizer",
    sniff=looks_like_openai,
    read=read_openai,
    takes=("tokenizer", "chat_template"),
    call_column=RESPONSE_ID,
)

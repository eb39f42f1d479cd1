"""Which column of a table means what, so that any CSV, JSON lines or Parquet file can be read."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PositiveInt, model_validator

from replay.config.section import Section

MAX_BLOCK_SIZE = 2**20
Name = Annotated[str, Field(min_length=1)]


def _one_character(text: str) -> str:
    """Return a delimiter after checking that a CSV file can have it."""
    if len(text) != 1 or not text.isascii() or text in '"\r\n\0':
        raise ValueError("must be one ASCII character, and no quotation mark or line end")
    return text


class TimeColumn(Section):
    """A column of times: numbers of a unit, or dates as ISO 8601 has them."""

    name: Name = Field(description="the column")
    unit: Literal["ns", "us", "ms", "s", "iso"] = Field(
        description="what its numbers count, since 1970 or since any start; iso for dates"
    )


class DurationColumn(Section):
    """A column of durations."""

    name: Name = Field(description="the column")
    unit: Literal["ns", "us", "ms", "s"] = Field(description="what its numbers count")


class ColumnNames(Section):
    """The columns of a table that replay takes for its own; a point steps into an object."""

    arrival: TimeColumn | None = Field(
        None, description="when the request arrives; assumed where left out"
    )
    input_tokens: Name | None = Field(
        None, description="length of the prompt; as many as there are token ids where left out"
    )
    output_tokens: Name | None = Field(
        None, description="length of the response; as many as response_tokens where left out"
    )
    session: Name | None = Field(None, description="who is talking, text or integers")
    block_ids: Name | None = Field(
        None, description="ids of the prompt's blocks, integers or text (hashes)"
    )
    tokens: Name | None = Field(None, description="token ids of the prompt")
    response_tokens: Name | None = Field(None, description="token ids of the response")
    model: Name | None = Field(None, description="the model that was asked")
    adapter: Name | None = Field(None, description="the LoRA adapter that was asked")
    cache_salt: Name | None = Field(None, description="what keeps its KV apart from others'")
    tenant: Name | None = Field(None, description="on whose behalf it was sent")
    recorded_hit_tokens: Name | None = Field(
        None, description="prompt tokens that the source found in its cache"
    )
    recorded_ttft: DurationColumn | None = Field(None, description="measured time to first token")
    recorded_e2e: DurationColumn | None = Field(None, description="measured time to last token")

    @model_validator(mode="after")
    def _says_all_lengths(self) -> ColumnNames:
        if self.input_tokens is None and self.tokens is None:
            raise ValueError("needs input_tokens, or tokens to count")
        if self.output_tokens is None and self.response_tokens is None:
            raise ValueError("needs output_tokens, or response_tokens to count")
        if self.response_tokens is not None and self.tokens is None:
            raise ValueError("response_tokens mean nothing without tokens")
        if self.block_ids is not None and self.tokens is not None:
            raise ValueError("block_ids and tokens exclude each other: both say the content")
        return self


class Columns(Section):
    """How to read a table of requests."""

    format: Literal["csv", "jsonl", "parquet"] | None = Field(
        None, description="what kind of file it is; found by its content where left out"
    )
    delimiter: Annotated[str, AfterValidator(_one_character)] = Field(
        ",", description="what stands between two values of a CSV file"
    )
    columns: ColumnNames = Field(description="the columns by what they mean")
    block_size: Annotated[PositiveInt, Field(le=MAX_BLOCK_SIZE)] | None = Field(
        None, description="tokens in a block of block_ids"
    )
    block_ids_chained: bool = Field(
        True,
        description="an id names a block and all that precedes it; false: the block alone, so "
        "ids are chained on reading",
    )

    @model_validator(mode="after")
    def _blocks_have_a_size(self) -> Columns:
        if self.columns.block_ids is not None and self.block_size is None:
            raise ValueError("block_ids need a block_size")
        if self.columns.block_ids is None and self.block_size is not None:
            raise ValueError("block_size has no effect without columns.block_ids")
        if self.columns.block_ids is None and not self.block_ids_chained:
            raise ValueError("block_ids_chained has no effect without columns.block_ids")
        return self

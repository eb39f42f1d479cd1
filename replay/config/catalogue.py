"""The catalogue: public traces by name, where they lie and how to know that they came whole."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, PositiveInt, StringConstraints, model_validator

from replay.config.columns import Columns
from replay.config.dump import dump_document
from replay.config.load import load_document
from replay.config.section import Section
from replay.errors import UnknownNameError
from replay.repeated import first_repeated
from replay.resources import data_folder

CATALOGUE_FILE = "catalogue.yaml"
COLUMNS_FORMAT = "columns"
_PACKED = (".gz", ".zst")

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


def address_fault(address: str) -> str | None:
    """Return why nothing is downloaded from an address, or None where it is good.

    Only https is good, and http on this machine itself.
    """
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port  # a port that is none raises
    except ValueError as error:
        return f"is no address: {error}"
    if parts.scheme not in ("https", "http"):
        return "must start with https://"
    if not host:
        return "names no host"
    if parts.username is not None or parts.password is not None:
        return "must hold no user name and no password"
    if any(not character.isprintable() or character.isspace() for character in address):
        return "must hold no spaces and no control characters"
    if parts.scheme == "http" and not _is_loopback(host):
        return "must start with https:// (http is for this machine itself)"
    return None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _address(text: str) -> str:
    fault = address_fault(text)
    if fault:
        raise ValueError(fault)
    return text


class PublicTrace(Section):
    """A trace that can be downloaded."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")] = Field(
        description="how the command line calls it: a-z, 0-9, point, underscore and hyphen"
    )
    address: Annotated[str, AfterValidator(_address)] = Field(
        description="https address of the file"
    )
    size_bytes: PositiveInt | None = Field(None, le=2**50, description="size of the file, if known")
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        None, description="SHA-256 of the file; left out: the first download pins it"
    )
    format: Text = Field(description="the format, as `replay list formats` names it")
    columns: Columns | None = Field(
        None, description="what its columns mean, for the format `columns`"
    )
    requests: PositiveInt | None = Field(None, le=2**40, description="how many there are, if known")
    licence: Text = Field(description="under what terms it may be used")
    citation: Text = Field(description="what to cite")
    description: Text = Field(description="one sentence: what traffic this is")

    @model_validator(mode="after")
    def _columns_have_a_meaning(self) -> PublicTrace:
        if self.format == COLUMNS_FORMAT and self.columns is None:
            raise ValueError("the format `columns` needs columns: what they mean")
        if self.format != COLUMNS_FORMAT and self.columns is not None:
            raise ValueError(f"columns have no effect on the format {self.format}")
        return self

    @property
    def file_name(self) -> str:
        """The name of the file in the cache: that of the trace, with the suffix of the address."""
        path = Path(urlsplit(self.address).path)
        packed = path.suffix if path.suffix in _PACKED else ""
        suffix = path.with_suffix("").suffix if packed else path.suffix
        return f"{self.name}{suffix}{packed}"

    def columns_text(self) -> str | None:
        """Return what `--columns` takes, as YAML; None where the reader needs none."""
        return None if self.columns is None else dump_document(self.columns)


class Catalogue(Section):
    """Public traces, in the order they are listed."""

    traces: tuple[PublicTrace, ...] = Field(description="one entry a trace")

    @model_validator(mode="after")
    def _names_differ(self) -> Catalogue:
        twice = first_repeated(trace.name for trace in self.traces)
        if twice is not None:
            raise ValueError(f"two traces have one name (got {twice!r})")
        return self

    def trace(self, name: str) -> PublicTrace:
        """Return a trace by name; raises UnknownNameError, which lists those there are."""
        for trace in self.traces:
            if trace.name == name:
                return trace
        raise UnknownNameError("public trace", name, [trace.name for trace in self.traces])


def load_catalogue(path: Path | None = None) -> Catalogue:
    """Return the catalogue in a file, or the one that ships; raises as `load_document` does."""
    return load_document(path or data_folder("traces") / CATALOGUE_FILE, Catalogue)

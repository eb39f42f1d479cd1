"""What a GPU costs to rent: dated rows, never a default that hides in a result."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

from pydantic import Field, model_validator

from replay.config.hardware.section import HardwareSection

Dollars = Annotated[float, Field(gt=0, le=1e6)]


class Price(HardwareSection):
    """Prices of one GPU for an hour, as one source gave them on one date."""

    gpu: str = Field(description="a name of `replay list gpus`")
    terms: Literal["on_demand", "spot", "reserved"]
    offer: str = Field(description="who offers it, or over what market this is")
    low: Dollars | None = None
    typical_low: Dollars | None = Field(None, description="lower end of the usual range")
    typical_high: Dollars | None = Field(None, description="upper end of the usual range")
    high: Dollars | None = None
    currency: Literal["USD"] = "USD"
    date: datetime.date = Field(description="when the source gave it; the first of the month")
    source: str

    @model_validator(mode="after")
    def _in_order(self) -> Price:
        given = [self.low, self.typical_low, self.typical_high, self.high]
        prices = [price for price in given if price is not None]
        if not prices or prices != sorted(prices):
            raise ValueError("low, typical_low, typical_high and high must not fall, one be given")
        return self


class Prices(HardwareSection):
    """All prices, and the GPUs that none was found for."""

    prices: tuple[Price, ...]
    no_price_found: tuple[str, ...] = Field((), description="GPUs without a row")

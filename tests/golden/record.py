"""Write the small recordings anew: the first requests of the full ones beside the checkout.

`python -m tests.golden.record`. A replay is causal, so what became of the first requests does not
depend on those left out; only of requests that were still held when the last one arrived is it
unknown what became of their responses.
"""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import polars as pl

from tests.shared_data import SHARED

HERE = Path(__file__).parent
REQUESTS = 400
LEFT_OUT = ("cap400000", "_swa")  # the same as unlimited here; models that are not modelled


def main() -> None:
    source = SHARED / "golden"
    with gzip.open(source / "random_trace.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for _, line in zip(range(REQUESTS), file, strict=False)]
    ids = {"input_ids": pl.List(pl.UInt32), "output_ids": pl.List(pl.UInt32)}
    _write(pl.DataFrame(rows, schema={"timestamp": pl.Int64, **ids}), "requests")
    for engine in ("vllm", "sglang"):
        names = [path for path in sorted(source.glob(f"{engine}_random_*.parquet"))
                 if not any(word in path.stem for word in LEFT_OUT)]  # fmt: skip
        parts = [
            pl.read_parquet(path)
            .head(REQUESTS)
            .drop("ts", "n_in", "n_out")
            .insert_column(0, pl.lit(path.stem).alias("replay"))
            for path in names
        ]
        _write(pl.concat(parts), engine)
    shutil.copyfile(source / "vllm_vectors.json", HERE / "vllm_vectors.json")


def _write(frame: pl.DataFrame, name: str) -> None:
    frame.write_parquet(HERE / f"{name}.parquet", compression="zstd", compression_level=22)


if __name__ == "__main__":
    main()

"""The columns of the engine's integer tables, in a file an owner.

Kernels keep their state in a few two-dimensional integer arrays, one row a run, a hold, an edge
or a request, so that the fields of one row share a cache line. A column is written
`runs[run, STOP]`; these are the names, no two of them alike.
"""
# ruff: noqa: F403

from __future__ import annotations

from replay.kernels.layout.engine import *
from replay.kernels.layout.pool import *
from replay.kernels.layout.requests import *
from replay.kernels.layout.rules import *
from replay.kernels.layout.tables import Engine as Engine
from replay.kernels.layout.tables import RadixTables as RadixTables
from replay.kernels.layout.tables import StoreTables as StoreTables
from replay.kernels.layout.tables import Tables as Tables
from replay.kernels.layout.trace import *

NONE = -1

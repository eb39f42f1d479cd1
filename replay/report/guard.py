"""Which SQL a query from outside may be: one statement that reads, and hides no other inside."""

from __future__ import annotations

import re

import duckdb

from replay.errors import QueryError

# `WITH x AS (COPY ... TO ...) SELECT ...` counts as a SELECT, and so do INSERT, UPDATE and DELETE
# in that place: the nodes of the parsed statement tell, its type does not. Quotes in the user's
# own text are escaped in JSON, so it cannot pass for a node.
_NODE = re.compile(r'"type":"(\w+)_NODE"')
_TRY = "try: FROM requests LIMIT 10"
_READING = {"SELECT", "SET_OPERATION", "RECURSIVE_CTE", "CTE"}


def statements_of(connection: duckdb.DuckDBPyConnection, sql: str) -> list[duckdb.Statement]:
    """Return the statements of a text, at least one; raises QueryError and duckdb.Error."""
    if not isinstance(sql, str):
        raise QueryError(f"the query is no text (got {type(sql).__name__})", hint=_TRY)
    try:
        sql.encode()
    except UnicodeEncodeError as error:
        raise QueryError("the query is not UTF-8 text") from error
    statements = connection.extract_statements(sql)
    if not statements:
        raise QueryError("no SQL in the query", hint=_TRY)
    return statements


def one_select(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.Statement:
    """Return the one statement of a text that only reads.

    Raises QueryError for any other text, and duckdb.Error where it is no SQL.
    """
    statements = statements_of(connection, sql)
    for statement in statements:
        if (kind := _kind(statement)) != "SELECT":
            raise _refused(kind)
    if len(statements) > 1:
        raise QueryError(f"one statement at a time (got {len(statements)})")
    tree = connection.sql(
        "SELECT json_serialize_sql(?::VARCHAR)", params=[statements[0].query]
    ).fetchall()[0][0]
    nodes = set(_NODE.findall(tree))
    if not nodes or nodes - _READING:
        inside = ", ".join(sorted(nodes - _READING)).replace("_QUERY", "")
        raise _refused(f"{inside or 'no SELECT'} inside a SELECT")
    return statements[0]


def _kind(statement: duckdb.Statement) -> str:
    try:
        return statement.type.name
    except ValueError:  # the Python client knows fewer kinds than the parser
        return "another kind of statement"


def _refused(kind: str) -> QueryError:
    return QueryError(
        f"a query may only read (got {kind})",
        hint="start with SELECT, FROM, WITH, DESCRIBE, SUMMARIZE or SHOW; -o FILE writes a file",
    )

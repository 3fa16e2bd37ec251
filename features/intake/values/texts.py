"""Texts as SQL: literals; what counts as blank around a value, and what as none."""

BLANKS = " \t\r\n\v\f\u00a0"


def literal_sql(text: str) -> str:
    """Return the SQL literal of a text."""
    return "'" + text.replace("'", "''") + "'"


def text_sql(column: str, kind: str) -> str:
    """Trim blanks; empty is NULL. Whole floats, such as ids that once stood beside gaps, lose their `.0`.

    Args:
        column: A column, or an expression of one.
        kind: Its DuckDB type.
    """
    as_text = f"{column}::VARCHAR"
    if kind in {"DOUBLE", "FLOAT"}:
        whole = f"try_cast({column} AS BIGINT)"
        as_text = (
            f"CASE WHEN isnan({column}) THEN NULL WHEN {whole} = {column} THEN {whole}::VARCHAR ELSE {as_text} END"
        )
    trimmed = f"nullif(trim({as_text}, '{BLANKS}'), '')"
    if kind != "VARCHAR":
        return trimmed
    return f"CASE WHEN regexp_full_match({column}, '[!-~]+') THEN {column} ELSE {trimmed} END"  # most need no trimming

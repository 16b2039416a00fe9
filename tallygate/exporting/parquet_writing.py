"""Writes rows as Parquet: times as UTC timestamps, decimals as decimal128, never a float.

pyarrow is large and nothing else needs it, so it is an extra of its own: `tallygate[parquet]`.
"""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import IO, Any, Final

from tallygate.exporting.columns import Column, Kind, Row

_GROUP: Final = 20_000  # rows held and written together


class ParquetMissing(Exception):
    """pyarrow is not installed; the text says what to do."""


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow  # noqa: PLC0415  (an extra)
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError:
        raise ParquetMissing(
            "Parquet needs pyarrow: pip install 'tallygate[parquet]', or write CSV"
        ) from None
    return pyarrow, parquet


def write_parquet(columns: Sequence[Column], rows: Iterable[Row], file: IO[bytes]) -> int:
    """Every row, in groups; how many rows. Raises ParquetMissing."""
    arrow, parquet = _pyarrow()
    types = {
        Kind.TEXT: arrow.string(),
        Kind.WHOLE: arrow.int64(),
        Kind.DECIMAL: arrow.decimal128(18, 4),
        Kind.TIME: arrow.timestamp("ms", tz="UTC"),
    }
    schema = arrow.schema([(column.name, types[column.kind]) for column in columns])
    source, count = iter(rows), 0
    with parquet.ParquetWriter(file, schema) as writer:
        while group := list(islice(source, _GROUP)):
            arrays = [
                arrow.array(cells, type=field.type)
                for cells, field in zip(zip(*group, strict=True), schema, strict=True)
            ]
            writer.write_batch(arrow.record_batch(arrays, schema=schema))
            count += len(group)
    return count

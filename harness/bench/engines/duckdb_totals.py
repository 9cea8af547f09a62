"""What `stitch-totals build` does, by DuckDB: python duckdb_totals.py build ARCHIVE OUTPUT SPILL | digest FILES

`build` decodes and adds up the records of an archive, and writes a Parquet file that is not sorted. `digest` prints the
number of cells, their sum and a checksum without order as JSON, of totals that any engine wrote.
"""

import json
import sys

import duckdb

# The fastest of five forms that were tried: the JSON is parsed once, and hours are added up to the longer buckets.
BUILD = """
COPY (
  WITH events AS (
    SELECT event.track AS key, event.time AS ms
    FROM (
      SELECT from_json(decode(value), '{"type":"VARCHAR","track":"VARCHAR","time":"BIGINT"}') AS event
      FROM read_parquet($archive)
    )
    WHERE event.type = 'play' AND event.track <> ''
  ),
  hours AS MATERIALIZED (
    SELECT key, date_trunc('hour', make_timestamp_ms(ms)) AS bucket, count(*) AS value FROM events GROUP BY ALL
  )
  SELECT 'plays' AS counter, key, 'hour' AS granularity, bucket, value FROM hours
  UNION ALL SELECT 'plays', key, 'day', date_trunc('day', bucket), sum(value)::BIGINT FROM hours GROUP BY ALL
  UNION ALL SELECT 'plays', key, 'month', date_trunc('month', bucket), sum(value)::BIGINT FROM hours GROUP BY ALL
  UNION ALL SELECT 'plays', key, 'year', date_trunc('year', bucket), sum(value)::BIGINT FROM hours GROUP BY ALL
  UNION ALL SELECT 'plays', key, 'all', make_timestamp(0), sum(value)::BIGINT FROM hours GROUP BY ALL
) TO $output (FORMAT parquet, COMPRESSION zstd)
"""

DIGEST = """
SELECT count(*), sum(value)::VARCHAR, sum(hash(counter, key, granularity, epoch_ms(bucket), value))::VARCHAR
FROM read_parquet(?)
"""


def connect():
    connection = duckdb.connect()
    connection.execute("SET threads = 2")
    connection.execute("SET memory_limit = '4GB'")
    connection.execute("SET preserve_insertion_order = false")
    return connection


def main():
    connection = connect()
    if sys.argv[1] == "build":
        archive, output, spill = sys.argv[2:]
        quoted = {"$archive": archive, "$output": output}
        statement = BUILD
        for name, value in quoted.items():
            statement = statement.replace(name, "'" + value.replace("'", "''") + "'")
        connection.execute(f"SET temp_directory = '{spill}'")
        connection.execute(statement)
    else:
        cells, total, checksum = connection.execute(DIGEST, [sys.argv[2]]).fetchone()
        print(json.dumps({"cells": cells, "total": total, "checksum": checksum}))


main()

"""What `stitch-totals build` does, by Spark's own functions: spark-submit spark_totals.py ARCHIVE OUTPUT"""

import sys

from pyspark.sql import SparkSession

HOURS = """
SELECT event.track AS key, date_trunc('hour', timestamp_millis(event.time)) AS bucket, count(*) AS value
FROM (
  SELECT from_json(CAST(value AS STRING), 'type STRING, track STRING, time BIGINT') AS event FROM records
)
WHERE event.type = 'play' AND event.track <> ''
GROUP BY 1, 2
"""
LONGER = """
UNION ALL SELECT 'plays', key, '{unit}', date_trunc('{unit}', bucket), sum(value) FROM hours GROUP BY key, 4
"""
TOTALS = (
    "SELECT 'plays' AS counter, key, 'hour' AS granularity, bucket, value FROM hours"
    + "".join(LONGER.format(unit=unit) for unit in ("day", "month", "year"))
    + "UNION ALL SELECT 'plays', key, 'all', timestamp_millis(0), sum(value) FROM hours GROUP BY key"
)


def main():
    archive, output = sys.argv[1:]
    spark = SparkSession.builder.appName("totals").getOrCreate()
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    spark.read.parquet(archive).createOrReplaceTempView("records")
    # Otherwise Spark would read and decode the archive five times.
    spark.sql(HOURS).cache().createOrReplaceTempView("hours")
    spark.sql(TOTALS).write.option("compression", "zstd").mode("overwrite").parquet(output)
    spark.stop()


main()

"""The Spark part of `stitch-totals build --engine spark`, which submits it.

Spark decodes nothing and sees no record. Executors pass tasks, a line of JSON each with the name of a segment, to
`stitch-totals map`, which puts the partial sums of that segment into the object store and answers with a receipt. Then
integers are added up by cell, and written in the order of the table's scan. A task may run twice: its partial sums have
the same name, and are the same. Whether all of it is right is checked by the program that submitted the job.
"""
import json
import subprocess

from pyspark import SparkFiles
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

CELL = ["token", "counter", "key", "granularity", "bucket_ms"]
SCHEMA = "token long, counter binary, key binary, granularity int, bucket_ms long, lo long, hi long, n long"


def mapper(program, job):
    """Returns what maps the tasks of one partition to receipts. It runs on executors."""

    def receipts(tasks):
        lines = "".join(task + "\n" for task in tasks)
        if not lines:
            return []
        command = [SparkFiles.get(program), "map", "--job", SparkFiles.get(job)]
        done = subprocess.run(
            command,
            input=lines.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace")[-2000:].strip()
            raise RuntimeError("stitch-totals map has ended with %d: %s" % (done.returncode, said))
        return done.stdout.decode().splitlines()

    return receipts


def scan_order(cells):
    """Sorts as Cassandra scans the table: of two texts the shorter one is first."""
    return cells.orderBy(
        "token",
        F.length("counter"),
        "counter",
        F.length("key"),
        "key",
        "granularity",
        "bucket_ms",
    )


def main():
    spark = SparkSession.builder.getOrCreate()
    try:
        with open(SparkFiles.get("stitch-job.json")) as file:
            job = json.load(file)
        with open(SparkFiles.get("stitch-tasks.jsonl")) as file:
            tasks = file.read().splitlines()
        slices = min(len(tasks), 10000)
        mapped = spark.sparkContext.parallelize(tasks, slices).mapPartitions(
            mapper(job["program"], "stitch-job.json")
        )
        receipts = spark.createDataFrame(mapped.map(lambda line: (line,)), "value string")
        receipts.write.option("compression", "none").text(job["spark_url"] + "/" + job["receipts"])

        partials = [job["spark_url"] + "/" + json.loads(task)["partial"] for task in tasks]
        cells = spark.read.schema(SCHEMA).parquet(*partials)
        cells = cells.groupBy(*CELL).agg(
            F.sum("lo").alias("lo"), F.sum("hi").alias("hi"), F.sum("n").alias("n")
        )
        scan_order(cells).write.option("compression", "zstd").option(
            "parquet.block.size", 8 << 20
        ).parquet(job["spark_url"] + "/" + job["cells"])
    finally:
        spark.stop()


if __name__ == "__main__":
    main()

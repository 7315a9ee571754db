"""The Spark session: its settings, and what it takes along."""

import os
import shutil
import tempfile

# For a local session in front of another: it would make up a secret of its own, and the process would keep that.
NO_SECURITY = {"spark.authenticate": "false", "spark.network.crypto.enabled": "false"}


def session(master, settings):
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName("batch_scoring").master(master)
    for name, value in settings.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    # What goes wrong comes back as an exception.
    spark.sparkContext.setLogLevel("OFF")
    return spark


def packed():
    """This package as one file for the executors: what is pickled for them refers to it by its names."""
    folder = os.path.dirname(os.path.abspath(__file__))
    return shutil.make_archive(os.path.join(tempfile.mkdtemp(), "score_job"), "zip", os.path.dirname(folder), os.path.basename(folder))


def sparkling_water_jar():
    import sparkling_water

    return "file://" + os.path.join(os.path.dirname(sparkling_water.__file__), "sparkling_water_assembly.jar")


def spark_security():
    """Whether Spark's settings ask for a login and encryption."""
    path = os.path.join(os.environ.get("SPARK_CONF_DIR", ""), "spark-defaults.conf")
    settings = {}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as stream:
            settings = dict(line.split(None, 1) for line in stream if line.startswith("spark."))
    return {name: settings.get(name, "false").strip() for name in NO_SECURITY}

"""Scores files with a registered model, all of them in one Spark session.

    score_job model   asks the registry which version is meant, fetches it, says what it is
    score_job score   scores files with a fetched model

Reads its order as JSON from standard input and answers with lines of JSON on standard output, one about the model or one for each file as soon
as it is done. Spark's settings come from $SPARK_CONF_DIR/spark-defaults.conf, MLflow's from the environment. Runs on Python 3.7 with pyspark
3.2 and MLflow 1.30.

A file is cut into blocks of whole rows. The executors parse and check a block and apply the model to it; only row numbers and predictions
come back, and are written beside the rows that the driver has read. So the workers of a cluster need neither the input files nor the
output directory, no row can change its place, and memory holds a few blocks and not a file.

The driver has a Spark session with the model (scorer) and reads and writes files (files); executors get the whole package as a zip.

CSV comes as the plan (module scored_files) hands it over: in UTF-8, with commas, and with quotation marks as any reader takes them. The rules
for it are in csv_files.py, the collection's plugins/module_utils/csv_files.py, which the role puts beside these.
"""

"""What the files of a model say about it."""

import glob
import json
import os
import tempfile

from .columns import check_types, signature_columns
from .csv_files import BadInput
from .registry import checksum
from .spark_session import NO_SECURITY, session, sparkling_water_jar


def as_mojo(path):
    """A model of H2O for Python as a MOJO, which Sparkling Water applies without an H2O server. Only H2O itself can make one; it is kept."""
    kept = path + ".mojo"
    if not os.path.exists(kept):
        import mlflow.h2o
        from pysparkling import H2OContext

        session("local[1]", dict(NO_SECURITY, **{"spark.jars": sparkling_water_jar()}))
        H2OContext.getOrCreate()
        found = mlflow.h2o.load_model(path)
        if not found.have_mojo:
            raise BadInput("H2O cannot export a model of the kind %s as a MOJO, so it cannot be scored here." % found.algo)
        partial = tempfile.mkdtemp(dir=os.path.dirname(path), prefix=".mojo-")
        found.download_mojo(partial)
        os.rename(partial, kept)
    return glob.glob(os.path.join(glob.escape(kept), "*"))[0]


def describe(path, columns):
    """What a model's files say about it. columns stands in for a signature that is not there."""
    import yaml

    with open(os.path.join(path, "MLmodel"), encoding="utf-8") as stream:
        mlmodel = yaml.safe_load(stream)
    signature = mlmodel.get("signature") or {}
    wanted = signature_columns(signature.get("inputs")) or list(columns.items())
    if not wanted:
        raise BadInput("The model has no signature that names its columns. Log it with one, or set batch_scoring_columns to the columns and "
                       "their types.")
    check_types(wanted)
    outputs = json.loads(signature.get("outputs") or "[]")
    result_types = {output.get("name", ""): output.get("type", "") for output in outputs}
    stages = glob.glob(os.path.join(path, "**", "metadata", "part-*"), recursive=True)
    return {
        "path": path,
        "checksum": checksum(path),
        "columns": wanted,
        "flavors": sorted(mlmodel.get("flavors", {})),
        "result_types": result_types,
        "sparkling_water": any("ai.h2o.sparkling" in open(stage, encoding="utf-8").read() for stage in stages),
    }

"""Gives registered models a second version, of the run of the first one: that goes to Production, the new one to Staging. Runs in the lab.

    second_versions.py TRACKING_URI MODEL...
"""

import sys

from mlflow.tracking import MlflowClient

client = MlflowClient(sys.argv[1], sys.argv[1])
for name in sys.argv[2:]:
    first = client.get_model_version(name, "1")
    client.create_model_version(name, first.source, first.run_id, tags={"again": "yes"}, description="The same once more")
    client.transition_model_version_stage(name, "1", "Production")
    client.transition_model_version_stage(name, "2", "Staging")

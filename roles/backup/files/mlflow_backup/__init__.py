"""Backs MLflow up on its host, one archive with the database, the artifacts and the settings, and brings one back.

    mlflow_backup create   makes an archive, and removes those that are too many or too old
    mlflow_backup verify   reads an archive, compares it with its manifest, and loads its database into a scratch instance
    mlflow_backup restore  brings an archive back: all that stands in restore.py; its steps are commands of their own, for playbooks/restore.yml
    mlflow_backup prepare-upgrade, prepare-rollback, switch: what playbooks/upgrade.yml and rollback.yml do (upgrade.py)

Settings are in a JSON file that role backup writes; where the database and the artifacts are is asked of the settings that MLflow itself runs with
(mlflow.env), so that nothing is in two places. Answers with JSON on standard output. systemd's timer and the playbook run the same program. Runs as
root, with the Python of MLflow's release, 3.7 or newer.

The database is copied while MLflow runs: SQLite by its own backup, PostgreSQL by pg_dump. Artifacts come after it, so that what the database names is
there. An archive has its name only when it is complete and on the disk.
"""

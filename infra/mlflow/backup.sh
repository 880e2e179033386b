#!/usr/bin/env bash
# infra/mlflow/backup.sh /backups: the MLflow database (SQLite or PostgreSQL) and the artifacts, while both are in use.
# Reads MLFLOW_BACKEND_STORE_URI (sqlite:////shared/runs/mlflow.db or postgresql+psycopg://...) and, for artifacts in a
# folder, MLFLOW_ARTIFACTS; objects in a bucket are the bucket's own to version. Writes /backups/<UTC time>/.
set -euo pipefail
: "${1:?name the folder that takes backups}" "${MLFLOW_BACKEND_STORE_URI:?name the database, see the head of this file}"

target="$1/$(date -u +%Y%m%dT%H%M%SZ)"
umask 077
mkdir -p "$target.part"
trap 'rm -rf "$target.part"' EXIT
case "$MLFLOW_BACKEND_STORE_URI" in
sqlite:///*)
    python3 - "${MLFLOW_BACKEND_STORE_URI#sqlite:///}" "$target.part/mlflow.db" <<'PYTHON'
import sqlite3, sys
source, copy = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True), sqlite3.connect(sys.argv[2])
source.backup(copy)
assert copy.execute("pragma integrity_check").fetchone() == ("ok",)
PYTHON
    ;;
postgres*://*)
    python3 "$(dirname "$0")/postgres.py" pg_dump --format=custom --file="$target.part/mlflow.dump"
    ;;
*)
    echo "MLFLOW_BACKEND_STORE_URI must start with sqlite:/// or postgresql, but does not; correct it" >&2
    exit 2
    ;;
esac
if [ -n "${MLFLOW_ARTIFACTS:-}" ]; then
    # exit code 1: a file changed or went while it was read, as MLflow is in use
    tar -C "$MLFLOW_ARTIFACTS" -cf "$target.part/artifacts.tar" . || [ $? -eq 1 ]
fi
mv "$target.part" "$target"
echo "$target"

#!/usr/bin/env bash
# infra/mlflow/restore.sh /backups/20261126T101500Z: put a backup of backup.sh back; stop `mlflow server` first.
# Reads MLFLOW_BACKEND_STORE_URI and MLFLOW_ARTIFACTS as backup.sh does. Never overwrites a database that is there.
set -euo pipefail
: "${1:?name the backup}" "${MLFLOW_BACKEND_STORE_URI:?name the database, see backup.sh}"

case "$MLFLOW_BACKEND_STORE_URI" in
sqlite:///*)
    database="${MLFLOW_BACKEND_STORE_URI#sqlite:///}"
    if [ -e "$database" ]; then
        echo "$database must not be there yet, but is; move it aside" >&2
        exit 2
    fi
    mkdir -p "$(dirname "$database")"
    cp "$1/mlflow.db" "$database.part"
    mv "$database.part" "$database"
    ;;
postgres*://*)
    python3 "$(dirname "$0")/postgres.py" pg_restore --exit-on-error --single-transaction --no-owner "$1/mlflow.dump"
    ;;
*)
    echo "MLFLOW_BACKEND_STORE_URI must start with sqlite:/// or postgresql, but does not; correct it" >&2
    exit 2
    ;;
esac
if [ -n "${MLFLOW_ARTIFACTS:-}" ] && [ -e "$1/artifacts.tar" ]; then
    mkdir -p "$MLFLOW_ARTIFACTS"
    tar -C "$MLFLOW_ARTIFACTS" -xf "$1/artifacts.tar"
fi

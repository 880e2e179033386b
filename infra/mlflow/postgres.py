# python3 infra/mlflow/postgres.py pg_dump --file=mlflow.dump: a client of PostgreSQL on $MLFLOW_BACKEND_STORE_URI.
# The client gets the password by PGPASSWORD, as every user of the machine can read a process's arguments.
import os
import re
import sys
from urllib.parse import unquote

url = re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", os.environ["MLFLOW_BACKEND_STORE_URI"])
user, colon, rest = url.removeprefix("postgresql://").rpartition("@")[0].partition(":")
if colon:
    os.environ["PGPASSWORD"] = unquote(rest)
    url = url.replace(f"{user}:{rest}@", f"{user}@", 1)
os.execvp(sys.argv[1], [*sys.argv[1:], f"--dbname={url}"])

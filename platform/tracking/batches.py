"""Journal lines, parameters and tags as `log_batch` requests, as few as hold them all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_METRICS = 800  # MLflow takes 1000 of all kinds a request, 100 parameters and 100 tags among them
_PARAMS = 100
_TAGS = 100


def requests_of(
    lines: Sequence[Mapping[str, Any]], params: Mapping[str, str], tags: Mapping[str, str], counted: str
) -> Iterator[tuple[int, dict[str, list[Any]]]]:
    """Requests in the order in which they must be sent: parameters first, tags last.

    Args:
        lines: of a trial's journal.
        params: of its run.
        tags: of its run.
        counted: the metric that numbers the lines, sent with each of them.

    Returns:
        How many whole lines each request holds, and its arguments.
    """
    from mlflow.entities import Param, RunTag

    params_ = [Param(name, value) for name, value in params.items()]
    tags_ = [RunTag(name, value) for name, value in tags.items()]
    for start in range(_PARAMS, len(params_), _PARAMS):
        yield 0, {"params": params_[start : start + _PARAMS]}
    request, count = {"params": params_[:_PARAMS], "metrics": list[Any]()}, 0
    for line in lines:
        metrics = _metrics(line, counted)
        if len(request["metrics"]) + len(metrics) > _METRICS and count:
            yield count, request
            request, count = {"metrics": []}, 0
        request["metrics"] += metrics
        count += 1
    if count or request.get("params"):
        yield count, request
    for start in range(0, len(tags_), _TAGS):
        yield 0, {"tags": tags_[start : start + _TAGS]}


def _metrics(line: Mapping[str, Any], counted: str) -> list[Any]:
    from mlflow.entities import Metric

    at, step, report = int(1000 * line["time"]), line["step"], line["report"]
    values = [(name, float("nan") if value is None else float(value), step) for name, value in line["metrics"].items()]
    return [Metric(name, value, at, step) for name, value, step in [*values, (counted, float(report), report)]]

"""``explain``: the plan of a query, in MongoDB's words."""

from __future__ import annotations

import time
from typing import Any

from crysearch.localdb.planner import Plan, make_plan
from crysearch.localdb.queries import compile_filter
from crysearch.localdb.scanning import Query, View, count, find


def explanation(
    view: View, target: tuple[str, str], query: Query, command: str, execute: bool
) -> dict[str, Any]:
    """The reply to an explained command."""
    collection = view.collection(*target)
    compile_filter(query.filter)
    winning: dict[str, Any] = {"stage": "EOF"}
    if collection is not None:
        sort = () if command == "count" else query.sort
        winning = _stages(make_plan(collection, query.filter, sort, query.hint), query, command)
    planned = {"namespace": ".".join(target), "parsedQuery": dict(query.filter)}
    planned |= {"winningPlan": winning, "rejectedPlans": []}
    reply: dict[str, Any] = {"explainVersion": "1", "queryPlanner": planned, "ok": 1.0}
    if execute:
        started = time.monotonic()
        if command == "count":
            returned = count(view, collection, query)
        else:
            returned = sum(1 for _ in find(view, collection, query))
        reply["executionStats"] = {
            "executionSuccess": True,
            "nReturned": returned,
            "executionTimeMillis": int(1000 * (time.monotonic() - started)),
            "totalKeysExamined": view.keys_examined,
            "totalDocsExamined": view.documents_examined,
        }
    return reply


def _stages(plan: Plan, query: Query, command: str) -> dict[str, Any]:
    index = plan.index
    direction = {"direction": "backward" if plan.reverse else "forward"}
    rest = {} if plan.exact else {"filter": dict(query.filter)}
    scan: dict[str, Any] = {"stage": "RECORD_STORE_FAST_COUNT"}
    if index is not None:
        scan = {
            "stage": "IXSCAN", "keyPattern": index.spec["key"], "indexName": index.name,
            "isMultiKey": index.multikey, "isUnique": index.unique, "isSparse": index.sparse,
            "isPartial": index.partial is not None, "ranges": len(plan.ranges), **direction,
        }  # fmt: skip
    if command == "count" and plan.exact:
        return {"stage": "COUNT", "inputStage": scan}  # of keys alone
    stage: dict[str, Any]
    if index is None:
        stage = {"stage": "COLLSCAN", **rest, **direction}
    elif plan.by_id:
        stage = {"stage": "IDHACK", **rest}
    else:
        stage = {"stage": "FETCH", **rest, "inputStage": scan}
    if not plan.sorts:
        order = {path: 1 if ascending else -1 for path, ascending in query.sort}
        stage = {"stage": "SORT", "sortPattern": order, "inputStage": stage}
    if query.limit or query.skip:
        limits = {"limitAmount": query.limit, "skipAmount": query.skip}
        stage = {"stage": "LIMIT", **limits, "inputStage": stage}
    return stage

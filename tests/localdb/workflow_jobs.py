"""Jobs for the tests of jobflow."""

from __future__ import annotations

import numpy as np
from jobflow import Flow, Response, job


@job
def add(a, b):
    return a + b


@job(data="array")
def large_array(number):
    """Return more than fits into a document; jobflow puts the array elsewhere."""
    return {"array": np.arange(number, dtype=float).tolist(), "number": number}


@job
def total(output):
    return sum(output["array"])


@job
def count_down(number):
    """Replace itself by a flow that goes one further, until nothing is left."""
    if number == 0:
        return "done"
    return Response(replace=count_down(number - 1))


@job
def fan_out(number):
    jobs = [add(i, 100) for i in range(number)]
    return Response(output=number, addition=Flow(jobs, name="siblings"))

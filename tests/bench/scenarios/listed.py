"""All scenarios, in the order of the report."""

from tests.bench.scenarios import (
    draining,
    fields,
    files,
    footprint,
    history,
    keys,
    latency,
    singles,
    submitting,
    sync,
    workers,
)

SCENARIOS = {
    each.SCENARIO.name: each.SCENARIO
    for each in (sync, keys, fields, history, submitting, draining, singles, latency, workers, files, footprint)
}

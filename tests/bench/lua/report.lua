-- What every script prints at its end: one line of JSON for load.py. Latencies are in milliseconds; a request that was
-- refused counts as an error and not for the rate.
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"per_second": %f, "p50_ms": %f, "p99_ms": %f, "max_ms": %f, "requests": %d, "errors": %d}\n',
    (summary.requests - errors.status) / summary.duration * 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3,
    summary.requests, errors.status + errors.connect + errors.read + errors.write + errors.timeout))
end

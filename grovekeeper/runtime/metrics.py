"""Metrics under the names that people know from controller-runtime, and the page that shows them."""

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

REQUESTS = Counter("controller_runtime_webhook_requests", "Admission requests by HTTP status", ["webhook", "code"])
LATENCY = Histogram(
    "controller_runtime_webhook_latency_seconds",
    "Time to answer an admission request",
    ["webhook"],
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
IN_FLIGHT = Gauge("controller_runtime_webhook_requests_in_flight", "Admission requests being answered", ["webhook"])
PANICS = Counter("controller_runtime_webhook_panics", "Admission requests that failed by a fault of ours")
DENIED = Counter("grovekeeper_admission_denied", "Requests refused by us", ["webhook"])
UNSEEN = Counter("grovekeeper_admission_unseen", "Requests judged without the parent, which no cache had", ["webhook"])
CERTIFICATE_READS = Counter("certwatcher_read_certificate", "Looks at the serving certificate")
CERTIFICATE_ERRORS = Counter("certwatcher_read_certificate_errors", "Looks after which the last certificate serves on")
CERTIFICATE_EXPIRY = Gauge("grovekeeper_webhook_certificate_expiry_timestamp_seconds", "End of the served certificate")
RECONCILES = Counter("controller_runtime_reconcile", "Reconciles by outcome", ["controller", "result"])
RECONCILE_SECONDS = Histogram("controller_runtime_reconcile_time_seconds", "Time of a reconcile", ["controller"])
QUEUE_DEPTH = Gauge("workqueue_depth", "Keys that wait", ["name"])
GANGS_PLACED = Counter("grovekeeper_gangs_placed", "Gangs placed")
GANGS_WAITING = Gauge("grovekeeper_gangs_waiting", "Gangs that wait for room")
PLACE_SECONDS = Histogram(
    "grovekeeper_place_seconds",
    "Time to place one gang",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)


def page() -> tuple[bytes, str]:
    """Return the metrics page and its content type."""
    return generate_latest(), CONTENT_TYPE_LATEST

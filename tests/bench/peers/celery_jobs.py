"""Celery on Redis with a result backend: `submit COUNT`; its worker is started by `celery --app` this module."""

import sys

from celery import Celery

from tests.bench.peers.scoring import REDIS_URL, decide, transactions

app = Celery(
    "bench",
    broker=REDIS_URL.replace("unix://", "redis+socket://"),
    backend=REDIS_URL.replace("unix://", "redis+socket://"),
)
score = app.task(name="score")(decide)


if __name__ == "__main__":
    for transaction in transactions(int(sys.argv[2])):
        score.delay(transaction)

"""Stock RQ: `submit COUNT`, then `work SimpleWorker` or `work Worker` (which forks for each job)."""

import sys

from redis import Redis
from rq import Queue, SimpleWorker, Worker

from tests.bench.peers.scoring import REDIS_URL, decide, transactions

WORKERS = {"SimpleWorker": SimpleWorker, "Worker": Worker}


def main(words: list[str]) -> None:
    """Imports what the jobs need before it works, as RQ's performance notes advise."""
    queue = Queue(connection=Redis.from_url(REDIS_URL))
    if words[0] == "submit":
        for transaction in transactions(int(words[1])):
            queue.enqueue(decide, transaction)
    else:
        WORKERS[words[1]]([queue], connection=queue.connection).work(logging_level="WARNING")


if __name__ == "__main__":
    main(sys.argv[1:])

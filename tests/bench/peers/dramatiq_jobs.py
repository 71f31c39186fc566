"""dramatiq on Redis with a result backend: `submit COUNT`; its worker is started by `dramatiq` and this module."""

import sys

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends.redis import RedisBackend

from tests.bench.peers.scoring import REDIS_URL, decide, transactions

broker = RedisBroker(url=REDIS_URL)
broker.add_middleware(Results(backend=RedisBackend(url=REDIS_URL), store_results=True))
dramatiq.set_broker(broker)
score = dramatiq.actor(decide, actor_name="score")


if __name__ == "__main__":
    for transaction in transactions(int(sys.argv[2])):
        score.send(transaction)

"""The composition root of a worker process."""

import os
import socket
from uuid import uuid4

from rq import Queue, SimpleWorker
from rq.serializers import JSONSerializer

from shared.errors import SettingsError
from shared.jobs import SCORING_QUEUE, Tickets
from shared.log import configure_logging, get_logger
from shared.model.registry import Registry
from shared.model.serving import Serving
from shared.settings import Settings
from shared.store.connection import connect
from shared.store.transactions import RedisQueue
from shared.transaction import load_transaction_class
from worker.runtime import Runtime, install
from worker.sweeper import Sweeper

log = get_logger(__name__)

QUEUES = {"scoring": SCORING_QUEUE}
"""What `--queue` names. One queue a process: a stock RQ worker on two queues can lose jobs (rq issues 381 and 1716)."""

WORKER_TTL_SECONDS = 20
"""How long RQ lists a worker that shows no life; 15 s less is how long an idle one blocks, and so its maintenance."""

SWEEP_TIMEOUT_SECONDS = 2.0


class ScoringWorker(SimpleWorker):
    """RQ's worker without a fork: the model is loaded before the first job and stays."""

    @property
    def stopping(self) -> bool:
        """Whether a signal has asked the worker to end after its job."""
        return bool(self._stop_requested)


def run(settings: Settings, queue: str = "scoring") -> None:
    """Works until told to stop.

    Raises:
        SettingsError: a setting is missing or names something that is not there.
        BundleError: there is no model that can serve.
    """
    configure_logging(settings)
    if settings.redis_url is None:
        raise SettingsError("REDIS_URL is not set: name a Redis, or use `riskline up`, which starts one")
    transaction_class = load_transaction_class(settings.transaction)
    serving = Serving(
        Registry(settings.models_dir, pinned_version=settings.model_version), transaction_class.feature_names()
    )
    serving.refresh()
    serving.require()

    redis = connect(settings.redis_url)
    sweep_redis = connect(settings.redis_url, timeout_seconds=SWEEP_TIMEOUT_SECONDS, retries=1)
    limits = {"result_ttl_seconds": settings.result_ttl, "feed_length": settings.feed_length}
    name = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}"
    worker = ScoringWorker(
        [Queue(QUEUES[queue], connection=redis, serializer=JSONSerializer)],
        name=name,
        connection=redis,
        serializer=JSONSerializer,
        worker_ttl=WORKER_TTL_SECONDS,
        log_job_description=False,
    )
    install(
        Runtime(
            queue=RedisQueue(redis, **limits),
            serving=serving,
            transaction_class=transaction_class,
            claimer=name,
            stopping=lambda: worker.stopping,
        )
    )
    sweeper = Sweeper(queue=RedisQueue(sweep_redis, **limits), tickets=Tickets(sweep_redis), serving=serving)
    sweeper.start()
    log.info("worker starts", name=name, queue=queue)
    try:
        worker.work(logging_level="DEBUG" if settings.log_level == "DEBUG" else "WARNING")
    finally:
        sweeper.stop()
    log.info("worker stops", name=name)

"""Serves the model version that is active, soon after it was activated."""

import asyncio
from functools import partial

from riskline.ingest.background.every import every
from riskline.shared.log import get_logger
from riskline.shared.model.serving import Serving

log = get_logger(__name__)

INTERVAL_SECONDS = 1.0


class ActiveModel:
    """Checks for another active version once a second."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    async def run(self) -> None:
        """Checks until cancelled."""
        refresh = partial(asyncio.to_thread, self._serving.refresh)
        await every(INTERVAL_SECONDS, refresh, log=log, failed="following the active model failed")

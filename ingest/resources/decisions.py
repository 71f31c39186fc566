"""GET /decisions: the decisions of all doors in their order."""

from collections.abc import Callable

import falcon.asgi

from riskline.ingest.edge.bodies import wait_parameter_seconds
from riskline.ingest.long_polls.feed_reads import FeedReader
from riskline.ingest.problems.problem import HttpProblem, bad_parameter
from riskline.shared.store.feed import MAX_PAGE, FeedPosition

NO_PLACE_SECONDS = 1
"""The Retry-After for a client that could not wait, and would ask again at once."""

LATEST = "latest"
OLDEST = "0"
AFTER_RULE = f"0, {LATEST} or the `next` of an earlier page of this installation"
LIMIT_RULE = f"an integer from 1 to {MAX_PAGE}"


class DecisionsResource:
    """GET /decisions."""

    def __init__(self, feed: FeedReader) -> None:
        self._feed = feed

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """200 and a page of decisions, at once or after `?wait=N` seconds at the latest."""
        # first of all, so that an error has it too: a cache may keep a 410
        resp.set_header("Cache-Control", "no-store")
        wait_seconds = wait_parameter_seconds(req)
        after = _after_parameter(req, self._feed.parse)
        page = await self._feed.page(after, limit=_limit_parameter(req), wait_seconds=wait_seconds)
        if page is None:
            raise HttpProblem("cursor-expired")
        if wait_seconds and not page.decisions and self._feed.places.full:
            resp.set_header("Retry-After", str(NO_PLACE_SECONDS))
        resp.data = page.json


def _after_parameter(req: falcon.asgi.Request, parse: Callable[[str], FeedPosition | None]) -> FeedPosition | None:
    """The cursor, None for the newest; 422 where it is none."""
    given = req.get_param("after")
    if given == LATEST:
        return None
    cursor = parse(OLDEST if given is None else given)
    if cursor is None:
        raise bad_parameter("after", AFTER_RULE)
    return cursor


def _limit_parameter(req: falcon.asgi.Request) -> int:
    """The number of decisions that the page may have; 422 where it is no number within its range."""
    given = req.get_param("limit")
    if given is None:
        return MAX_PAGE
    if not (given.isascii() and given.isdigit() and len(given) <= len(str(MAX_PAGE)) and 1 <= int(given) <= MAX_PAGE):
        raise bad_parameter("limit", LIMIT_RULE)
    return int(given)

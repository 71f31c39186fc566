"""Keeps erasures in the log that the console shows."""

import falcon.asgi

from riskline.shared.clock import utc_now
from riskline.shared.errors import StoreUnavailableError
from riskline.shared.log import get_logger
from riskline.shared.store.console import ConsoleStore

log = get_logger(__name__)


async def note_erasure(notes: ConsoleStore, req: falcon.asgi.Request, *, what: str, about: str, **more: str) -> None:
    """Keeps what was erased, by which key and when; where that fails it is erased all the same."""
    key_name = req.context.get("key_name")
    entry = {"at": utc_now(), "who": "anybody" if key_name is None else key_name, "what": what, "about": about}
    entry |= {**more, "request_id": req.context.request_id}
    try:
        # thousands of erasures would push changes out of the log
        await notes.note(entry, is_change=False)
    except StoreUnavailableError as error:
        log.warning("an erasure is in no log but this", problem=str(error), **entry)

"""/history: forgets an entity."""

import falcon
import falcon.asgi
from pydantic import ValidationError

from riskline.ingest.edge.bodies import read_json_body
from riskline.ingest.history.erasure import EntityEraser, EntityValue
from riskline.ingest.problems.problem import HttpProblem
from riskline.ingest.resources.erasure_log import note_erasure
from riskline.shared.log import get_logger
from riskline.shared.store.console import ConsoleStore

log = get_logger(__name__)


class EntityResource:
    """DELETE /history/{entity}."""

    def __init__(self, eraser: EntityEraser, *, notes: ConsoleStore, max_body_bytes: int) -> None:
        """Each erasure is kept in `notes`, without the value."""
        self._eraser = eraser
        self._notes = notes
        self._max_body_bytes = max_body_bytes

    async def on_delete(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, entity: str) -> None:
        """204 once nothing is kept of the entity; also where nothing was."""
        if entity not in self._eraser.fields:
            raise HttpProblem("unknown-entity", _known(self._eraser.fields))
        value = _value(await read_json_body(req, max_body_bytes=self._max_body_bytes))
        digest = self._eraser.named(entity, value)
        if digest is None:
            raise HttpProblem("invalid-entity-value", f"It is no value that {entity} can have.")
        erased = await self._eraser.erase(entity, digest)
        log.info("a history was erased", entity=entity, kept=erased, request_id=req.context.request_id)
        await note_erasure(self._notes, req, what="history erased", about=entity, kept=str(erased))
        resp.status = falcon.HTTP_204


def _value(body: bytes) -> str | int:
    try:
        return EntityValue.model_validate_json(body).value
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        if problem["type"] == "json_invalid":
            raise
        raise HttpProblem("invalid-entity-value") from None


def _known(fields: tuple[str, ...]) -> str:
    if not fields:
        return "The transaction class of this installation has no history."
    return f"It may be {', '.join(fields)}."

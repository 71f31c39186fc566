"""What clients must know of a field and JSON Schema cannot say: it stands behind the field's description."""

from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from riskline.shared.domain.history.derive import event_time
from riskline.shared.domain.history.markers import Exact, marker


def add_notes(cls: type[BaseModel], schema: dict[str, Any]) -> None:
    """Adds to the class's JSON Schema what its markers say."""
    for name, about in schema.get("properties", {}).items():
        note = _note(cls.model_fields[name])
        if note:
            about["description"] = f"{about['description']} {note}" if "description" in about else note


def _note(field: FieldInfo) -> str:
    exact: Exact | None = marker(field, Exact)
    if exact is not None:
        return f"At most {exact.said}." if exact.places else "A whole number."
    time = event_time(field)
    return "" if time is None or time.zone is None else f"Without a zone it is a time in {time.zone}."

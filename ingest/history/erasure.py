"""Forgets what is kept of a card, merchant or other entity that a client names."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from riskline.shared.domain.history.derive import history_of
from riskline.shared.domain.history.entity_values import entity_fields, entity_named
from riskline.shared.domain.history.observation import Observing
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.settings import Settings
from riskline.shared.store.history.interface import HistoryStore
from riskline.shared.store.history.secret import history_secret


class EntityValue(BaseModel):
    """The value by which a client names an entity, in the body: a path would be in logs."""

    model_config = ConfigDict(strict=True, extra="forbid")

    value: Annotated[str, Field(min_length=1)] | int


class EntityEraser:
    """Forgets entities of one class; one without history has none."""

    def __init__(
        self, transaction_class: type[TransactionModel], store: HistoryStore | None, settings: Settings
    ) -> None:
        """`store` is None where the class has no history.

        Raises:
            SettingsError: there is no secret for the names of entities, and none can be made.
        """
        history = history_of(transaction_class)
        self._class = transaction_class
        self._store = store
        self._observing = None if store is None or history is None else Observing(history, history_secret(settings))
        self.fields = () if self._observing is None else entity_fields(transaction_class)

    def named(self, field: str, value: str | int) -> str | None:
        """The hash by which the entity is kept; None where its field cannot have this value."""
        assert self._observing is not None  # noqa: S101  # there are fields
        return entity_named(self._class, self._observing, field, value)

    async def erase(self, field: str, digest: str) -> int:
        """Forgets the entity, alone and together with others; returns how many entries were kept of it.

        Raises:
            HistoryUnavailableError: the store is away; some may be forgotten.
        """
        assert self._store is not None  # noqa: S101  # there are fields
        return await self._store.erase(field, digest)

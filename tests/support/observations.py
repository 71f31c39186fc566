"""Histories to try a store on: a class of cards and merchants, and what of it is observed."""

from hashlib import blake2b
from struct import pack

from riskline.shared.domain.history.observation import EVENT_TAG, Observation, Part
from riskline.shared.domain.history.plan import EntityPlan, History, HistoryColumn, Kind, Number

SECRET = b"a secret of a test's own"
DAY_US = 86_400_000_000
START_US = 1_790_000_000_000_000

CARD, MERCHANT, BOTH = range(3)


def a_history(fingerprints: tuple[str, str, str] = ("c0000001", "c0000002", "c0000003")) -> History:
    count = HistoryColumn("purchases_1d", Kind.COUNT, window_us=DAY_US, whole=True)
    fields = (("card",), ("merchant",), ("card", "merchant"))
    entities = tuple(
        EntityPlan(
            fields=names,
            keep_us=keep * DAY_US,
            ignored=((),) * len(names),
            numbers=(Number("paid", 2),),
            texts=(),
            texts_ignored=(),
            columns=(count._replace(name=f"count_{number}"),),
            places=(number,),
            fingerprint=fingerprint,
        )
        for number, (names, keep, fingerprint) in enumerate(zip(fields, (30, 37, 30), fingerprints, strict=True))
    )
    columns = tuple(column for plan in entities for column in plan.columns)
    return History("at", None, columns, entities, "f0000001")


def hashed(value: str) -> str:
    return blake2b(value.encode(), digest_size=12, key=SECRET).hexdigest()


def an_event(transaction_id: str, at_us: int = START_US, paid: int = 100) -> bytes:
    hashed_id = blake2b(transaction_id.encode(), digest_size=8, key=SECRET).digest()
    return pack("<c8sqq", EVENT_TAG, hashed_id, at_us, paid)


def an_observation(
    transaction_id: str,
    card: str | None = "card",
    merchant: str | None = "merchant",
    *,
    at_us: int = START_US,
    paid: int = 100,
) -> Observation:
    event = an_event(transaction_id, at_us, paid)
    one, other = (None if value is None else hashed(value) for value in (card, merchant))
    both = None if one is None or other is None else f"{one}:{other}"
    return Observation(
        transaction_id, at_us, tuple(None if each is None else Part(each, event) for each in (one, other, both))
    )

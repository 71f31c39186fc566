"""The class to start from: importable wherever Riskline is installed, and described for clients."""

from riskline.ingest.openapi.document import build_openapi
from riskline.shared.domain.class_check import load_transaction_class
from riskline.shared.domain.history.declared import declared
from riskline.shared.domain.history.derive import history_of
from riskline.worker.training.data.simulate_cards import simulate_cards

CARD = load_transaction_class("riskline.examples.card:CardPayment")


def test_it_has_cards_merchants_and_devices_and_the_features_made_of_them() -> None:
    history = history_of(CARD)
    assert history is not None

    assert {each.name for each in history.entities} >= {"card_id", "merchant_id", "device_id", "card_id+merchant_id"}
    assert 12 <= len(history.columns) <= 20
    assert CARD.twin_feature_names() == ("amount", "merchant_category_code", "is_online", "hour")
    assert CARD.feature_names()[-3:] == ("hour", "amount_to_mean", "amount_to_merchant_mean")


def test_each_field_and_each_column_says_what_it_is() -> None:
    assert all(field.description for field in CARD.model_fields.values())
    assert all(field.description for field in declared(CARD).columns.values())


def test_a_new_card_has_no_division_by_nothing() -> None:
    history = history_of(CARD)
    assert history is not None
    (row,) = simulate_cards(rows=1, seed=0).drop("is_fraud").to_dicts()
    payment = CARD.from_row(row).with_history(history.empty)

    values = dict(zip(CARD.feature_names(), payment.features(), strict=True))
    assert (values["amount_to_mean"], values["amount_to_merchant_mean"], values["minutes_since_last"]) == (1, 1, 43200)


def test_its_columns_of_history_are_not_in_the_request_that_openapi_describes() -> None:
    document = build_openapi(CARD, version="1")
    fields = document["components"]["schemas"]["CardPayment"]["properties"]

    assert set(fields) == set(CARD.model_fields)
    assert fields["card_id"]["maxLength"] == 1000
    assert not set(declared(CARD).columns) & set(str(document["components"]["schemas"]["CardPayment"]).split("'"))


def test_it_takes_the_simulated_payments() -> None:
    rows = simulate_cards(rows=500, seed=0).drop("is_fraud").to_dicts()

    assert len(CARD.from_rows(rows)) == 500


def test_a_column_that_is_a_bool_is_kept_as_a_number() -> None:
    history = history_of(CARD)
    assert history is not None
    (row,) = simulate_cards(rows=1, seed=0).drop("is_fraud").to_dicts()
    payment = CARD.from_row(row).with_history([1.0] * len(history.columns))

    assert getattr(payment, "is_known_device") is True  # noqa: B009  # no type checker knows the loaded class
    assert {type(value) for value in payment.history_values().values()} == {int, float}
    assert "is_known_device" in payment.nominal_features()

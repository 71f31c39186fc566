"""The fields of a transaction class as its JSON Schema has them: for the form that asks for them, and for filters."""

from typing import Any

from riskline.shared.domain.transaction import TransactionModel


def fields_of(transaction_class: type[TransactionModel]) -> dict[str, dict[str, Any]]:
    """The schema of each field but the id, with references followed; of several kinds the first that is not null."""
    schema = transaction_class.model_json_schema(mode="validation")
    return {
        name: _resolved(about, schema.get("$defs", {}))
        for name, about in schema["properties"].items()
        if name != transaction_class.ID_FIELD
    }


def _resolved(about: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in about:
        return _resolved(definitions[about["$ref"].rpartition("/")[2]], definitions) | about
    kinds = [kind for kind in about.get("anyOf", ()) if kind.get("type") != "null"]
    return _resolved(kinds[0], definitions) | about if kinds else about

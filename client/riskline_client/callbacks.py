"""Callbacks that Riskline sends: verified as Standard Webhooks 1.0 says, by the library of its authors."""

from collections.abc import Iterable, Mapping
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

from riskline_client.answers import Event
from riskline_client.errors import CallbackNotVerified


def verify_callback(body: bytes, headers: Mapping[str, str], secrets: str | Iterable[str]) -> Event:
    """The event of a request that one of the secrets (`whsec_…`) signed in the last five minutes.

    `body` are the bytes as they came: JSON that was parsed and written again has another signature. Names of headers
    are taken in any case. Several secrets are for the time in which one is replaced.

    Raises:
        CallbackNotVerified: none of them signed it, it was changed, or it is too old: answer with a 401.
        ValueError: there is no secret, or one of them is none.
    """
    webhooks = [_webhook(each) for each in ([secrets] if isinstance(secrets, str) else secrets)]
    if not webhooks:
        raise ValueError("no secret is given to verify callbacks with")
    given = {name.lower(): value for name, value in headers.items()}
    document = _verified(webhooks, body, given)
    try:
        return Event.from_json(document, webhook_id=given["webhook-id"])
    except (ValueError, KeyError, TypeError) as error:
        raise CallbackNotVerified("the callback is signed, and its body is no event") from error


def _verified(webhooks: list[Webhook], body: bytes, headers: dict[str, str]) -> Any:
    problem = "it cannot be read"
    for webhook in webhooks:
        try:
            return webhook.verify(body, headers)
        except WebhookVerificationError as error:
            problem = str(error)
        except ValueError:
            # what a malformed signature or body makes of the library's base64, JSON and UTF-8
            continue
    raise CallbackNotVerified(f"the callback is not verified: {problem}")


def _webhook(secret: str) -> Webhook:
    try:
        return Webhook(secret)
    except Exception:  # noqa: BLE001  # the library's own error for an empty one is not exported by all its releases
        raise ValueError("a callback secret must be whsec_ and base64 after it") from None

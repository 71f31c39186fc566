"""The scope that each route asks for. A route that is not in the table is for `admin` alone."""

from typing import NamedTuple

from riskline.shared.access.api_keys import Scope


class Access(NamedTuple):
    """The scopes of which a key must have one; `admin` has them all. The first is the one that is advised."""

    scopes: tuple[Scope, ...]


OPEN = Access(())
"""Routes that need no key."""

BY_SESSION = Access(())
"""The console: its pages look for a session, and redirect to the sign-in page without one."""

ADMIN_ONLY = Access((Scope.ADMIN,))
ANY_KEY = Access(tuple(Scope))

SCORE = Access((Scope.SCORE,))
SUBMIT = Access((Scope.SUBMIT,))
READ = Access((Scope.READ,))
# a client that submits has to poll
READ_STATE = Access((Scope.READ, Scope.SUBMIT))

ACCESS: dict[tuple[str, str], Access] = {
    ("POST", "/score-transaction"): SCORE,
    ("POST", "/transactions"): SUBMIT,
    ("POST", "/transactions/batch"): SUBMIT,
    # the transaction whose id is `batch`
    ("GET", "/transactions/batch"): READ_STATE,
    ("GET", "/transactions/{transaction_id}"): READ_STATE,
    ("DELETE", "/transactions/batch"): ADMIN_ONLY,
    ("DELETE", "/transactions/{transaction_id}"): ADMIN_ONLY,
    ("DELETE", "/history/{entity}"): ADMIN_ONLY,
    ("GET", "/decisions"): READ,
    ("GET", "/metrics"): READ,
    ("GET", "/health"): OPEN,
    ("GET", "/health/live"): OPEN,
    ("GET", "/health/ready"): OPEN,
    ("GET", "/openapi.json"): OPEN,
    ("GET", "/"): OPEN,
    ("GET", "/docs"): OPEN,
    ("GET", "/docs/assets/{name}"): OPEN,
    ("GET", "/docs/problems"): OPEN,
    ("GET", "/docs/problems/{name}"): OPEN,
    ("GET", "/console/static/{name}"): OPEN,
    ("GET", "/console/sign-in"): OPEN,
    ("POST", "/console/sign-in"): OPEN,
    ("POST", "/console/sign-out"): BY_SESSION,
    ("GET", "/console"): BY_SESSION,
    ("GET", "/console/live"): BY_SESSION,
    ("GET", "/console/changes"): BY_SESSION,
    ("GET", "/console/find"): BY_SESSION,
    ("POST", "/console/values"): BY_SESSION,
    ("GET", "/console/decisions"): BY_SESSION,
    ("GET", "/console/decisions/new"): BY_SESSION,
    ("GET", "/console/decisions.csv"): BY_SESSION,
    ("GET", "/console/transactions/{transaction_id}"): BY_SESSION,
    ("POST", "/console/transactions/{transaction_id}"): BY_SESSION,
    ("GET", "/console/try"): BY_SESSION,
    ("POST", "/console/try"): BY_SESSION,
    ("GET", "/console/failed"): BY_SESSION,
    ("POST", "/console/failed/{kind}"): BY_SESSION,
    ("GET", "/console/models"): BY_SESSION,
    ("GET", "/console/models/{version}/report"): BY_SESSION,
    ("POST", "/console/models/switch"): BY_SESSION,
}


def access_to(method: str, template: str | None, resource: object) -> Access:
    """The access that this route asks for, also where the table does not have it."""
    if method == "HEAD":
        method = "GET"
    declared = ACCESS.get((method, str(template)))
    if declared is not None:
        return declared
    responds = any(name.startswith(f"on_{method.lower()}") for name in dir(resource))
    if responds:
        return ADMIN_ONLY
    # nothing will be told but which methods there are: those of an open path are no secret, and a browser asks without
    # a key whether it may send one
    is_open = any(path == template and access is OPEN for (_, path), access in ACCESS.items())
    return OPEN if is_open or method == "OPTIONS" else ANY_KEY

"""Try one: a transaction typed in, scored, explained, and its score as each field varies; none of it is kept."""

from collections.abc import Mapping
from typing import Any

import falcon.asgi
from pydantic import ValidationError
from pydantic_core import to_json

from riskline.ingest.console.decisions.columns import plain
from riskline.ingest.console.frame.guard import ConsolePage, parameters, read_form
from riskline.ingest.console.frame.rendering import Renderer
from riskline.ingest.console.transaction.score_sum import score_sum
from riskline.ingest.console.try_one.curves import picture_of
from riskline.ingest.console.try_one.form_fields import FormField, form_fields_of, row_of
from riskline.ingest.console.try_one.nearest_change import changes_of
from riskline.ingest.console.try_one.typed_history import Look, history_inputs_of, with_history, wrong_numbers
from riskline.ingest.console.try_one.variation import Variation
from riskline.ingest.problems.problem import invalid_transaction
from riskline.shared.clock import utc_now
from riskline.shared.domain.assessment import decide
from riskline.shared.domain.columns import raised_at, raised_in
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.model.serving import ServedModel, Serving

TYPED_ID = "tried-in-the-console"


class TryPage(ConsolePage):
    """GET and POST /console/try."""

    looking_only = True

    def __init__(
        self,
        renderer: Renderer,
        serving: Serving,
        transaction_class: type[TransactionModel],
        *,
        look: Look | None = None,
    ) -> None:
        """`look` gives a transaction its history; None where its class has none."""
        self._renderer = renderer
        self._look = look
        self._serving = serving
        self._class = transaction_class
        self._inputs = form_fields_of(transaction_class)
        self._of_history = history_inputs_of(transaction_class)
        self._unfilled = [each.name for each in self._inputs if _is_unfilled(each)]

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """The form with an example in it, and what becomes of that."""
        typed = {each.name: each.example for each in (*self._inputs, *self._of_history)}
        self._show(req, resp, typed, {"unfilled": self._unfilled} if self._unfilled else await self._found(typed))

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """The errors of the typed values, or their decision. Parameters that are no field are ignored."""
        form = await read_form(req)
        typed = {each.name: form.get(each.name, "") for each in (*self._inputs, *self._of_history)}
        self._show(req, resp, typed, await self._found(typed))

    async def _found(self, typed: Mapping[str, str]) -> dict[str, Any]:
        row = {**row_of(self._inputs, typed), self._class.ID_FIELD: TYPED_ID}
        if wrong := wrong_numbers(self._of_history, typed):
            return {"problems": wrong}
        try:
            transaction = self._class.parse(to_json(row))
            known = await with_history(transaction, self._of_history, typed, self._look)
        except ValidationError as error:
            return {"problems": _problems(error)}
        model = self._serving.model
        if model is None:
            return {"no_model": self._serving.problem}
        if known.transaction.lacks_history and model.twin is None:
            return {"no_model": "The history is away, and this version has no twin that decides without it."}
        inputs = self._inputs if known.transaction.lacks_history else [*self._inputs, *self._of_history]
        return {"history": known.columns, **result_of(known.transaction, inputs, model)}

    def _show(
        self, req: falcon.asgi.Request, resp: falcon.asgi.Response, typed: Mapping[str, str], found: Mapping[str, Any]
    ) -> None:
        self._renderer.page(
            req,
            resp,
            "try.html",
            session=req.context.session,
            inputs=self._inputs,
            of_history=self._of_history,
            known=self._known(),
            of=parameters(req).get("of", ""),
            typed=typed,
            found=found,
        )

    def _known(self) -> dict[str, list[str]]:
        """Known values of each code: the example, and the common ones of the model's rows."""
        model = self._serving.model
        codes = [each for each in self._inputs if each.is_code and not each.choices and not each.is_flag]
        common = {each.name: () if model is None else model.common(each.name) for each in codes}
        return {
            each.name: [*dict.fromkeys(filter(None, [each.example, *map(plain, common[each.name])]))] for each in codes
        }


def result_of(transaction: TransactionModel, inputs: list[FormField], model: ServedModel) -> dict[str, Any]:
    """A transaction's decision, how it came about, what would change it, and the pictures of that."""
    decision = decide(transaction, model, scored_at=utc_now(), explain=True)
    if transaction.lacks_history and model.twin is not None:
        model = model.twin
    reasons = decision.reasons or ()
    variation = Variation(transaction, inputs, model)
    thresholds = model.thresholds
    return {
        "decision": decision,
        "thresholds": thresholds,
        "sum": score_sum(model.scoring, [each.contribution for each in reasons], decision.fraud_probability),
        "changes": changes_of(variation, decision.action),
        "pictures": [picture_of(each, thresholds) for each in variation.fields],
        "left_out": variation.left_out,
    }


def _problems(error: ValidationError) -> list[tuple[str, str]]:
    """Each wrong field and what is wrong with it; of a mistake in the class where it is."""
    if raised := raised_in(error):
        return [("", f"The transaction class raised {raised_at(each)}.") for each in raised]
    return [(each["pointer"][1:], each["detail"]) for each in invalid_transaction(error).errors or []]


def _is_unfilled(field: FormField) -> bool:
    return field.is_needed and not field.may_be_null and not field.example

"""The model versions: their figures, the processes that serve each, and the switch to another one."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

import falcon
import falcon.asgi

from riskline.ingest.background.process_status import ProcessStatus
from riskline.ingest.console.change_log import ACTIVATION, ChangeLog
from riskline.ingest.console.frame.guard import ConsolePage, read_form
from riskline.ingest.console.frame.rendering import Renderer
from riskline.shared.domain.inputs import Inputs
from riskline.shared.errors import BundleError
from riskline.shared.model.registry import Registry
from riskline.shared.store.history.warmth import WARMED_BY
from riskline.shared.store.status.processes import ProcessState, by_version, refusing

FIGURES = (
    ("roc_auc", "ROC-AUC"),
    ("average_precision", "Average precision"),
    ("precision", "Precision above the decline threshold"),
    ("recall", "Recall above it"),
    ("false_positives", "Good ones declined in its test"),
    ("false_negatives", "Frauds not declined in its test"),
)
"""The metrics of a manifest that decide whether a version should serve."""


class ModelsPage(ConsolePage):
    """GET /console/models."""

    def __init__(
        self,
        renderer: Renderer,
        registry: Registry,
        processes: ProcessStatus,
        changes: ChangeLog,
        *,
        pinned_version: str | None,
    ) -> None:
        self._renderer = renderer
        self._changes = changes
        self._registry = registry
        self._processes = processes
        self._pinned_version = pinned_version

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """The versions, newest first; with `confirm`, the question whether one shall serve."""
        await self.show(req, resp)

    async def show(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, *, refused: str = "") -> None:
        """The versions, and why another one was not made to serve."""
        states = self._processes.states
        known = await asyncio.to_thread(self._known, states)
        active = known["active"]
        self._renderer.page(
            req,
            resp,
            "models.html",
            session=req.context.session,
            **{**known, "problem": refused or known["problem"]},
            activation=None if active is None else await self._changes.activation_of(active),
            done=req.get_param("done") == active,
            all_serve_it=states is not None and all(each.version == active for each in states),
            pinned=self._pinned_version,
            refusals=[] if states is None else refusing(states),
            processes=states,
            figures=FIGURES,
            confirm=req.get_param("confirm"),
        )

    def _known(self, states: list[ProcessState] | None) -> dict[str, Any]:
        problem = ""
        active = previous = None
        try:
            active, previous = self._registry.active_version(), self._registry.previous_version()
        except BundleError as error:
            problem = str(error)
        serving = {each.version: each for each in by_version(states or [])}
        versions = [self._about(version, serving) for version in reversed(self._registry.versions())]
        manifests = {each["version"]: each["manifest"] for each in versions}
        return {
            "active": active,
            "previous": previous if previous in manifests else None,
            "problem": problem,
            "versions": versions,
            "active_manifest": manifests.get(active),
        }

    def _about(self, version: str, serving: dict[Any, Any]) -> dict[str, Any]:
        count = serving.get(version)
        about: dict[str, Any] = {"version": version, "serves": None if count is None else str(count)}
        about["description"] = self._registry.description(version)
        about["has_report"] = self._registry.report_path(version).exists()
        try:
            return {**about, "manifest": self._registry.manifest(version), "problem": ""}
        except BundleError as error:
            return {**about, "manifest": None, "problem": str(error)}


class ReportPage(ConsolePage):
    """GET /console/models/{version}/report: the page that training or an evaluation kept, which may run nothing."""

    def __init__(self, renderer: Renderer, registry: Registry) -> None:
        self._renderer = renderer
        self._registry = registry

    async def on_get(self, _req: falcon.asgi.Request, resp: falcon.asgi.Response, version: str) -> None:
        """The report.

        Raises:
            HTTPNotFound: the version has none.
            HTTPConflict: it cannot be read.
        """
        try:
            report = await asyncio.to_thread(self._registry.report, version)
        except BundleError as error:
            raise falcon.HTTPConflict(title="The report cannot be read", description=str(error)) from None
        if report is None:
            raise falcon.HTTPNotFound(
                title="No report is kept with this version",
                description=f"Have one made: riskline evaluate FILE --model {version} --keep-report",
            )
        self._renderer.foreign_page(resp, report)


class SwitchPage(ConsolePage):
    """POST /console/models/switch: makes a version the active one in place of the one that was asked about."""

    def __init__(
        self,
        page: ModelsPage,
        registry: Registry,
        changes: ChangeLog,
        *,
        inputs: Inputs,
        coldness: Callable[[], Awaitable[str | None]] | None,
    ) -> None:
        """`coldness` says what is missing of the history; it is None where the class has none."""
        self._coldness = coldness
        self._page = page
        self._registry = registry
        self._changes = changes
        self._inputs = inputs

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Keeps the change in the log, makes it, and shows the result."""
        form = await read_form(req)
        version, asked_about = form.get("version", ""), form.get("replaces", "")
        about = {"version": version, "replaces": asked_about or "none"}
        try:
            await asyncio.to_thread(self._see_that_it_is_still, asked_about)
            await self._refuse_cold(version, asked_about)
            await self._changes.note(req, ACTIVATION, **about)
            await asyncio.to_thread(self._registry.activate, version, self._inputs)
        except BundleError as error:
            await self._changes.note(req, "a model was not activated", **about)
            resp.status = falcon.HTTP_409
            await self._page.show(req, resp, refused=str(error))
            return
        resp.status = falcon.HTTP_303
        resp.location = f"{req.root_path}/console/models?{urlencode({'done': version})}"

    async def _refuse_cold(self, version: str, active: str) -> None:
        """As `riskline models activate` does: the first version and one to go back to serve also on a cold history."""
        if self._coldness is None or not active:
            return
        # a damaged name of the version before is nothing to go back to
        with suppress(BundleError):
            if version == await asyncio.to_thread(self._registry.previous_version):
                return
        if (cold := await self._coldness()) is not None:
            raise BundleError(
                f"{cold}: {WARMED_BY}, or activate {version} as it is by `riskline models activate {version} --cold`"
            )

    def _see_that_it_is_still(self, asked_about: str) -> None:
        """Checks that the active version is still the one that the confirmation named."""
        try:
            active = self._registry.active_version() or ""
        except BundleError:
            # which to activate another one mends
            active = ""
        if active != asked_about:
            raise BundleError(
                f"{active or 'no version'} is active by now, not {asked_about or 'none'} as when you were asked: "
                "nothing was changed; look at the versions again"
            )

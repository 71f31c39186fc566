"""The model version that this process serves: loaded once, swapped when another one is activated."""

import time
from collections.abc import Callable
from typing import Protocol

from riskline.shared.clock import utc_now
from riskline.shared.domain.assessment import Model
from riskline.shared.domain.inputs import Inputs, inputs_of
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.errors import BundleError, OutOfFilesError
from riskline.shared.log import get_logger, set_model_version
from riskline.shared.model.registry import Registry
from riskline.shared.model.trees import Scoring
from riskline.shared.outage import Outage
from riskline.shared.settings import Settings
from riskline.shared.telemetry.metrics import MODEL_INFO

log = get_logger(__name__)

RETRY_SECONDS = 5.0
"""Between two attempts to load a version that was refused while another one serves: reading and checking a large bundle
again and again would slow the decisions beside it."""


class ServedModel(Model, Protocol):
    """A model version that decides, and that the console can show."""

    scoring: Scoring

    @property
    def twin(self) -> "ServedModel | None":
        """Decides transactions that lack their history; None where there is none."""

    def without_twin(self) -> "ServedModel":
        """The same model, which decides no transaction without its history."""

    def usual(self, feature: str) -> tuple[float, float] | None:
        """Between which values nearly all rows are that it was made with; None where that is not known."""

    def common(self, feature: str) -> tuple[float, ...]:
        """The values of several of a hundred such rows, the most frequent first; none where they are not known."""


class ModelSource(Protocol):
    """The registry as Serving uses it."""

    def active_version(self) -> str | None:
        """The version that should serve."""

    def load_active(self, inputs: Inputs) -> ServedModel:
        """Loads the active version; raises BundleError with the problem and the remedy."""


class Serving:
    """Holds the serving model; it stays where another version cannot be loaded."""

    def __init__(
        self,
        source: ModelSource,
        inputs: Inputs,
        *,
        pinned: bool = False,
        history_required: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`pinned`: a setting names the version, whatever is active. `history_required`: its twin decides nothing."""
        self._source = source
        self._inputs = inputs
        self._history_required = history_required
        self._clock = clock
        self._refused: str | None = None
        self._refused_version: str | None = None
        self._retry_at = 0.0
        self._out_of_files = Outage(
            log, failing="the active model cannot be looked at; tried again", back="the active model can be looked at"
        )
        self.pinned = pinned
        self.model: ServedModel | None = None
        self.since: str | None = None
        """Start of serving this model, in UTC."""
        self.wanted: str | None = None
        """The version that should serve."""
        self.problem = "no model was loaded yet"
        """The reason that it does not serve; empty where it does."""

    def refresh(self) -> None:
        """Loads the active version unless it serves already; logs a refusal once for each version."""
        version: str | None = None
        try:
            version = self.wanted = self._source.active_version()
            if self.model is not None and version in (self.model.version, None):
                self.problem, self._refused, self._refused_version = "", None, None
                self._out_of_files.over()
                return
            if self.model is not None and version == self._refused_version and self._clock() < self._retry_at:
                return
            model = self._source.load_active(self._inputs)
            if self._history_required:
                model = model.without_twin()
        except OutOfFilesError as error:
            if self.model is None:
                self.problem = str(error)
            self._out_of_files.failed(error)
            return
        except BundleError as error:
            self._refuse(version, str(error))
            return
        self._out_of_files.over()
        model.score_one([0.0] * len(self._inputs.features))
        if model.twin is not None:
            model.twin.score_one([0.0] * len(self._inputs.twin_features))
        self._serve(model)

    def _refuse(self, version: str | None, problem: str) -> None:
        self.problem = problem
        self._refused_version, self._retry_at = version, self._clock() + RETRY_SECONDS
        if self._refused != problem:
            log.error("model refused", problem=problem)
            self._refused = problem

    def _serve(self, model: ServedModel) -> None:
        if self.model is not None:
            MODEL_INFO.labels(self.model.version).set(0)
        MODEL_INFO.labels(model.version).set(1)
        self.model, self.since = model, utc_now()
        self.problem, self._refused, self._refused_version = "", None, None
        set_model_version(model.version)
        log.info("model serves", model_version=model.version)

    def require(self) -> ServedModel:
        """The model that serves.

        Raises:
            BundleError: no model serves; the message has the reason.
        """
        if self.model is None:
            raise BundleError(self.problem)
        return self.model


def create_serving(settings: Settings, transaction_class: type[TransactionModel]) -> Serving:
    """The Serving of these settings for this class; loads nothing yet."""
    return Serving(
        Registry(settings.models_dir, pinned_version=settings.model_version),
        inputs_of(transaction_class),
        pinned=settings.model_version is not None,
        history_required=settings.history == "required",
    )

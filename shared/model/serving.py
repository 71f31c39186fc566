"""The model version that this process serves: loaded once, swapped when another one is activated."""

from typing import Protocol

from shared.assessment import Model
from shared.errors import BundleError
from shared.log import get_logger
from shared.metrics import MODEL_INFO
from shared.model.registry import Registry
from shared.settings import Settings
from shared.transaction import TransactionModel

log = get_logger(__name__)


class ModelSource(Protocol):
    """What Serving asks of the registry."""

    def active_version(self) -> str | None:
        """The version that should serve."""

    def load_active(self, feature_names: tuple[str, ...]) -> Model:
        """Loads it; raises BundleError with what is wrong and what to do."""


class Serving:
    """Holds the model that serves; a version that cannot be loaded leaves the one that serves in its place."""

    def __init__(self, source: ModelSource, feature_names: tuple[str, ...]) -> None:
        self._source = source
        self._feature_names = feature_names
        self._refused: str | None = None
        self.model: Model | None = None
        self.problem = "no model was loaded yet"

    def refresh(self) -> None:
        """Loads the active version unless it serves already; logs a refusal once for each version."""
        try:
            version = self._source.active_version()
            if self.model is not None and version in (self.model.version, None):
                return
            model = self._source.load_active(self._feature_names)
        except BundleError as error:
            self.problem = str(error)
            if self._refused != self.problem:
                log.error("model refused", problem=self.problem)  # noqa: TRY400  # a traceback says no more
                self._refused = self.problem
            return
        model.score_one([0.0] * len(self._feature_names))
        if self.model is not None:
            MODEL_INFO.labels(self.model.version).set(0)
        MODEL_INFO.labels(model.version).set(1)
        self.model, self.problem, self._refused = model, "", None
        log.info("model serves", model_version=model.version)

    def require(self) -> Model:
        """The model that serves.

        Raises:
            BundleError: there is none; says why.
        """
        if self.model is None:
            raise BundleError(self.problem)
        return self.model


def create_serving(settings: Settings, transaction_class: type[TransactionModel]) -> Serving:
    """What serves by these settings for this class; loads nothing yet."""
    registry = Registry(settings.models_dir, pinned_version=settings.model_version)
    return Serving(registry, transaction_class.feature_names())

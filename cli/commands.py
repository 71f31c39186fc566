"""The commands of `riskline`: the table of their names, functions and sentences."""

from riskline.cli.lazy_group import Command, Group

MODELS = (
    Command(
        "import",
        "riskline.cli.models.imports:import_model",
        "Make a version of a model that was trained elsewhere, after proof that it scores the same here.",
        loads="scikit-learn",
    ),
    Command(
        "thresholds",
        "riskline.cli.models.thresholds:thresholds",
        "Make a new version of a model with other thresholds; the old one stays.",
    ),
    Command(
        "list",
        "riskline.cli.models.versions:list_versions",
        "List the versions; the one that serves is marked.",
    ),
    Command(
        "show",
        "riskline.cli.models.versions:show",
        "Print a version's manifest: features, thresholds, training data, figures.",
    ),
    Command(
        "activate",
        "riskline.cli.models.versions:activate",
        "Serve a version; API and workers take it up within seconds, without a restart.",
    ),
    Command(
        "rollback",
        "riskline.cli.models.versions:rollback",
        "Serve the version again that was active before.",
    ),
    Command(
        "verify",
        "riskline.cli.models.versions:verify",
        "Check every byte of a version.",
    ),
)

TRANSACTIONS = (
    Command(
        "failed",
        "riskline.cli.operate.failed_transactions:failed",
        "List the transactions that failed, newest first, each with its reason.",
    ),
    Command(
        "replay",
        "riskline.cli.operate.failed_transactions:replay",
        "Make failed transactions wait for a decision again; exit 1 where one of those named has not failed.",
    ),
    Command(
        "requeue",
        "riskline.cli.operate.failed_transactions:requeue",
        "Put undecided transactions in line again that `riskline doctor --audit` has found out of it.",
    ),
)

CALLBACKS = (
    Command(
        "list",
        "riskline.cli.operate.callbacks:list_callbacks",
        "List the callbacks that are pending, oldest first, and those that were given up, the last first.",
    ),
    Command(
        "receivers",
        "riskline.cli.operate.callbacks:receivers",
        "List the receivers that are left alone as their attempts fail: how many callbacks wait, and when one is "
        "tried.",
    ),
    Command(
        "show",
        "riskline.cli.operate.callbacks:show",
        "Show one transaction's callback with each of its attempts.",
    ),
    Command(
        "replay",
        "riskline.cli.operate.callbacks:replay",
        "Send callbacks again, from the first attempt on, whatever became of them; exit 1 where one named is not "
        "there.",
    ),
    Command(
        "test",
        "riskline.cli.operate.send_test:try_receiver",
        "Send a signed event to a URL now, by the rules for all callbacks; exit 1 where it is not received.",
    ),
    Command(
        "listen",
        "riskline.cli.operate.listen:listen",
        "Receive callbacks on this machine and show them; what RISKLINE_CALLBACK_SECRET did not sign is answered 401.",
    ),
    Command(
        "verify",
        "riskline.cli.operate.verify:verify",
        "Say which secret signed a callback that was kept, and how old it is; exit 1 where none did.",
    ),
)

KEYS = (
    Command(
        "new",
        "riskline.cli.operate.api_keys:new",
        "Make an API key, or a secret; it is printed once and kept nowhere.",
    ),
    Command(
        "list",
        "riskline.cli.operate.api_keys:list_keys",
        "List the API keys: their names, scopes and times; never a key or its hash.",
    ),
    Command(
        "revoke",
        "riskline.cli.operate.api_keys:revoke",
        "Revoke an API key: within two seconds it opens nothing any more.",
    ),
)

HISTORY = (
    Command(
        "status",
        "riskline.cli.history.status:status",
        "Say what is kept of each entity, since when it is observed, and how warm its windows are.",
    ),
    Command(
        "backfill",
        "riskline.cli.history.backfill:backfill",
        "Give cards, merchants and other entities the past that a file has; run it again after an interruption.",
        loads="polars",
    ),
    Command(
        "verify",
        "riskline.cli.history.verify:verify",
        "Compute the columns of history that were served anew, and compare each bit; exit 1 where one differs.",
        loads="polars",
    ),
    Command(
        "accept-loss",
        "riskline.cli.history.loss:accept_loss",
        "Use a history again that was emptied, however little of the past it knows by now.",
    ),
    Command(
        "erase",
        "riskline.cli.history.erase:erase",
        "Forget what is kept of one entity, whose value is read from standard input, alone and with others.",
    ),
)

COMMANDS = (
    Command(
        "up",
        "riskline.cli.up.command:up",
        "Run everything in this terminal: Redis (unless REDIS_URL names one), the API and the workers.",
    ),
    Command(
        "api",
        "riskline.cli.up.api:api",
        "Serve HTTP in this terminal, with the Redis of REDIS_URL or of the `riskline up` on the same data.",
    ),
    Command(
        "worker",
        "riskline.cli.up.worker:worker",
        "Decide queued transactions, or deliver callbacks, in this terminal, with the same Redis as the API.",
    ),
    Command(
        "demo-model",
        "riskline.cli.up.demo:demo_model",
        "Make a model from simulated transactions where there is none; for a container that prepares a volume.",
        is_hidden=True,
    ),
    Command(
        "data",
        "riskline.cli.models.sample:data",
        "Write a labelled sample: simulated card payments, or made-up rows of your own class (not bank data).",
        loads="polars",
    ),
    Command(
        "class",
        "riskline.cli.models.first_class:first_class",
        "Write a first transaction class from a file's columns, or from a model's, ready to edit.",
        loads="polars",
    ),
    Command(
        "train",
        "riskline.cli.models.training:train",
        "Train a model on a labelled file, print how good it is, and keep it as a version.",
        loads="scikit-learn",
    ),
    Command(
        "evaluate",
        "riskline.cli.models.evaluate:evaluate",
        "Measure a model version on a labelled file, choose thresholds, write a report.",
        loads="scikit-learn",
    ),
    Command(
        "score",
        "riskline.cli.files.score:score",
        "Decide every transaction of a file; the output file appears whole or not at all.",
    ),
    Command(
        "scale",
        "riskline.cli.operate.scale:scale",
        "Say how many scoring workers the present load and backlog need, and ten and a hundred times the load.",
    ),
    Command(
        "doctor",
        "riskline.cli.doctor.doctor:doctor",
        "Say what is wrong with this installation and what to do; exit 1 where something fails.",
    ),
    Command(
        "openapi",
        "riskline.cli.operate.openapi:openapi",
        "Print the OpenAPI 3.1 document of the API.",
    ),
    Command(
        "bench",
        "riskline.cli.operate.bench:bench",
        "Measure this service and its peers side by side on this machine; half an hour, in a checkout only.",
    ),
    Group("models", "The model versions of this installation.", MODELS),
    Group("history", "What came before a transaction: of its card, its merchant and other entities.", HISTORY),
    Group("transactions", "Transactions that failed: list them, try them again.", TRANSACTIONS),
    Group("callbacks", "Callbacks: list, send again, and try a receiver.", CALLBACKS),
    Group("keys", "API keys, and secrets that sign callbacks.", KEYS),
)

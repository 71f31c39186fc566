"""An empty Falcon ASGI app: reads the body and answers a constant of a decision's size."""

import falcon.asgi

DECISION = (
    b'{"transaction_id":"b0123456789-000000001","fraud_probability":0.0012,"action":"APPROVE",'
    b'"model_version":"20260101T000000-0123abcd","scored_at":"2026-01-01T00:00:00.000Z","reasons":null}'
)


class Constant:
    """POST /score-transaction."""

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Answers without a look at the body."""
        await req.stream.read()
        resp.data = DECISION


app = falcon.asgi.App()
app.add_route("/score-transaction", Constant())

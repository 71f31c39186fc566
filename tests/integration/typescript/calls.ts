// Calls each operation through types that were generated from the OpenAPI document; the compiler checks them, this the
// values. Takes the API's address, a key for everything and a name for the ids; prints the operations that it called.
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "./riskline.js";

type Problem = components["schemas"]["Problem"];
type Submission = components["schemas"]["TransactionSubmission"];

const [url, key, prefix] = process.argv.slice(2) as [string, string, string];
const called = new Set<string>();
const client = createClient<paths>({ baseUrl: url, headers: { Authorization: `Bearer ${key}` } });
const nobody = createClient<paths>({ baseUrl: url });
for (const each of [client, nobody]) {
  each.use({
    onRequest({ schemaPath, request }) {
      called.add(`${request.method} ${schemaPath}`);
    },
  });
}

function transaction(id: string, changes: Partial<Submission> = {}): Submission {
  return {
    transaction_id: `${prefix}-${id}`,
    amount: 4500.0,
    merchant_category_code: 5942,
    customer_age: 24,
    distance_from_home: 1250.5,
    is_online_transaction: 1,
    ...changes,
  };
}

function given<T>(answer: { data?: T; error?: unknown; response: Response }, status = 200): T {
  assert.equal(answer.response.status, status, JSON.stringify(answer.error));
  return answer.data as T;
}

function refused(answer: { error?: Problem; response: Response }, status: number, name: string): Problem {
  assert.equal(answer.response.status, status);
  assert.equal(answer.error?.type, `urn:riskline:problem:${name}`);
  assert.equal(answer.response.headers.get("Link"), `</docs/problems/${name}>; rel="help"`);
  return answer.error as Problem;
}

const path = (id: string) => ({ params: { path: { transaction_id: `${prefix}-${id}` } } });

const decision = given(await client.POST("/score-transaction", { body: transaction("1") }));
const action: "APPROVE" | "REVIEW" | "DECLINE" = decision.action;
assert.equal(action, "DECLINE");
assert.ok((decision.reasons ?? []).every((reason) => typeof reason.contribution === "number"));
const minor = transaction("1", { customer_age: 3 });
const wrong = refused(await client.POST("/score-transaction", { body: minor }), 422, "invalid-transaction");
assert.deepEqual((wrong.errors ?? []).map((error) => error.pointer), ["/customer_age"]);
refused(await nobody.POST("/score-transaction", { body: minor }), 401, "key-needed");

const accepted = given(await client.POST("/transactions", { body: transaction("2") }), 202);
assert.equal(accepted.status, "queued");
const wait = { query: { wait: 10 } };
const state = given(
  await client.GET("/transactions/{transaction_id}", { params: { ...path("2").params, ...wait } }),
);
assert.equal(state.status, "scored");
assert.equal(state.decision?.action, "DECLINE");
const other = transaction("2", { amount: 1 });
refused(await client.POST("/transactions", { body: other }), 409, "conflict");
refused(await client.GET("/transactions/{transaction_id}", path("nobody")), 404, "unknown-transaction");

const batch = given(
  await client.POST("/transactions/batch", { body: [transaction("3"), transaction("2"), other] }),
  202,
);
assert.deepEqual([batch.accepted, batch.known, batch.rows.map((row) => row.index)], [1, 1, [2]]);

const page = given(await client.GET("/decisions", { params: { query: { after: "0", limit: 2, wait: 10 } } }));
assert.ok(page.decisions.every((each) => each.fraud_probability >= 0));
refused(
  await client.GET("/decisions", { params: { query: { after: "yesterday" } } }),
  422,
  "invalid-parameter",
);

given(await client.DELETE("/transactions/{transaction_id}", path("2")), 204);
refused(await client.GET("/transactions/{transaction_id}", path("2")), 410, "transaction-erased");

const entity = { params: { path: { entity: "card_id" } }, body: { value: "C-7731" } };
refused(await client.DELETE("/history/{entity}", entity), 404, "unknown-entity");

assert.equal(given(await nobody.GET("/health")).status, "healthy");
assert.equal(given(await nobody.GET("/health/live")).status, "live");
assert.deepEqual(given(await nobody.GET("/health/ready")).missing, []);
assert.match(given(await client.GET("/metrics", { parseAs: "text" })), /riskline_http_requests_total/);
assert.ok("paths" in given(await nobody.GET("/openapi.json")));
console.log(JSON.stringify([...called].sort()));

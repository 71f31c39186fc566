"""What Riskline signs is what the library of receivers takes, and nothing that was changed on the way."""

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from riskline.shared.webhooks.signing import PREFIX, SignatureCheck, Signer, age_text, check, new_secret, parse_secrets

ONE, TWO = (PREFIX + base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))
NOW = datetime(2026, 11, 24, 3, 15, 7, 900_000, UTC)
BODY = '{"type":"transaction.scored","data":{"merchant":"Café"}}'.encode()


def signed(*secrets: str, sent_at: datetime = NOW, body: bytes = BODY) -> dict[str, str]:
    return Signer(secrets or (ONE,)).headers("msg_1", sent_at=sent_at, body=body)


def test_a_new_secret_is_one_that_can_be_used_and_another_each_time() -> None:
    made = {new_secret() for _ in range(100)}

    assert len(made) == 100
    assert all(parse_secrets(each) == (each,) for each in made)
    assert {len(base64.b64decode(each.removeprefix("whsec_"), validate=True)) for each in made} == {32}


def test_the_example_of_the_specification_has_the_signature_that_it_says() -> None:
    secret = PREFIX + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    headers = Signer(parse_secrets(secret)).headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        sent_at=datetime.fromtimestamp(1614265330.7, UTC),
        body=b'{"test": 2432232314}',
    )

    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@given(message_id=st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True), text=st.text())
def test_the_receivers_library_takes_what_is_signed_by_any_of_the_secrets(message_id: str, text: str) -> None:
    headers = Signer((ONE, TWO)).headers(message_id, sent_at=datetime.now(UTC), body=text.encode())

    for secret in (ONE, TWO):
        Webhook(secret).verify(text.encode(), headers, json_parse=False)
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(text.encode(), headers, json_parse=False)


def test_the_zone_of_the_time_makes_no_difference() -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=-8)))

    assert signed(sent_at=elsewhere) == signed()


def test_the_first_secret_signs_first() -> None:
    both = signed(ONE, TWO)["webhook-signature"]

    assert both == f"{signed(ONE)['webhook-signature']} {signed(TWO)['webhook-signature']}"


def test_a_list_of_secrets_may_have_blanks() -> None:
    assert parse_secrets(f" {ONE} ,, {TWO},\n") == (ONE, TWO)


@pytest.mark.parametrize("size", [24, 25, 64])
def test_a_secret_may_have_24_to_64_bytes_and_come_without_padding(size: int) -> None:
    secret = PREFIX + base64.b64encode(b"x" * size).decode()

    for each in (secret, secret.rstrip("=")):
        assert parse_secrets(each) == (each,)
        assert check([each], signed(each), BODY, now=NOW).secret == 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "must have a secret"),
        (" , ", "must have a secret"),
        ("hunter2-and-some-more-of-it-hunter2", "must begin with whsec_"),
        (f"{ONE},hunter2-and-some-more-of-it-hunter2", "secret 2 of 2 must begin with whsec_"),
        ("whsec_hunter2-and-some-more-of-it_hunter2", "must be base64"),
        ("whsec_hünter2", "must be base64"),
        (f"{ONE},{TWO[:20]}----{TWO[20:]}", "secret 2 of 2 must be base64"),
        ("whsec_aHVudGVyMg==", "must be of 24 to 64 bytes, and is of 7"),
        (f"{ONE},{PREFIX}{base64.b64encode(b'hunter2' * 10).decode()}", "secret 2 of 2 must be of 24 to 64"),
        ("whsec_", "must be of 24 to 64 bytes, and is of 0"),
        (f"{ONE},{TWO},{ONE.rstrip('=')}", "secret 3 of 3 is the same as secret 1"),
    ],
)
def test_what_is_no_secret_is_refused_without_being_told(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as raised:
        parse_secrets(text)

    message = str(raised.value)
    parts = [each.strip().removeprefix("whsec_") for each in text.split(",")]
    assert not [each for each in parts if each and each[:6] in message]
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(("secrets", "number"), [((ONE,), 1), ((TWO, ONE), 2), ((ONE, TWO), 1)])
def test_a_check_says_which_secret_signed_and_how_long_ago(secrets: tuple[str, ...], number: int) -> None:
    headers = {name.title(): value for name, value in signed(ONE).items()}

    checked = check(secrets, headers, BODY, now=NOW + timedelta(seconds=30))

    assert checked == SignatureCheck(number, None, pytest.approx(30.9))
    assert checked.refusal is None


def changed(name: str, change: Callable[[str], str]) -> dict[str, str]:
    headers = signed()
    return {**headers, name: change(headers[name])}


@pytest.mark.parametrize(
    ("headers", "body", "problem"),
    [
        (signed(), BODY[:-1] + b" ", "was changed"),
        (signed(), b"", "was changed"),
        (signed(TWO), BODY, "no signature is of the secret"),
        (changed("webhook-id", lambda value: value + "0"), BODY, "was changed"),
        (changed("webhook-timestamp", lambda value: str(int(value) + 1)), BODY, "was changed"),
        (changed("webhook-signature", lambda value: value.swapcase()), BODY, "no signature of version v1"),
        (changed("webhook-signature", lambda value: "v1," + value[3:].swapcase()), BODY, "was changed"),
        (changed("webhook-signature", lambda value: value[:-1]), BODY, "was changed"),
        (changed("webhook-signature", lambda _: "v1 v1, v1,, ,, v1,é v1,\ud800 v2,x"), BODY, "was changed"),
        (changed("webhook-signature", lambda value: value.replace("v1", "v1a")), BODY, "no signature of version v1"),
        (changed("webhook-signature", lambda _: ""), BODY, "webhook-signature is missing"),
        ({}, BODY, "webhook-id, webhook-timestamp, webhook-signature are missing"),
        (changed("webhook-timestamp", lambda _: "soon"), BODY, "webhook-timestamp is not a number"),
        (changed("webhook-timestamp", lambda value: value + ".5"), BODY, "webhook-timestamp is not a number"),
        (changed("webhook-timestamp", lambda _: "9" * 400), BODY, "webhook-timestamp is not a number"),
        (changed("webhook-timestamp", lambda _: "١٢"), BODY, "webhook-timestamp is not a number"),
        (changed("webhook-id", lambda _: "\ud800"), BODY, "webhook-id is not ASCII"),
        (signed(), b"\xff", "not UTF-8"),
    ],
)
def test_a_check_says_what_is_wrong(headers: dict[str, str], body: bytes, problem: str) -> None:
    checked = check([ONE], headers, body, now=NOW)

    assert checked.secret is None
    assert problem in str(checked.problem)
    assert checked.refusal == checked.problem


def test_one_good_signature_among_others_is_enough() -> None:
    headers = changed("webhook-signature", lambda value: f"v1, v2,abc v1,a,b {value} v1,!")

    assert check([ONE], headers, BODY, now=NOW).secret == 1


@pytest.mark.parametrize(
    ("seconds", "refusal"),
    [
        (300, None),
        (301, "sent 0:05:01 ago, and 300 s are allowed"),
        (-300, None),
        (-301, "dated 0:05:01 in the future, and 300 s are allowed"),
        (172_800, "sent 2 days, 0:00:00 ago, and 300 s are allowed"),
    ],
)
def test_a_request_of_another_time_is_signed_and_refused(seconds: int, refusal: str | None) -> None:
    now = NOW.replace(microsecond=0)

    checked = check([ONE], signed(sent_at=now), BODY, now=now + timedelta(seconds=seconds))

    assert checked.secret == 1
    assert checked.refusal == refusal


def test_an_age_is_told_for_people() -> None:
    assert [age_text(each) for each in (0, 11.4, -12, 300.1, 4000)] == [
        "0 s ago",
        "12 s ago",
        "12 s in the future",
        "0:05:01 ago",
        "1:06:40 ago",
    ]


ANY_HEADERS = st.dictionaries(
    st.sampled_from(["webhook-id", "Webhook-Timestamp", "webhook-signature", "x"]),
    st.one_of(st.text(), st.integers().map(str), st.text().map(lambda text: f"v1,{text}")),
)


@given(headers=ANY_HEADERS, body=st.binary())
def test_a_check_never_fails_and_never_takes_what_nobody_signed(headers: dict[str, str], body: bytes) -> None:
    checked = check([ONE, TWO], headers, body, now=NOW)

    assert checked.secret is None
    assert checked.refusal

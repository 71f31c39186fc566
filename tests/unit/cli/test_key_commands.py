"""`riskline keys`: a key is shown once, and what is stored opens nothing."""

import json
from pathlib import Path

import pytest

from riskline.cli.doctor.api_keys_check import check_keys
from riskline.cli.doctor.finding import Verdict
from riskline.cli.main import run
from riskline.cli.up.first_key import admission
from riskline.shared.access.api_keys import Scope, digest_of, parse_keys
from riskline.shared.access.key_file import HEADER, KeyFile
from riskline.shared.settings import load_settings


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("API_KEYS", "API_KEYS_FILE", "AUTH", "HOST"):
        monkeypatch.delenv(f"RISKLINE_{name}", raising=False)
    monkeypatch.setenv("RISKLINE_DATA", str(tmp_path))
    return tmp_path


def new(name: str, *words: str) -> list[str]:
    return ["keys", "new", "--name", name, "--scope", "score", *words]


def test_a_new_key_is_printed_alone_and_its_hash_is_stored(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(new("shop", "--scope", "submit", "--expires", "90d")) == 0

    key, _, rest = capsys.readouterr().out.partition("\n")
    (kept,) = KeyFile(data / "api_keys").read() or ()
    assert rest == ""
    assert (kept.name, kept.scopes) == ("shop", {Scope.SCORE, Scope.SUBMIT})
    assert kept.expires_at is not None
    assert (kept.expires_at - kept.created_at).days == 90
    assert kept.digest == digest_of(key)
    assert key not in (data / "api_keys").read_text()


def test_who_makes_the_first_key_is_told_that_it_closes_an_open_api(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(new("shop")) == 0
    assert "answers 401 to every call without a key" in capsys.readouterr().err

    assert run(new("other")) == 0
    assert "401" not in capsys.readouterr().err


def test_the_line_for_the_setting_is_printed_and_nothing_is_stored(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(new("shop", "--print-setting")) == 0
    key, line = capsys.readouterr().out.splitlines()
    assert run(new("shop", "--print-setting", "--json")) == 0
    told = json.loads(capsys.readouterr().out)

    assert parse_keys(line)[0].digest == digest_of(key)
    assert parse_keys(told["setting"])[0].digest == digest_of(told["key"])
    assert not (data / "api_keys").exists()


@pytest.mark.parametrize("end", ["2027-02-22", "2027-02-22T00:00:00Z", "2027-02-22T01:00:00+01:00"])
def test_a_key_ends_on_a_date(end: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(new("shop", "--expires", end, "--json")) == 0

    assert json.loads(capsys.readouterr().out)["expires_at"] == "2027-02-22T00:00:00Z"


@pytest.mark.parametrize(
    "words",
    [
        ["keys", "new"],
        ["keys", "new", "--name", "shop"],
        ["keys", "new", "--scope", "read"],
        ["keys", "new", "--name", "shop", "--scope", "write"],
        new("a b"),
        new("rk_shop"),
        new("-shop"),
        new("shop", "--expires", "0001-01-01T00:00+23:59"),
        new("shop", "--expires", "soon"),
        new("shop", "--expires", "2020-01-01"),
        new("shop", "--webhook"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_one_line_and_stores_nothing(
    words: list[str], data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2

    assert capsys.readouterr().err.count("\n") == 1
    assert not (data / "api_keys").exists()


def test_keys_are_listed_without_what_opens_anything(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(new("mounted", "--print-setting"))
    line = capsys.readouterr().out.splitlines()[1]
    monkeypatch.setenv("RISKLINE_API_KEYS", line)
    run(new("shop"))
    key = capsys.readouterr().out.strip()

    run(["keys", "list"])
    shown = capsys.readouterr().out
    run(["keys", "list", "--json"])
    told = json.loads(capsys.readouterr().out)

    assert [(each["name"], each["kept_in"]) for each in told] == [
        ("mounted", "RISKLINE_API_KEYS"),
        ("shop", str(data / "api_keys")),
    ]
    assert told[1]["scopes"] == ["score"]
    for text in (shown, json.dumps(told)):
        assert key not in text
        assert not any(each.digest.hex() in text for each in KeyFile(data / "api_keys").read() or ())
        assert line[-64:] not in text


def test_a_name_is_given_once_and_revoked_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(new("fixed", "--print-setting"))
    monkeypatch.setenv("RISKLINE_API_KEYS", capsys.readouterr().out.splitlines()[1])

    codes = [run(words) for words in (new("shop"), new("shop"), new("fixed"), *[["keys", "revoke", "shop"]] * 2)]

    assert codes == [0, 1, 1, 0, 1]
    assert run(["keys", "revoke", "fixed"]) == 1
    assert "RISKLINE_API_KEYS: take its line out" in capsys.readouterr().err


def test_the_last_key_that_is_revoked_leaves_a_file_that_lets_nobody_in(data: Path) -> None:
    run(new("shop"))

    run(["keys", "revoke", "shop"])

    assert KeyFile(data / "api_keys").read() == ()


def found_by_doctor(**settings: object) -> tuple[Verdict, str]:
    *_, last = check_keys(load_settings(**settings))
    return last.verdict, last.detail


def test_doctor_says_who_may_call(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = "0.0.0.0"  # noqa: S104  # what is tested
    assert found_by_doctor()[0] is Verdict.OK
    assert found_by_doctor(host=elsewhere)[0] is Verdict.FAIL
    assert found_by_doctor(auth="off") == (Verdict.OK, "off: whoever reaches 127.0.0.1 may call (RISKLINE_AUTH=off)")
    assert found_by_doctor(auth="off", host=elsewhere)[0] is Verdict.WARN
    assert found_by_doctor(auth="off", allowed_hosts="api")[0] is Verdict.OK
    verdict, said = found_by_doctor(auth="off", allowed_hosts="*")
    assert (verdict, "a page of any site" in said) == (Verdict.WARN, True)
    assert found_by_doctor(api_keys_file=data / "none")[0] is Verdict.FAIL
    run(new("shop"))
    assert found_by_doctor(host=elsewhere) == (Verdict.OK, "1 valid")
    run(new("soon", "--expires", "13d"))
    verdict, detail = found_by_doctor()
    assert verdict is Verdict.WARN
    assert detail.startswith("2 valid; to be replaced within 14 days: soon (")
    (data / "api_keys").chmod(0o666)
    assert "others may write" in found_by_doctor()[1]
    (data / "api_keys").chmod(0o600)
    (data / "api_keys").write_text("torn")
    assert found_by_doctor()[0] is Verdict.FAIL
    (data / "api_keys").write_text(HEADER)
    assert "nobody gets in" in found_by_doctor()[1]


def test_the_first_key_is_made_where_others_reach_the_api_and_stays_only_if_somebody_saw_it(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    settings = load_settings(host="0.0.0.0", data=data)  # noqa: S104  # what is tested
    file = KeyFile(data / "api_keys")
    with admission(load_settings()) as admitted:
        assert (admitted.asks, admitted.new_key, file.read()) == (False, None, None)

    with admission(settings) as unseen:
        assert unseen.new_key is not None
    assert file.read() == ()
    with admission(settings) as seen:
        assert str(seen.new_key) in seen.lines()
        seen.shown = True
    (kept,) = file.read() or ()
    with admission(settings) as again:
        assert (again.asks, again.new_key) == (True, None)

    assert kept.digest == digest_of(str(seen.new_key))
    assert kept.scopes == {Scope.ADMIN}


def test_without_a_terminal_the_first_key_is_in_a_file_of_its_owner(data: Path) -> None:
    settings = load_settings(host="0.0.0.0", data=data)  # noqa: S104  # what is tested
    path = data / "first_api_key"

    with admission(settings) as unseen:
        assert path.read_text().strip() == unseen.new_key
    gone = not path.exists()
    with admission(settings) as seen:
        seen.shown = True

    assert gone
    assert path.read_text().strip() == seen.new_key
    assert path.stat().st_mode & 0o777 == 0o600
    assert str(seen.new_key) not in seen.lines()
    assert str(path) in seen.lines()


def test_a_name_in_both_places_is_revoked_in_the_file_and_what_remains_is_said(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(new("shop"))
    run(new("shop", "--print-setting"))
    monkeypatch.setenv("RISKLINE_API_KEYS", capsys.readouterr().out.splitlines()[-1])
    assert found_by_doctor()[0] is Verdict.FAIL

    code = run(["keys", "revoke", "shop"])

    assert code == 1
    assert "but shop is in RISKLINE_API_KEYS" in capsys.readouterr().err
    assert KeyFile(data / "api_keys").read() == ()


def test_a_key_given_for_a_name_is_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["keys", "revoke", "rk_something"]) == 1

    assert "rk_something" not in "".join(capsys.readouterr())


def test_doctor_misses_the_file_of_keys_that_were_asked_for(data: Path) -> None:
    run(new("shop"))
    (data / "api_keys").unlink()

    assert found_by_doctor()[0] is Verdict.FAIL


@pytest.mark.parametrize("rate", ["100/s", "6000/min", "unlimited"])
def test_a_key_may_have_a_rate_of_its_own(rate: str, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(new("shop", "--rate", rate)) == 0
    assert run(new("plain")) == 0
    capsys.readouterr()
    assert run(["keys", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)

    keys = {key.name: key for key in KeyFile(data / "api_keys").read() or ()}
    assert {name: key.rate if key.rate is None else str(key.rate) for name, key in keys.items()} == {
        "shop": rate,
        "plain": None,
    }
    assert {each["name"]: each["rate"] for each in listed} == {"shop": rate, "plain": None}
    run(["keys", "list"])
    assert f" {rate} " in capsys.readouterr().out


@pytest.mark.parametrize("rate", ["100", "0/s", "fast"])
def test_a_wrong_rate_is_wrong_usage(rate: str, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(new("shop", "--rate", rate)) == 2

    assert "like 100/s" in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not (data / "api_keys").exists()

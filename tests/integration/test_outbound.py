import asyncio
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import h2.config
import h2.connection
import h2.events
import httpcore
import pytest

from riskline.shared.webhooks.url import Allowed, parse_callback_url
from riskline.worker.delivery import checked_network, connection_pool
from riskline.worker.delivery import outbound as under_test
from riskline.worker.delivery.delivery_errors import DeliveryError, RefusedAddressError
from riskline.worker.delivery.outbound import Outbound, ReceiverResponse
from tests.integration.receivers import Certificate, Received, Receiver, Reply, Unaccepting, make_certificate
from tests.integration.running import PATIENCE_SECONDS

pytestmark = pytest.mark.integration

LOOPBACK = Allowed.parse("127.0.0.1/32")
NOTHING = Allowed()
BODY = b'{"type":"transaction.scored"}'
HEADERS = {"content-type": "application/json", "webhook-id": "msg_1"}
SHORT_SECONDS = 0.5
"""For receivers that do not answer; others have the time that a slow machine takes."""

BODY_SECONDS = 0.3


@pytest.fixture
async def outbound(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Outbound]:
    monkeypatch.setattr(under_test, "BODY_SECONDS", BODY_SECONDS)
    made = make_outbound()
    yield made
    await made.close()


@pytest.fixture
async def impatient() -> AsyncIterator[Outbound]:
    made = make_outbound(timeout_seconds=SHORT_SECONDS)
    yield made
    await made.close()


def make_outbound(
    *, allowed: Allowed = LOOPBACK, timeout_seconds: float = PATIENCE_SECONDS, limit: int = 500
) -> Outbound:
    return Outbound(allowed=allowed, limit=limit, timeout_seconds=timeout_seconds, user_agent="Riskline/test")


async def post(outbound: Outbound, url: str, *, allowed: Allowed = LOOPBACK) -> ReceiverResponse:
    return await outbound.post(parse_callback_url(url, allowed), headers=HEADERS, body=BODY)


async def refusal(outbound: Outbound, url: str, *, allowed: Allowed = LOOPBACK) -> str:
    with pytest.raises(DeliveryError) as refused:
        await post(outbound, url, allowed=allowed)
    return str(refused.value)


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses to which connections are tried; none but 127.0.0.1 is really connected to."""
    tried: list[str] = []
    connect = httpcore.AnyIOBackend.connect_tcp

    async def record(self: Any, host: str, port: int, **options: Any) -> httpcore.AsyncNetworkStream:
        tried.append(host)
        if host != "127.0.0.1":
            raise httpcore.ConnectError("not in a test")
        return await connect(self, host, port, **options)

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", record)
    return tried


class Names:
    """Answers look-ups; each host's answers in turn, the last one again and again."""

    def __init__(self) -> None:
        self.answers: dict[str, list[list[str]]] = {}
        self.asked: list[str] = []
        self.delay_seconds = 0.0

    def __call__(self, host: str, port: object, *args: object, **kwargs: object) -> list[Any]:
        self.asked.append(host)
        time.sleep(self.delay_seconds)
        if host not in self.answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        answers = self.answers[host]
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            (socket.AF_INET6 if ":" in each else socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 0))
            for each in addresses
        ]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    made = Names()
    monkeypatch.setattr(socket, "getaddrinfo", made)
    return made


# what receivers answer


@pytest.mark.parametrize(
    ("behaviour", "status", "head"),
    [
        ("200", 200, "ok"),
        ("204", 204, ""),
        ("400", 400, "bad"),
        ("410", 410, "gone"),
        ("429", 429, "later"),
        ("500", 500, "broken"),
        ("502", 502, "bad gateway"),
        ("closing", 200, "ok"),
    ],
)
async def test_an_answer_is_given_whatever_its_status(
    outbound: Outbound, behaviour: str, status: int, head: str
) -> None:
    with Receiver(behaviour) as receiver:
        answer = await post(outbound, receiver.url)
    assert (answer.status, answer.head) == (status, head)
    assert answer.latency_seconds > 0
    assert answer.retry_after == ("7" if status == 429 else None)


async def test_the_request_is_what_was_asked_for_and_no_more(outbound: Outbound) -> None:
    with Receiver() as receiver:
        await post(outbound, receiver.url)
    (request,) = receiver.requests
    assert (request.method, request.target, request.body) == ("POST", "/hook?a=1", BODY)
    assert request.headers == {
        "host": f"127.0.0.1:{receiver.port}",
        "user-agent": "Riskline/test",
        "accept-encoding": "identity",
        "content-length": str(len(BODY)),
        **HEADERS,
    }


@pytest.mark.parametrize("behaviour", ["301", "302", "307", "308"])
async def test_no_redirect_is_followed(outbound: Outbound, connected: list[str], behaviour: str) -> None:
    with Receiver(behaviour) as receiver:
        answer = await post(outbound, receiver.url)
    assert answer.status == int(behaviour)
    assert len(receiver.requests) == 1
    assert connected == ["127.0.0.1"]


async def test_no_cookie_is_kept(outbound: Outbound) -> None:
    with Receiver(lambda _: Reply(headers={"set-cookie": "a=b"})) as receiver:
        await post(outbound, receiver.url)
        await post(outbound, receiver.url)
    assert "cookie" not in receiver.requests[1].headers


async def test_proxies_of_the_environment_are_ignored(outbound: Outbound, monkeypatch: pytest.MonkeyPatch) -> None:
    with Receiver() as receiver, Receiver("500") as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert (await post(outbound, receiver.url)).status == 200
    assert not proxy.connections


async def test_the_head_is_fit_for_a_terminal(outbound: Outbound) -> None:
    body = b"\x1b[31m\r\n\x00\xff \xe2\x80\xae" + "ü".encode() * 500
    with Receiver(lambda _: Reply(body=body)) as receiver:
        answer = await post(outbound, receiver.url)
    assert answer.head == (" [31m   \ufffd  " + "ü" * 500)[:200]
    assert answer.head.isprintable()
    assert len(answer.head) == 200


@pytest.mark.parametrize("retry_after", ["Fri, 27 Nov 2026 10:00:00 GMT", "soon", "-1"])
async def test_retry_after_is_given_as_it_came(outbound: Outbound, retry_after: str) -> None:
    with Receiver(lambda _: Reply(503, {"Retry-After": retry_after})) as receiver:
        assert (await post(outbound, receiver.url)).retry_after == retry_after


# what is wrong with receivers


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("slow-headers", "did not answer within 0.5 s"),
        ("silent", "did not answer within 0.5 s"),
        ("continues", "sent too much before its answer"),
        ("closes", "closed the connection without an answer"),
        ("garbage", "sent no valid HTTP"),
        ("huge-headers", "sent too much before its answer"),
    ],
)
async def test_a_faulty_receiver_is_an_error_in_time(
    outbound: Outbound, impatient: Outbound, behaviour: str, reason: str
) -> None:
    with Receiver(behaviour) as receiver:
        assert await refusal(impatient if "did not answer" in reason else outbound, receiver.url) == reason
        assert len(receiver.requests) == 1


@pytest.mark.parametrize("behaviour", ["closes-at-once", "resets"])
async def test_a_lost_connection_is_an_error(outbound: Outbound, behaviour: str) -> None:
    with Receiver(behaviour) as receiver:
        assert await refusal(outbound, receiver.url) in {
            "closed the connection without an answer",
            "reset the connection",
        }


async def test_a_port_that_takes_no_connection_is_an_error_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (under_test, checked_network):
        monkeypatch.setattr(module, "CONNECT_SECONDS", 0.2)
    for timeout, reason in ((0.5, "did not accept a connection within 0.2 s"), (0.1, "did not answer within 0.1 s")):
        outbound = make_outbound(timeout_seconds=timeout)
        with Unaccepting() as receiver:
            assert await refusal(outbound, receiver.url) == reason
        await outbound.close()


async def test_a_port_on_which_nobody_listens_refuses(outbound: Outbound) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert await refusal(outbound, f"http://127.0.0.1:{port}/") == "connection refused"


@pytest.mark.parametrize("behaviour", ["slow-body", "endless-body", "broken-body", "short-body"])
async def test_the_body_changes_nothing_of_a_success(outbound: Outbound, behaviour: str) -> None:
    with Receiver(behaviour) as receiver:
        # of these, two have no end
        answer = await post(outbound, receiver.url)
        assert answer.status == 200
        assert len(answer.head) <= 200
        await until(lambda: receiver.open_connections == 0)
        # and the connection is not used again
        receiver.behaviour = "200"
        assert (await post(outbound, receiver.url)).head == "ok"
        assert receiver.connections == 2


async def test_a_body_of_16_kib_is_read_and_a_longer_one_is_not(outbound: Outbound) -> None:
    sizes = [16 * 1024, 16 * 1024, 16 * 1024 + 1, 10]
    bodies = iter(sizes)
    with Receiver(lambda _: Reply(body=b"x" * next(bodies))) as receiver:
        for _ in sizes:
            assert (await post(outbound, receiver.url)).status == 200
    assert [each.connection for each in receiver.requests] == [1, 1, 1, 2]


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def secure(certificate: Certificate) -> Iterator[Receiver]:
    with Receiver(ssl_context=certificate.server_context()) as receiver:
        yield receiver


async def test_a_self_signed_certificate_is_refused(outbound: Outbound, secure: Receiver) -> None:
    assert await refusal(outbound, secure.url) == "certificate verify failed: self-signed certificate"
    assert not secure.requests


async def test_ssl_cert_file_is_trusted_and_connections_are_used_again(
    secure: Receiver, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.certificate))
    outbound = make_outbound()
    for url in (secure.url, secure.url, secure.url.replace("127.0.0.1", "localhost")):
        assert (await post(outbound, url)).status == 200
    await outbound.close()
    assert [each.connection for each in secure.requests] == [1, 1, 2]


async def serve_http2(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, streams: list[int]) -> None:
    """Answers 202 on each stream."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    connection.initiate_connection()
    writer.write(connection.data_to_send())
    while data := await reader.read(65536):
        for event in connection.receive_data(data):
            if isinstance(event, h2.events.StreamEnded):
                streams.append(event.stream_id)
                connection.send_headers(event.stream_id, [(":status", "202"), ("retry-after", "9")])
                connection.send_data(event.stream_id, b"by http/2", end_stream=True)
        writer.write(connection.data_to_send())
    writer.close()


async def test_a_receiver_that_offers_http2_is_spoken_to_in_it(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.certificate))
    context = certificate.server_context()
    context.set_alpn_protocols(["h2"])
    streams: list[int] = []
    server = await asyncio.start_server(partial(serve_http2, streams=streams), "127.0.0.1", 0, ssl=context)
    outbound = make_outbound()

    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    answers = [await post(outbound, url) for _ in range(3)]
    await outbound.close()
    server.close()

    assert [(each.status, each.head, each.retry_after) for each in answers] == [(202, "by http/2", "9")] * 3
    # one connection, used again
    assert streams == [1, 3, 5]


async def test_a_certificate_of_another_name_is_refused(
    secure: Receiver, certificate: Certificate, monkeypatch: pytest.MonkeyPatch, names: Names
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.certificate))
    names.answers["other.example"] = [["127.0.0.1"]]
    outbound = make_outbound()
    reason = await refusal(outbound, f"https://other.example:{secure.port}/")
    await outbound.close()
    assert reason.startswith("certificate verify failed: Hostname mismatch")


async def test_a_receiver_without_tls_is_an_error(outbound: Outbound, impatient: Outbound) -> None:
    with Receiver("silent") as receiver, Receiver("closes-at-once") as closing:
        reason = await refusal(impatient, receiver.url.replace("http:", "https:"))
        # a plain server waits for the end of a line that never comes, or closes
        assert reason == "did not answer within 0.5 s"
        reason = await refusal(outbound, closing.url.replace("http:", "https:"))
        assert reason in {"TLS failed: unexpected eof while reading", "reset the connection"}


async def test_a_receiver_that_never_finishes_the_handshake_is_named_so(
    outbound: Outbound, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (checked_network, under_test):
        monkeypatch.setattr(module, "CONNECT_SECONDS", 0.2)
    with Receiver("silent") as receiver:
        reason = await refusal(outbound, receiver.url.replace("http:", "https:"))
    assert reason == "did not finish the TLS handshake within 0.2 s"


def test_tls_is_strict() -> None:
    context = connection_pool.create_ssl_context()
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert len(context.get_ca_certs()) > 50


# which addresses are connected to


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["169.254.169.254"],
        ["10.0.0.1"],
        ["192.168.1.1", "93.184.216.34"],
        ["93.184.216.34", "127.0.0.1"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["::"],
        ["0.0.0.0"],  # noqa: S104 - no server is bound to it
        ["64:ff9b::a9fe:a9fe"],
        ["2002:7f00:1::"],
        ["fd00:ec2::254"],
        ["fe80::1%eth0"],
        ["100.100.100.200"],
        ["2606:4700::1111", "fc00::1"],
    ],
)
@pytest.mark.parametrize("url", ["https://hooks.example.com/", "https://127.0.0.1.nip.io:8443/"])
async def test_a_public_name_with_an_address_that_is_not_is_not_connected_to(
    names: Names, connected: list[str], addresses: list[str], url: str
) -> None:
    target = parse_callback_url(url, NOTHING)
    names.answers[target.host] = [addresses]
    outbound = make_outbound(allowed=NOTHING)
    with pytest.raises(RefusedAddressError, match="allow it in RISKLINE_CALLBACK_ALLOW"):
        await outbound.post(target, headers=HEADERS, body=BODY)
    await outbound.close()
    assert connected == []


async def test_http_to_a_name_needs_all_addresses_to_be_allowed(
    outbound: Outbound, names: Names, connected: list[str]
) -> None:
    names.answers = {"a.example": [["93.184.216.34"]], "b.example": [["127.0.0.1", "93.184.216.34"]]}
    names.answers["localhost"] = [["127.0.0.1"]]
    with Receiver() as receiver:
        for host in ("a.example", "b.example"):
            with pytest.raises(RefusedAddressError, match="must use https"):
                await post(outbound, f"http://{host}:{receiver.port}/")
        assert connected == []
        assert (await post(outbound, f"http://localhost:{receiver.port}/")).status == 200
    assert receiver.requests[0].headers["host"] == f"localhost:{receiver.port}"


async def test_a_name_that_changes_its_address_gains_nothing(names: Names, connected: list[str]) -> None:
    """The first answer is public and the next ones are not: what was checked is what is connected to."""
    with Receiver() as receiver:
        names.answers["rebind.example"] = [["93.184.216.34", "2606:4700::1111"], ["127.0.0.1"]]
        outbound = make_outbound(allowed=NOTHING)
        for _ in range(3):
            assert "refused" not in await refusal(outbound, "https://rebind.example/", allowed=NOTHING)
        assert connected == ["93.184.216.34", "2606:4700::1111"] * 3
        assert names.asked == ["rebind.example"]
        # known no more: it is looked up again, and what it says now is refused
        outbound._resolver._known.clear()
        with pytest.raises(RefusedAddressError):
            await post(outbound, "https://rebind.example/", allowed=NOTHING)
        await outbound.close()
        assert connected == ["93.184.216.34", "2606:4700::1111"] * 3
    assert not receiver.connections


async def test_each_address_is_tried(outbound: Outbound, names: Names, connected: list[str]) -> None:
    names.answers["hooks.example"] = [["127.0.0.2", "127.0.0.1"]]
    allowed = Allowed.parse("127.0.0.0/8")
    both = make_outbound(allowed=allowed)
    with Receiver() as receiver:
        assert (await post(both, f"http://hooks.example:{receiver.port}/", allowed=allowed)).status == 200
    await both.close()
    assert connected == ["127.0.0.2", "127.0.0.1"]


async def test_an_address_is_not_looked_up(outbound: Outbound, names: Names) -> None:
    with Receiver() as receiver:
        await post(outbound, receiver.url)
    assert names.asked == []


async def test_a_name_that_is_not_there_is_an_error(outbound: Outbound, names: Names) -> None:
    assert await refusal(outbound, "https://nowhere.example/") == "no such host name"


async def test_look_ups_at_once_share_one_and_a_slow_one_is_bounded(names: Names) -> None:
    names.delay_seconds = 1.5
    names.answers = {"slow.example": [["127.0.0.1"]], "quick.example": [["127.0.0.1"]]}
    outbound = make_outbound(timeout_seconds=1)
    with Receiver() as receiver:
        url = f"http://slow.example:{receiver.port}/"
        assert await asyncio.gather(*(refusal(outbound, url) for _ in range(50))) == ["did not answer within 1 s"] * 50
        names.delay_seconds = 0
        # the slow one goes on, and others do not wait for it
        assert (await post(outbound, f"http://quick.example:{receiver.port}/")).status == 200
        await asyncio.sleep(1)
        assert (await post(outbound, url)).status == 200
    await outbound.close()
    assert sorted(names.asked) == ["quick.example", "slow.example"]


# connections


async def test_a_connection_is_used_again(outbound: Outbound) -> None:
    with Receiver() as receiver:
        for behaviour in ("200", "204", "500", "429"):
            receiver.behaviour = behaviour
            await post(outbound, receiver.url)
        receiver.behaviour = "closing"
        await post(outbound, receiver.url)
        await post(outbound, receiver.url)
    assert [each.connection for each in receiver.requests] == [1, 1, 1, 1, 1, 2]


async def test_an_answer_that_came_before_its_request_is_not_taken_for_its_answer(outbound: Outbound) -> None:
    async def answers_twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(BODY):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfirst")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstale")
        writer.close()

    server = await asyncio.start_server(answers_twice, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"

    heads = [(await post(outbound, url)).head for _ in range(3)]
    server.close()

    assert heads == ["first"] * 3


async def test_a_receiver_that_sends_without_end_holds_up_no_other(outbound: Outbound) -> None:
    with Receiver("continues") as flooding, Receiver() as good:
        floods = [asyncio.create_task(refusal(outbound, flooding.url)) for _ in range(20)]
        await asyncio.sleep(0)
        answers = [await post(outbound, good.url) for _ in range(5)]
        reasons = await asyncio.gather(*floods)

    assert {each.status for each in answers} == {200}
    assert set(reasons) == {"sent too much before its answer"}


async def test_a_connection_that_is_closed_as_it_is_used_again_costs_no_attempt(outbound: Outbound) -> None:
    def once_a_connection(received: Received) -> Reply:
        earlier = [each for each in receiver.requests if each.connection == received.connection]
        if len(earlier) > 1:
            raise EOFError
        return Reply()

    with Receiver(once_a_connection) as receiver:
        answers = [await post(outbound, receiver.url) for _ in range(3)]

    assert [each.status for each in answers] == [200, 200, 200]
    assert [each.connection for each in receiver.requests] == [1, 1, 2, 2, 3]


async def test_a_connection_that_the_receiver_has_closed_is_not_used_again(outbound: Outbound) -> None:
    with Receiver() as receiver:
        await post(outbound, receiver.url)
        port = receiver.port
    with Receiver(port=port) as again:
        assert (await post(outbound, again.url)).status == 200


async def test_idle_connections_expire_and_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_pool, "KEEP_SECONDS", 0.1)
    outbound = make_outbound(limit=3)
    with Receiver(delay_seconds=0.02) as receiver, Receiver() as other:
        await asyncio.gather(*(post(outbound, receiver.url) for _ in range(9)))
        assert receiver.connections == 3
        await asyncio.sleep(0.15)
        await post(outbound, other.url)
        await until(lambda: receiver.open_connections == 0)
        assert other.open_connections == 1
        await outbound.close()
        await until(lambda: other.open_connections == 0)


async def test_requests_that_timed_out_leave_nothing_behind() -> None:
    outbound = make_outbound(timeout_seconds=1.0, limit=50)
    with Receiver("silent") as receiver:
        reasons = await asyncio.gather(*(refusal(outbound, receiver.url) for _ in range(200)))
        # those that waited for the others had no time left
        assert set(reasons) == {"did not answer within 1 s", "not tried: 50 others were under way for 1 s"}
        await until(lambda: receiver.open_connections == 0)
        receiver.behaviour = "200"
        answers = await asyncio.gather(*(post(outbound, receiver.url) for _ in range(50)))
        assert [each.status for each in answers] == [200] * 50
    await outbound.close()


async def test_requests_that_are_cancelled_at_any_time_leave_nothing_behind(
    secure: Receiver, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.certificate))
    outbound = make_outbound(limit=20)
    secure.delay_seconds = 0.005
    for number in range(150):
        task = asyncio.create_task(post(outbound, secure.url))
        await asyncio.sleep(number * 0.0001)
        task.cancel()
        await asyncio.wait([task])
        if number % 3:
            # whatever is kept is in the way of the next
            outbound._kept._closed = True
            await outbound._kept.close()
            outbound._kept._closed = False
    answers = await asyncio.gather(*(post(outbound, secure.url) for _ in range(40)))
    assert {each.status for each in answers} == {200}
    await outbound.close()
    await until(lambda: secure.open_connections == 0)


async def test_closing_ends_the_threads_that_look_up(names: Names) -> None:
    outbound = make_outbound()
    names.answers["hooks.example"] = [["127.0.0.1"]]
    with Receiver() as receiver:
        await post(outbound, f"http://hooks.example:{receiver.port}/")
    await outbound.close()
    await until(lambda: not any(each.name.startswith("look-up") for each in threading.enumerate()))


def test_a_receiver_that_resets_is_an_error_under_uvloop_too() -> None:
    uvloop = pytest.importorskip("uvloop")

    async def run() -> list[str]:
        outbound, impatient = make_outbound(), make_outbound(timeout_seconds=SHORT_SECONDS)
        reasons: list[str] = []
        for behaviour in ("resets", "closes-at-once", "closes", "silent") * 3:
            with Receiver(behaviour) as receiver:
                reasons.append(await refusal(impatient if behaviour == "silent" else outbound, receiver.url))
        with Receiver() as receiver:
            assert [(await post(outbound, receiver.url)).status for _ in range(3)] == [200] * 3
        await outbound.close()
        await impatient.close()
        return reasons

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        reasons = runner.run(run())
    assert set(reasons) <= {
        "closed the connection without an answer",
        "reset the connection",
        "did not answer within 0.5 s",
    }


async def test_a_fault_of_our_own_passes(outbound: Outbound) -> None:
    target = parse_callback_url("http://127.0.0.1:9/", LOOPBACK)
    with pytest.raises(TypeError):
        await outbound.post(target, headers={"x-bad": "ü"}, body=BODY)
    with Receiver() as receiver:
        target = parse_callback_url(receiver.url, LOOPBACK)
        with pytest.raises(DeliveryError):
            await outbound.post(target, headers={"x-bad": "a\r\nb: c"}, body=BODY)
    assert not receiver.requests


async def until(condition: Any) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - what is waited for is in another thread
            await asyncio.sleep(0.01)

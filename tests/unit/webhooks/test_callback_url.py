# ruff: noqa: RUF001 - characters that look like others are what is tested
import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskline.shared.webhooks.url import Allowed, CallbackUrlError, check_addresses, parse_callback_url

NOTHING = Allowed.parse("")
LOOPBACK = Allowed.parse("127.0.0.1/32,::1")

HOSTILE = [
    # loopback and "this host", in every spelling of an IPv4 address
    "https://127.0.0.1/",
    "https://127.1/",
    "https://127.0.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.0.0.1/",
    "https://0x7f.1/",
    "https://017700000001/",
    "https://0177.0.0.1/",
    "https://0177.0x0.0.1/",
    "https://127.0.0.1./",
    "https://127.255.255.254/",
    "https://0/",
    "https://0.0.0.0/",
    "https://0x0/",
    "https://00000000000/",
    "https://4294967295/",
    "https://1.2.3.4.5/",
    "https://256.1.1.1/",
    "https://4294967296/",
    # private networks and what else is not public
    "https://10.0.0.1/",
    "https://10.1/",
    "https://172.16.0.1/",
    "https://172.31.255.255/",
    "https://192.168.1.1/",
    "https://3232235777/",
    "https://100.64.0.1/",
    "https://198.18.0.1/",
    "https://203.0.113.1/",
    "https://224.0.0.1/",
    "https://240.0.0.1/",
    "https://255.255.255.255/",
    # metadata of clouds
    "https://169.254.169.254/latest/meta-data/",
    "https://0xa9fea9fe/",
    "https://2852039166/",
    "https://0251.0376.0251.0376/",
    "https://169.254.170.2/",
    "https://100.100.100.200/",
    "https://192.0.0.192/",
    "https://168.63.129.16/",
    "https://[fd00:ec2::254]/",
    "https://[fd20:ce::254]/",
    "https://metadata/",
    "https://metadata.google.internal/",
    # IPv6, and IPv4 inside of it
    "https://[::1]/",
    "https://[::]/",
    "https://[0:0:0:0:0:0:0:1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[::ffff:169.254.169.254]/",
    "https://[::127.0.0.1]/",
    "https://[::ffff:0:127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[64:ff9b::10.0.0.1]/",
    "https://[64:ff9b:1::1]/",
    "https://[2002:7f00:1::]/",
    "https://[2002:a9fe:a9fe::1]/",
    "https://[2002:808:808::5efe:127.0.0.1]/",
    "https://[2001:470:1f0a:1::5efe:10.0.0.1]/",
    "https://[2001:470:1f0a:1:200:5efe:169.254.169.254]/",
    "https://[2001:470:1f0a:1:300:5efe:c0a8:1]/",
    "https://[fe80::5efe:8.8.8.8]/",
    "https://[64:ff9b:1:a00:1::]/",
    "https://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/",
    "https://[2001:db8::1]/",
    "https://[3fff::1]/",
    "https://[5f00::1]/",
    "https://[fe80::1]/",
    "https://[fe80::1%25eth0]/",
    "https://[fe80::1%eth0]/",
    "https://[fe80::1%251]/",
    "https://[fc00::1]/",
    "https://[fec0::1]/",
    "https://[ff02::1]/",
    "https://[::1",
    "https://::1/",
    "https://[127.0.0.1]/",
    "https://[v1.fe80]/",
    "https://[]/",
    # names of this machine and its network
    "https://localhost/",
    "https://LOCALHOST/",
    "https://localhost./",
    "https://localhost.localdomain/",
    "https://a.localhost/",
    "https://printer.local/",
    "https://db.internal/",
    "https://db.internal./",
    "https://nas.home.arpa/",
    "https://redis/",
    "https://redis:443/",
    "https://example.com./",
    # user-info, and hosts that only seem to be one
    "https://@example.com/",
    "https://:@example.com/",
    "https://user@example.com/",
    "https://user:secret@example.com/",
    "https://example.com@127.0.0.1/",
    "https://example.com:443@169.254.169.254/",
    "https://example.com%23@127.0.0.1/",
    "https://example.com#@127.0.0.1/",
    "https://127.0.0.1#@example.com/",
    "https://example.com/#fragment",
    "https://example.com/#",
    "https://example.com?#@127.0.0.1",
    "https://127.0.0.1?@example.com/",
    "https://127.0.0.1/@example.com/",
    "https://example.com\\@127.0.0.1/",
    "https://127.0.0.1\\@example.com/",
    "https:\\\\127.0.0.1/",
    "https://127.0.0.1\\.example.com/",
    # characters that parsers drop, turn into others, or read differently
    "https://127。0。0。1/",
    "https://127.0.0。1/",
    "https://１２７.0.0.1/",
    "https://①②⑦.⓪.⓪.①/",
    "https://lo\u00adcalhost/",
    "https://loc\u200balhost/",
    "https://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/",
    "https://ｌｏｃａｌｈｏｓｔ/",
    "https://localhost。/",
    "https://𝟏𝟐𝟕.𝟎.𝟎.𝟏/",
    "https://%31%32%37.0.0.1/",
    "https://%6c%6fcalhost/",
    "https://127.0.0.1%2f@example.com/",
    "https://127.0.0.1%00.example.com/",
    "https://example.com%00/",
    "https://ex%61mple.com/",
    "https://exa\tmple.com/",
    "https://exam\nple.com/",
    "https://example.com/\r\nX-Evil: 1",
    "https://example.com/ HTTP/1.1",
    "\thttps://example.com/",
    " https://example.com/",
    "https://example.com/ ",
    "https://example.com\u3000/",
    "https://example.com/\u2028",
    "https://example.com/\x00",
    "https://example.com/\x7f",
    "https://example.com/\ud800",
    "https://example.com℀.evil.example/",
    "https://example.com％2f.evil.example/",
    # what is no URL of a host
    "",
    "https",
    "https:",
    "https://",
    "https:///",
    "https:///127.0.0.1/",
    "https:////example.com/",
    "https:example.com",
    "https:/example.com/",
    "https://?x",
    "https://:443/",
    "https://./",
    "https://../",
    "https://.example.com/",
    "https://a..example.com/",
    "https://*.example.com/",
    "https://exa,mple.com/",
    "https://exa!mple.com/",
    "https://exa'mple.com/",
    "https://-example.com/",
    "https://" + "a" * 64 + ".com/",
    "https://" + "a." * 127 + "com/",
    "https://xn--/",
    "//example.com/",
    "/hook",
    "example.com/hook",
    "https://example.com/" + "a" * 2048,
    "https://example.com/" + "ü" * 1000,
    # ports
    "https://example.com:22/",
    "https://example.com:25/",
    "https://example.com:80/",
    "https://example.com:6379/",
    "https://example.com:0/",
    "https://example.com:65536/",
    "https://example.com:99999999999/",
    "https://example.com:-1/",
    "https://example.com:4 43/",
    "https://example.com:443:22/",
    "https://93.184.216.34:6379/",
    # schemes
    "http://example.com/",
    "http://example.com:443/",
    "http://93.184.216.34/",
    "http://127.0.0.1/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "file://example.com/etc/passwd",
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "dict://127.0.0.1:11211/",
    "javascript:alert(1)",
    "data:text/plain,x",
    "ws://example.com/",
    "wss://example.com/",
    "ldap://example.com/",
    "unix:///var/run/docker.sock",
    "http+unix://%2Fvar%2Frun%2Fdocker.sock/",
    "jar:https://example.com!/",
    "url:https://example.com/",
    "https+http://example.com/",
]


def test_the_table_is_long_enough() -> None:
    assert len(HOSTILE) == len(set(HOSTILE)) >= 60


@pytest.mark.parametrize("url", HOSTILE)
def test_hostile_urls_are_refused_without_showing_them(url: str) -> None:
    with pytest.raises(CallbackUrlError) as refused:
        parse_callback_url(url, NOTHING)
    message = str(refused.value)
    assert message
    assert message[0].islower()
    assert "secret" not in message
    assert message.isprintable()
    assert len(url) <= len("https://") or url not in message


@pytest.mark.parametrize("url", HOSTILE)
def test_an_allowed_network_makes_no_other_address_good(url: str) -> None:
    allowed = Allowed.parse("10.99.0.0/16,fd99::/16,hooks.corp")
    with suppress(CallbackUrlError):
        target = parse_callback_url(url, allowed)
        # a name may be one in the network, until it is looked up
        assert not target.is_address
        with pytest.raises(CallbackUrlError):
            check_addresses(target, ["10.99.0.1", "10.98.0.1"], allowed)


@pytest.mark.parametrize(
    ("url", "spelled", "authority", "target"),
    [
        ("https://example.com", "https://example.com/", "example.com:443", "/"),
        ("https://example.com/hook", "https://example.com/hook", "example.com:443", "/hook"),
        ("HTTPS://EXAMPLE.com:0443/Hook", "https://example.com/Hook", "example.com:443", "/Hook"),
        ("https://example.com:/", "https://example.com/", "example.com:443", "/"),
        ("https://example.com:8443/a", "https://example.com:8443/a", "example.com:8443", "/a"),
        ("https://example.com?a=1", "https://example.com/?a=1", "example.com:443", "/?a=1"),
        ("https://example.com/?", "https://example.com/?", "example.com:443", "/?"),
        ("https://example.com/a?b=/c//d@e", "https://example.com/a?b=/c//d@e", "example.com:443", "/a?b=/c//d@e"),
        ("https://example.com//a", "https://example.com//a", "example.com:443", "//a"),
        ("https://example.com/a/../b", "https://example.com/b", "example.com:443", "/b"),
        ("https://example.com/%2e%2e/b", "https://example.com/b", "example.com:443", "/b"),
        ("https://example.com/ü?ü", "https://example.com/%C3%BC?%C3%BC", "example.com:443", "/%C3%BC?%C3%BC"),
        ("https://example.com/a%00%0d%0a", "https://example.com/a%00%0d%0a", "example.com:443", "/a%00%0d%0a"),
        ("https://example。com/", "https://example.com/", "example.com:443", "/"),
        (
            "https://bücher.example/x",
            "https://xn--bcher-kva.example/x",
            "xn--bcher-kva.example:443",
            "/x",
        ),
        ("https://under_score.example.com/", "https://under_score.example.com/", "under_score.example.com:443", "/"),
        ("https://93.184.216.34/", "https://93.184.216.34/", "93.184.216.34:443", "/"),
        ("https://1572395042/", "https://93.184.216.34/", "93.184.216.34:443", "/"),
        (
            "https://[2606:4700:0::1111]:8443/",
            "https://[2606:4700::1111]:8443/",
            "[2606:4700::1111]:8443",
            "/",
        ),
    ],
)
def test_public_urls_get_their_one_spelling(url: str, spelled: str, authority: str, target: str) -> None:
    parsed = parse_callback_url(url, NOTHING)
    assert (parsed.url, parsed.scheme, parsed.authority, parsed.target) == (spelled, "https", authority, target)
    assert parsed.authority in {f"{parsed.host}:{parsed.port}", f"[{parsed.host}]:{parsed.port}"}
    assert parse_callback_url(parsed.url, NOTHING) == parsed


@pytest.mark.parametrize(
    ("allow", "url"),
    [
        ("hooks.internal", "http://hooks.internal/"),
        ("hooks.internal", "http://HOOKS.internal:9000/"),
        ("redis", "https://redis:6379/"),
        ("hooks.internal.", "https://hooks.internal./"),
        ("127.0.0.1", "http://127.0.0.1:9000/hook"),
        ("127.0.0.1", "http://2130706433:9000/hook"),
        ("127.0.0.1", "http://[::ffff:127.0.0.1]:9000/hook"),
        ("::ffff:127.0.0.1", "http://[::ffff:127.0.0.1]:9000/hook"),
        ("::1", "http://[::1]:1/"),
        ("10.0.0.0/8", "http://10.1.2.3/"),
        ("fd00::/8", "https://[fd00:ec2::254]/"),
        ("8.8.8.0/24", "http://8.8.8.8:53/"),
        # known only when they are looked up
        ("127.0.0.1/32", "http://localhost:9000/hook"),
        ("127.0.0.1/32", "http://example.com:9000/hook"),
        ("10.0.0.0/8", "https://example.com./"),
    ],
)
def test_what_is_allowed_is_reached_by_http_and_on_any_port(allow: str, url: str) -> None:
    assert parse_callback_url(url, Allowed.parse(allow)).url.startswith("http")


@pytest.mark.parametrize(
    ("allow", "url"),
    [
        ("hooks.internal", "http://other.internal/"),
        ("hooks.internal", "http://a.hooks.internal/"),
        ("hooks.internal", "http://hooks.internal./"),
        ("hooks.internal", "http://hooks.internal.example.com/"),
        ("hooks.internal", "http://user@hooks.internal/"),
        ("hooks.internal", "http://hooks.internal:0/"),
        ("hooks.internal", "ftp://hooks.internal/"),
        ("127.0.0.1", "http://127.0.0.2/"),
        ("127.0.0.1", "http://[::1]/"),
        ("127.0.0.1", "http://[64:ff9b::7f00:1]/"),
        ("127.0.0.1", "http://8.8.8.8/"),
        ("127.0.0.1", "https://8.8.8.8:22/"),
        ("127.0.0.1", "http://-a/"),
    ],
)
def test_what_is_not_allowed_stays_refused(allow: str, url: str) -> None:
    with pytest.raises(CallbackUrlError):
        parse_callback_url(url, Allowed.parse(allow))


PRIVATE = """
    0.0.0.0 0.1.2.3 10.0.0.0 10.255.255.255 100.64.0.0 100.100.100.200 100.127.255.255 127.0.0.1 127.255.255.255
    168.63.129.16 169.254.0.1 169.254.169.254 172.16.0.0 172.31.255.255 192.0.0.1 192.0.0.9 192.0.0.192 192.0.2.1
    192.88.99.1 192.168.0.1 192.168.255.255 198.18.0.0 198.19.255.255 198.51.100.1 203.0.113.255 224.0.0.1
    239.255.255.255 240.0.0.1 255.255.255.255
    :: ::1 ::2 ::7f00:1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:0:8.8.8.8 64:ff9b::127.0.0.1
    64:ff9b::a9fe:a9fe 64:ff9b:1::8.8.8.8 100::1 100:0:0:1::1 2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:2::1
    2001:10::1 2001:20::1 2001:1ff:ffff::1 2001:db8::1 2002:7f00:1:: 2002:a00:1::1 2002:a9fe:a9fe::1 3fff::1
    3fff:fff:ffff::1 4000::1 5f00::1 fc00::1 fd00:ec2::254 fdff::1 fe80::1 fe80::1%eth0 febf::1 fec0::1 ff02::1 ff0e::1
    2606:4700::1%eth0 2606:4700::5efe:10.0.0.1 2606:4700::200:5efe:127.0.0.1
""".split()  # noqa: SIM905

PUBLIC = """
    1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 93.184.216.34 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.1
    168.63.129.15 168.63.129.17 169.253.255.255 169.255.0.1 172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.1
    192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 223.255.255.255
    2001:200::1 2001:4860:4860::8888 2002:808:808::1 2606:4700::1111 2a00:1450::1 3ffe::1 64:ff9b::8.8.8.8
    ::ffff:8.8.8.8 2606:4700::5efe:8.8.8.8
""".split()  # noqa: SIM905


@pytest.mark.parametrize("address", PRIVATE)
def test_a_name_must_not_lead_to_what_is_not_public(address: str) -> None:
    target = parse_callback_url("https://example.com/", NOTHING)
    for addresses in ([address], ["93.184.216.34", address], [address, "2606:4700::1111"]):
        with pytest.raises(
            CallbackUrlError,
            match=r"^an address of its host is .*: the operator can allow it in RISKLINE_CALLBACK_ALLOW$",
        ):
            check_addresses(target, addresses, NOTHING)
        with pytest.raises(CallbackUrlError):
            check_addresses(target, addresses, Allowed.parse("other.internal,192.168.77.0/24"))


@pytest.mark.parametrize("address", PUBLIC)
def test_a_name_may_lead_to_what_is_public(address: str) -> None:
    target = parse_callback_url("https://example.com/", NOTHING)
    check_addresses(target, [address], NOTHING)
    check_addresses(target, ["93.184.216.34", address], NOTHING)


def test_the_message_names_the_setting_and_an_address_only_where_the_url_does() -> None:
    target = parse_callback_url("https://example.com/", NOTHING)
    with pytest.raises(CallbackUrlError, match=r"^an address of its host is private: the operator"):
        check_addresses(target, ["10.1.2.3"], NOTHING)
    with pytest.raises(CallbackUrlError, match=r"^an address of its host is not a public one"):
        check_addresses(target, ["239.1.1.1"], NOTHING)
    with pytest.raises(CallbackUrlError, match=r"^its address 10\.1\.2\.3 is private: the operator"):
        parse_callback_url("https://10.1.2.3/", NOTHING)


@pytest.mark.parametrize("addresses", [[], ["hooks.internal"], ["2130706433"], [""], ["127.0.0.1/32"]])
def test_what_is_no_address_is_refused(addresses: list[str]) -> None:
    with pytest.raises(CallbackUrlError):
        check_addresses(parse_callback_url("https://example.com/", NOTHING), addresses, LOOPBACK)


@pytest.mark.parametrize("url", ["http://example.com/", "https://example.com:6379/", "http://localhost:443/"])
def test_by_http_or_on_another_port_all_addresses_must_be_allowed(url: str) -> None:
    target = parse_callback_url(url, LOOPBACK)
    check_addresses(target, ["127.0.0.1", "::1", "::ffff:127.0.0.1"], LOOPBACK)
    for addresses in (["93.184.216.34"], ["127.0.0.1", "93.184.216.34"], ["127.0.0.2"], ["64:ff9b::127.0.0.1"]):
        with pytest.raises(CallbackUrlError):
            check_addresses(target, addresses, LOOPBACK)


def test_an_allowed_host_may_have_any_address() -> None:
    allowed = Allowed.parse("hooks.internal")
    check_addresses(parse_callback_url("http://hooks.internal:9000/", allowed), ["10.0.0.1", "::1"], allowed)


def test_allowed_takes_hosts_addresses_and_networks() -> None:
    allowed = Allowed.parse(" 127.0.0.1/32, Hooks.Internal,,10.0.0.0/8 ,::1,redis,")
    assert allowed.hosts == {"hooks.internal", "redis"}
    assert [str(each) for each in allowed.networks] == ["127.0.0.1/32", "10.0.0.0/8", "::1/128"]
    assert Allowed.parse("") == Allowed.parse(" , ") == NOTHING == Allowed()


@pytest.mark.parametrize(
    "entry",
    [
        "10.0.0.1/8",
        "fd00::1/8",
        "10.0.0.0/33",
        "10.0.0.0/",
        "300.1.1.1",
        "010.0.0.1",
        "1.2.3",
        "0x7f.1",
        "2130706433",
        "https://hooks.internal",
        "hooks.internal:9000",
        "127.0.0.1:9000",
        "[::1]",
        "hooks.internal/x",
        "*.internal",
        ".internal",
        "*",
        "a b",
        "-a",
        "bücher.example",
        "user@host",
    ],
)
def test_allowed_names_the_entry_that_it_does_not_take(entry: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(entry))):
        Allowed.parse(f"hooks.internal,{entry}")


def test_allowed_says_how_a_network_is_written() -> None:
    with pytest.raises(ValueError, match=r"write 10\.0\.0\.0/8$"):
        Allowed.parse("10.1.2.3/8")


@given(st.text(max_size=80) | st.text(max_size=60).map("https://".__add__) | st.from_regex(r"https?://[^/]+/.*"))
def test_whatever_is_accepted_is_read_the_same_again(url: str) -> None:
    for allowed in (NOTHING, LOOPBACK):
        with suppress(CallbackUrlError):
            parsed = parse_callback_url(url, allowed)
            assert parsed.url.isascii()
            assert parsed.url.isprintable()
            assert parsed.scheme == "https" or allowed is LOOPBACK
            again = parse_callback_url(parsed.url, allowed)
            assert again == parsed

"""What a URL of the Redis executor means, and what is said of one that means nothing."""

import pickle

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from executors.redis._url import OPTIONS, Address, Tls, parse
from flows.errors import UnknownExecutorError
from tests.executors.redis.certificates import certificate

HERE = ("localhost", 6379)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://localhost", Address("tcp", hosts=(HERE,))),
        ("REDIS://localhost/", Address("tcp", hosts=(HERE,))),
        ("redis://h:7/3", Address("tcp", hosts=(("h", 7),), db=3)),
        ("redis://[::1]:7", Address("tcp", hosts=(("::1", 7),))),
        ("redis://:p%40ss@localhost", Address("tcp", hosts=(HERE,), password="p@ss")),
        ("redis://clerk:p@ss@localhost", Address("tcp", hosts=(HERE,), username="clerk", password="p@ss")),
        ("rediss://localhost", Address("tcp", hosts=(HERE,), tls=Tls())),
        ("rediss://localhost?ssl_cert_reqs=none", Address("tcp", hosts=(HERE,), tls=Tls(verify=False))),
        ("rediss://localhost?ssl_check_hostname=0", Address("tcp", hosts=(HERE,), tls=Tls(check_hostname=False))),
        ("unix:///run/s.sock?db=2", Address("unix", path="/run/s.sock", db=2)),
        ("unix://clerk:p@/run/a%20b.sock", Address("unix", path="/run/a b.sock", username="clerk", password="p")),
        ("redis+cluster://a,b:2?shards=4", Address("cluster", hosts=(("a", 6379), ("b", 2)), shards=4)),
        ("redis+cluster://a?tls=1", Address("cluster", hosts=(("a", 6379),), tls=Tls())),
        (
            "redis+sentinel://:p@a,b:2/mine/1?sentinel_password=q&tls=0",
            Address("sentinel", (("a", 26379), ("b", 2)), master="mine", db=1, password="p", sentinel_password="q"),
        ),
        (
            "redis://localhost?namespace=a.b&max_jobs=5&allow_eviction=1&allow_server=true",
            Address("tcp", (HERE,), namespace="a.b", max_jobs=5, allow_eviction=True, allow_server=True),
        ),
        ("redis://localhost?lease=1500ms", Address("tcp", (HERE,), lease_seconds=1.5)),
        ("redis://localhost?lease=60", Address("tcp", (HERE,), lease_seconds=60.0)),
    ],
)
def test_what_a_url_means(url: str, address: Address) -> None:
    assert parse(url, {}) == address
    assert pickle.loads(pickle.dumps(address)) == address


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("", "a URL of this executor begins with one of redis://"),
        ("http://h", "a URL of this executor begins with one of redis://"),
        ("redis+foo://h", "a URL of this executor begins with one of redis://"),
        ("redis:hush@h", "a URL of this executor begins with one of redis://"),
        ("redis:///0", "it names no host; write redis://localhost:6379"),
        ("redis://:6379", "it names no host"),
        ("redis://:hush@/0", "it names no host"),
        ("redis://a,b", "one host, please"),
        ("redis://h:x", "the port must be a number from 1 to 65535, not 'x'"),
        ("redis://h:0", "the port must be a number from 1 to 65535, not '0'"),
        ("redis://h:", "the port must be a number from 1 to 65535, not ''"),
        ("redis://h:65536", "the port must be"),
        ("redis://::1", "an IPv6 address stands in brackets"),
        ("redis://[::1", "it cannot be read as a URL"),
        ("redis://h/x", "the database must be a number, as in /0, not 'x'"),
        ("redis://h/-1", "the database must be a number"),
        ("redis://h/0/1", "the path '/0/1' must be the number of a database"),
        ("redis://h h", "'h h' is no name of a host"),
        ("redis://clerk@h", "a user needs a password"),
        ("redis://h?namespce=a", "no option is called 'namespce'; did you mean namespace?"),
        ("redis://h?colour=red", "no option is called 'colour'; there are namespace, shards"),
        ("redis://h?password=hush", "user and password stand before the host"),
        ("redis://h?namespace=a&namespace=b", "the option 'namespace' is given twice"),
        ("redis://h?namespace={a}", "namespace='{a}': character '{' U+007B"),
        ("redis://h?namespace=", "namespace='': is empty"),
        ("redis://h?max_jobs=none", "max_jobs='none': it must be a whole number"),
        ("redis://h?lease=5m", "lease='5m': it must be from 1 to 60 seconds"),
        ("redis://h?lease=long", "lease='long': cannot be read as a duration"),
        ("redis://h?allow_eviction=maybe", "allow_eviction='maybe': it must be 1 or 0"),
        ("redis://h?shards=2", "the option shards belongs to redis+cluster://"),
        ("redis://h?db=1", "the option db belongs to unix://"),
        ("redis://h?tls=1", "the option tls belongs to"),
        ("redis://h?sentinel_password=hush", "the option sentinel_password belongs to redis+sentinel://"),
        ("redis://h?ssl_cert_reqs=none", "ssl_cert_reqs has no meaning without TLS; say rediss://"),
        ("redis+cluster://h?ssl_cert_reqs=none", "ssl_cert_reqs has no meaning without TLS; say tls=1"),
        ("rediss://h?ssl_cert_reqs=optional", "it must be required or none"),
        ("rediss://h?ssl_ca_certs=/nowhere.pem", "there is no such file"),
        ("redis+cluster://h/1", "a cluster has only database 0, not 1"),
        ("redis+cluster://h?shards=17", "it must be a whole number from 1 to 16"),
        ("redis+cluster://h,h", "a host is named twice"),
        ("redis+sentinel://h", "it does not say which master"),
        ("redis+sentinel:///mine", "it names no host"),
        ("unix://run/s.sock", "three slashes"),
        ("unix:///", "three slashes"),
        ("redis://h#hush", "a # ends a URL; in a password write %23"),
        ("redis://:hu/sh@h", "in a password write %2F for /"),
        ("redis://:hu?sh@h", "in a password write %2F for /"),
        ("redis://:hu#sh@h", "in a password write %23"),
        ("redis://:hu[sh@h", "in a password write %5B for ["),
    ],
)
def test_what_is_said_of_a_url_that_means_nothing(url: str, told: str) -> None:
    with pytest.raises(UnknownExecutorError) as caught:
        parse(url, {})
    assert told in str(caught.value)
    assert "hu" not in str(caught.value)


def test_a_key_needs_a_certificate() -> None:
    _, key = certificate("localhost")
    with pytest.raises(UnknownExecutorError, match="ssl_keyfile needs ssl_certfile"):
        parse(f"rediss://h?ssl_keyfile={key}", {})


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        ({"REDIS_URL": "redis://:p@h:7/2"}, Address("tcp", (("h", 7),), db=2, password="p", namespace="n")),
        ({"REDIS_URL": "unix:///s.sock", "REDIS_HOST": "not"}, Address("unix", path="/s.sock", namespace="n")),
        ({"REDIS_HOST": "h"}, Address("tcp", (("h", 6379),), namespace="n")),
        ({"REDIS_HOST": "::1", "REDIS_PORT": "7"}, Address("tcp", (("::1", 7),), namespace="n")),
        (
            {"REDIS_HOST": "h", "REDIS_PASSWORD": "p:@/", "REDIS_TLS": "1"},
            Address("tcp", (("h", 6379),), password="p:@/", tls=Tls(), namespace="n"),
        ),
        ({"REDIS_HOST": "h", "REDIS_TLS": "false"}, Address("tcp", (("h", 6379),), namespace="n")),
    ],
)
def test_the_bare_url_reads_the_variables(variables: dict[str, str], address: Address) -> None:
    assert parse("redis://?namespace=n", variables) == address


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({}, "neither REDIS_URL nor REDIS_HOST is set"),
        ({"REDIS_PORT": "6379"}, "neither REDIS_URL nor REDIS_HOST is set"),
        ({"REDIS_URL": "redis://"}, "the variable REDIS_URL names no host itself"),
        ({"REDIS_URL": "redis://:hush@h:x"}, "(of the variable REDIS_URL)"),
        ({"REDIS_URL": "redis://h?namespace=m"}, None),
        ({"REDIS_HOST": "h", "REDIS_PORT": "x"}, "the variable REDIS_PORT must be a number"),
        ({"REDIS_HOST": "h", "REDIS_TLS": "maybe"}, "the variable REDIS_TLS must be 1 or 0"),
    ],
)
def test_what_is_said_of_variables_that_mean_nothing(variables: dict[str, str], told: str | None) -> None:
    if told is None:
        assert parse("redis://?namespace=n", variables).namespace == "n"  # what is said nearer counts
        return
    with pytest.raises(UnknownExecutorError) as caught:
        parse("redis://", variables)
    assert told in str(caught.value)
    assert "hush" not in str(caught.value)


def test_the_process_has_variables_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere")
    assert parse("redis://").hosts == (("elsewhere", 6379),)


@pytest.mark.parametrize(
    "url", ["redis://u:hush@h", "redis+sentinel://:hush@h/m?sentinel_password=hush", "rediss://:hush@h"]
)
def test_an_address_never_shows_a_password(url: str) -> None:
    address = parse(url, {})
    assert address.password == "hush"
    assert "hush" not in f"{address} {address!r}"
    assert "***@h" in str(address)


parts = st.text(st.sampled_from("redis:/@?#[]%&=,. \x00é0169"), max_size=12)


@given(
    st.sampled_from(["redis", "rediss", "unix", "redis+cluster", "redis+sentinel"]),
    parts,
    parts,
    st.sampled_from([*OPTIONS, "x"]),
    parts,
)
@example("redis", "", "", "namespace", "a")
def test_any_text_is_an_address_or_refused(scheme: str, first: str, second: str, option: str, value: str) -> None:
    try:
        address = parse(f"{scheme}://{first}:hush@{second}?{option}={value}", {})
    except UnknownExecutorError as error:
        told = str(error)
    else:
        told = f"{address} {address!r}"
    assert "hush" not in told

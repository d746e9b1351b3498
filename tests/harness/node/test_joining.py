"""Who may join, and over what."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trustme
from peer import Peer, Refused

from harness.errors import UsageError
from harness.node import Node, Operator

Join = Callable[..., Peer]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_tls_is_vouched_for_by_the_authority_of_the_run(
    node: Node, join: Join, pdid: str, host: str
) -> None:
    peer = join(node.url(host), pdid, node.enroll(pdid), ca_pem=node.ca_pem)
    assert peer.role == "device"


def test_tls_of_another_authority_is_refused(node: Node, join: Join, pdid: str) -> None:
    with pytest.raises(Refused, match=r"certificate verify failed|connection lost"):
        join(node.url(), pdid, node.enroll(pdid), ca_pem=trustme.CA().cert_pem.bytes())


def test_without_the_authority_tls_is_refused(node: Node, join: Join, pdid: str) -> None:
    with pytest.raises(Refused, match=r"certificate verify failed|connection lost"):
        join(node.url(), pdid, node.enroll(pdid))


def test_the_certificate_names_the_host_as_guests_see_it(node: Node) -> None:
    from cryptography import x509

    pem = (node.folder / "router.crt").read_bytes()
    names = x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    addresses = map(str, names.value.get_values_for_type(x509.IPAddress))
    assert set(addresses) == {"127.0.0.1", "10.0.3.2"}
    assert names.value.get_values_for_type(x509.DNSName) == ["localhost"]


def test_only_its_own_path_is_a_router(node: Node, join: Join, pdid: str) -> None:
    with pytest.raises(Refused):
        join(node.url(tls=False).removesuffix("ws") + "other", pdid, node.enroll(pdid))


def test_who_is_not_enrolled_is_refused(node: Node, join: Join) -> None:
    with pytest.raises(Refused, match=r"wamp\.error\.not_authorized"):
        join(node.url(tls=False), "nobody", "secret")


def test_a_wrong_token_is_refused(node: Node, join: Join, pdid: str) -> None:
    node.enroll(pdid)
    with pytest.raises(Refused, match=r"wamp\.error\.not_authorized"):
        join(node.url(tls=False), pdid, "wrong")


def test_the_token_of_another_device_is_refused(node: Node, join: Join, pdid: str) -> None:
    node.enroll(pdid)
    with pytest.raises(Refused, match=r"wamp\.error\.not_authorized"):
        join(node.url(tls=False), pdid, node.enroll(f"{pdid}-other"))


def test_nobody_joins_without_wamp_cra(node: Node, join: Join, pdid: str) -> None:
    node.enroll(pdid)
    with pytest.raises(Refused, match=r"wamp\.error\."):
        join(node.url(tls=False), pdid, "", method="anonymous")


def test_enrolling_again_voids_the_token_before(node: Node, join: Join, pdid: str) -> None:
    before, after = node.enroll(pdid), node.enroll(pdid)
    with pytest.raises(Refused):
        join(node.url(tls=False), pdid, before)
    join(node.url(tls=False), pdid, after)


def test_revoking_ends_the_live_session_and_refuses_the_next(
    node: Node, operator: Operator, join: Join, pdid: str
) -> None:
    token = node.enroll(pdid)
    peer = join(node.url(tls=False), pdid, token)
    node.revoke(pdid)
    assert peer.gone.wait(5)
    operator.wait_left(pdid, peer.id, timeout=5)
    with pytest.raises(Refused, match=r"wamp\.error\.not_authorized"):
        join(node.url(tls=False), pdid, token)


@pytest.mark.parametrize("name", ["", "a.b", "a b", "ü", "x" * 65, "a/b"])
def test_what_is_no_pdid_can_not_be_enrolled(node: Node, name: str) -> None:
    with pytest.raises(UsageError, match="can't be enrolled"):
        node.enroll(name)


def test_the_operator_is_not_up_for_enrolment(node: Node) -> None:
    with pytest.raises(UsageError, match="it is the operator"):
        node.enroll("operator")


def test_secrets_are_private_and_only_derived_keys_are_kept(node: Node, pdid: str) -> None:
    token = node.enroll(pdid)
    assert node.folder.stat().st_mode & 0o077 == 0
    for path in node.folder.iterdir():
        assert token.encode() not in path.read_bytes(), path
        if path.suffix in {".sqlite", ".key", ".priv"}:
            assert path.stat().st_mode & 0o077 == 0, path

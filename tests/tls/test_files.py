"""Files that do not do are found before anybody relies on them, and named."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from sidebeam.tls import PemFile, TlsError, read_authorities, read_key_pair


@pytest.fixture(scope="module")
def ours(authority):
    return authority("ours")


def pair(files, side="server"):
    certificate, key = files
    return read_key_pair(PemFile("tls.certificate", certificate), PemFile("tls.key", key), side)


def refusal(files, side="server"):
    with pytest.raises(TlsError) as caught:
        pair(files, side)
    return str(caught.value)


@pytest.mark.parametrize("side", ["server", "client"])
def test_a_good_pair_is_read_as_it_is(ours, side):
    certificate, key = ours.issue(f"good-{side}")
    read = pair((certificate, key), side)
    assert (read.certificate, read.key) == (certificate.read_bytes(), key.read_bytes())
    assert read.expires.endswith(" GMT")
    assert "PRIVATE" not in repr(read)


def test_a_chain_is_read_whole(ours):
    certificate, key = ours.issue("chained")
    certificate.write_bytes(certificate.read_bytes() + ours.pem.read_bytes())
    assert pair((certificate, key)).certificate.count(b"BEGIN CERTIFICATE") == 2


@pytest.mark.parametrize("side", ["server", "client"])
def test_an_expired_certificate_is_refused(ours, side):
    certificate, key = ours.issue(f"expired-{side}", days=-1)
    assert refusal((certificate, key), side) == f"tls.certificate {certificate}: certificate has expired"


def test_a_certificate_for_the_other_side_is_refused(ours):
    files = ours.issue("caller", usage=[ExtendedKeyUsageOID.CLIENT_AUTH])
    assert "purpose" in refusal(files, "server")
    assert pair(files, "client")


def test_a_key_of_another_certificate_is_refused(ours):
    certificate, _ = ours.issue("one")
    _, key = ours.issue("another")
    assert refusal((certificate, key)) == f"tls.key {key}: is not the key of tls.certificate {certificate}"


def test_an_encrypted_key_is_refused_without_asking_for_a_passphrase(ours, tmp_path):
    certificate, _ = ours.issue("open")
    locked = tmp_path / "locked.key"
    private = ec.generate_private_key(ec.SECP256R1())
    locked.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    assert refusal((certificate, locked)) == f"tls.key {locked}: is encrypted; a key without a passphrase is needed"


def test_files_that_hold_something_else_are_refused(ours, tmp_path):
    certificate, key = ours.issue("fine")
    junk = tmp_path / "junk.pem"
    junk.write_bytes(b"\x00\xff not PEM")
    cut = tmp_path / "cut.pem"
    cut.write_bytes(certificate.read_bytes()[:200])
    for wrong in (junk, cut, key):
        assert refusal((wrong, key)) == f"tls.certificate {wrong}: holds no certificate in PEM form"
    for wrong in (junk, certificate):
        assert refusal((certificate, wrong)) == f"tls.key {wrong}: holds no private key in PEM form"
    assert refusal((tmp_path / "none.pem", key)) == f"tls.certificate {tmp_path}/none.pem: No such file or directory"
    assert refusal((certificate, tmp_path)) == f"tls.key {tmp_path}: Is a directory"


def authorities(file: Path) -> bytes:
    return read_authorities(PemFile("tls.client_ca", file))


def test_authorities_are_read_and_others_refused(ours, authority, tmp_path):
    both = tmp_path / "both.pem"
    both.write_bytes(ours.pem.read_bytes() + authority("theirs").pem.read_bytes())
    assert authorities(both).count(b"BEGIN CERTIFICATE") == 2
    leaf, key = ours.issue("leaf")
    for wrong, reason in (
        (leaf, "holds no certificate of an authority; that of a server or client is none"),
        (key, "holds no certificate in PEM form"),
        (tmp_path / "none.pem", "No such file or directory"),
    ):
        with pytest.raises(TlsError) as caught:
            authorities(wrong)
        assert str(caught.value) == f"tls.client_ca {wrong}: {reason}"

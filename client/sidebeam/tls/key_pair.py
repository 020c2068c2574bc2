"""A certificate and its private key."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Literal

from sidebeam.tls.pem_file import PemFile

Side = Literal["server", "client"]
"""Whose certificate it is: one that is made for one side only does not do for the other."""

HEAD, FOOT = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
TURNS = 8  # more than any handshake takes


@dataclass(frozen=True, slots=True)
class KeyPair:
    """PEM. The certificate may be followed by those between it and its authority."""

    certificate: bytes
    key: bytes = field(repr=False)
    expires: str  # as OpenSSL writes it: Jun  1 12:00:00 2027 GMT


def read_key_pair(certificate: PemFile, key: PemFile, side: Side) -> KeyPair:
    """Read both and see that a peer would take them. Raises TlsError naming the file at fault."""
    read = certificate.read(), key.read()
    expires = _tried(certificate, key, _leaf(certificate, read[0]), side)
    if (certificate.read(), key.read()) != read:
        raise certificate.error("changed while it was read")
    return KeyPair(*read, expires)


def _tried(certificate: PemFile, key: PemFile, leaf: str, side: Side) -> str:
    """Shake hands with ourselves, in memory, as a peer that trusts just this certificate. Returns its last day."""
    ours = _loaded(ssl.SSLContext(_protocol(side)), certificate, key)
    peers = ssl.SSLContext(_protocol("client" if side == "server" else "server"))
    ours.check_hostname = peers.check_hostname = False
    ours.verify_mode, peers.verify_mode = ssl.CERT_NONE, ssl.CERT_REQUIRED
    peers.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        peers.load_verify_locations(cadata=leaf)
        if side == "client":  # the other side must have one as well
            _loaded(peers, certificate, key)
        peer = _shake_hands(ours, peers, side)
    except ssl.SSLCertVerificationError as error:
        raise certificate.error(error.verify_message) from error
    except ssl.SSLError as error:
        raise certificate.error(_words(error)) from error
    return str((peer.getpeercert() or {})["notAfter"])


def _loaded(context: ssl.SSLContext, certificate: PemFile, key: PemFile) -> ssl.SSLContext:
    def refuse() -> str:
        raise key.error("is encrypted; a key without a passphrase is needed")

    try:
        context.load_cert_chain(certificate.path, key.path, refuse)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise key.error(f"is not the key of {certificate}") from error
        if error.reason in ("EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK"):
            raise certificate.error(_words(error)) from error
        raise key.error("holds no private key in PEM form") from error
    return context


def _shake_hands(ours: ssl.SSLContext, peers: ssl.SSLContext, side: Side) -> ssl.SSLObject:
    """Returns the peer's end, which has seen our certificate. Raises SSLError."""
    to_us, to_peer = ssl.MemoryBIO(), ssl.MemoryBIO()
    us = ours.wrap_bio(to_us, to_peer, server_side=side == "server")
    peer = peers.wrap_bio(to_peer, to_us, server_side=side == "client")
    for _ in range(TURNS):
        done = 0
        for end in (us, peer):
            try:
                end.do_handshake()
                done += 1
            except ssl.SSLWantReadError:
                pass
        if done == 2:
            return peer
    raise ssl.SSLError("the handshake came to no end")


def _protocol(side: Side) -> int:
    return ssl.PROTOCOL_TLS_SERVER if side == "server" else ssl.PROTOCOL_TLS_CLIENT


def _leaf(certificate: PemFile, content: bytes) -> str:
    """The first certificate of the file, which is the one that is shown as ours."""
    text = content.decode("ascii", "replace")
    start, end = text.find(HEAD), text.find(FOOT)
    if not 0 <= start < end:
        raise certificate.error("holds no certificate in PEM form")
    return text[start : end + len(FOOT)] + "\n"


def _words(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).lower().replace("_", " ")

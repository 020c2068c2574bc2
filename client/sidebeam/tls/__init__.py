"""Certificates, keys and authorities from PEM files, judged before anybody relies on them. Nothing but `ssl`."""

from __future__ import annotations

from sidebeam.tls.authorities import read_authorities
from sidebeam.tls.error import TlsError
from sidebeam.tls.key_pair import KeyPair, Side, read_key_pair
from sidebeam.tls.pem_file import PemFile

__all__ = ["KeyPair", "PemFile", "Side", "TlsError", "read_authorities", "read_key_pair"]

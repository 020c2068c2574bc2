"""The authorities whose signature makes a peer's certificate good."""

from __future__ import annotations

import ssl
import time

from sidebeam.tls.pem_file import PemFile


def read_authorities(file: PemFile) -> bytes:
    """The file's PEM blocks. Raises TlsError if no authority among them is valid now."""
    content = file.read()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=content.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise file.error("holds no certificate in PEM form") from error
    authorities = context.get_ca_certs()
    if not authorities:
        raise file.error("holds no certificate of an authority; that of a server or client is none")
    ends = [str(each["notAfter"]) for each in authorities]
    if max(map(ssl.cert_time_to_seconds, ends)) < time.time():
        raise file.error(f"has expired on {max(ends, key=ssl.cert_time_to_seconds)}")
    return content

"""Who may come in, and how: TLS and tenants, kept as their files say."""

from __future__ import annotations

from pathlib import Path

import grpc
import structlog

from sidebeam.server.config.config import Config, TlsConfig
from sidebeam.server.lifecycle.reloads import Reloads
from sidebeam.server.security.identity import Identity
from sidebeam.server.security.kept_file import KeptFile
from sidebeam.server.security.tenants_file import Tenants, read_tenants
from sidebeam.tls import KeyPair, PemFile, TlsError, read_authorities, read_key_pair

LOCAL = ("127.", "localhost:", "[::1]:", "unix:")  # how addresses begin that nobody outside can listen in on


class Security:
    """Opening it reads every file that the settings name. Raises TlsError or TenantsError, which name the file.

    `credentials` are those of the public port, None for one without TLS; `kept` is what has to be looked at again.
    """

    def __init__(self, config: Config, reloads: Reloads) -> None:
        self._reloads = reloads
        self.kept: list[KeptFile[grpc.ServerCertificateConfiguration] | KeptFile[Tenants]] = []
        self.credentials = self._credentials(config.tls)
        tenants = self._tenants(config.tenants.file)
        self.identity = Identity(None if tenants is None else lambda: tenants.value)
        if tenants is not None and self.credentials is None and not config.server.listen.startswith(LOCAL):
            structlog.get_logger().warning("tokens_in_clear_text", listen=config.server.listen, without="tls")

    def _credentials(self, config: TlsConfig) -> grpc.ServerCredentials | None:
        if not config.certificate:
            for name in ("key", "client_ca"):
                if value := getattr(config, name):
                    raise TlsError(f"tls.{name} {value}: goes with tls.certificate, which is not set")
            return None
        if not config.key:
            raise TlsError(f"tls.certificate {config.certificate}: tls.key is not set")
        files = [Path(each) for each in (config.certificate, config.key, config.client_ca) if each]
        told = self._reloads.of("certificates")
        certificates = KeptFile("certificates", files, lambda: _read(config), told)
        self.kept.append(certificates)
        given = certificates.value

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            """Called by gRPC, in a thread of its own, before each handshake."""
            nonlocal given
            if certificates.value is given:
                return None
            given = certificates.value
            return given

        return grpc.dynamic_ssl_server_credentials(
            given,
            fetch,  # type: ignore[arg-type]  # None means no change; the stubs do not know
            require_client_authentication=bool(config.client_ca),
        )

    def _tenants(self, file: str) -> KeptFile[Tenants] | None:
        if not file:
            return None
        path = Path(file)
        kept = KeptFile("tenants", [path], lambda: read_tenants(path), self._reloads.of("tenants"))
        self.kept.append(kept)
        return kept


def _read(config: TlsConfig) -> grpc.ServerCertificateConfiguration:
    """Raises TlsError naming the setting and the file at fault."""
    pair: KeyPair = read_key_pair(_pem("certificate", config), _pem("key", config), "server")
    authorities = read_authorities(_pem("client_ca", config)) if config.client_ca else None
    structlog.get_logger().info("certificate_read", file=config.certificate, expires=pair.expires)
    return grpc.ssl_server_certificate_configuration([(pair.key, pair.certificate)], authorities)


def _pem(name: str, config: TlsConfig) -> PemFile:
    return PemFile(f"tls.{name}", Path(getattr(config, name)))

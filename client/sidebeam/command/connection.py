"""Where a sidecar is and how it is spoken to: the options of all subcommands that call one."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from sidebeam.client import AsyncClient
from sidebeam.tls import PemFile, TlsError, read_authorities, read_key_pair

ADDRESS = "127.0.0.1:50051"


class ConnectionOptionError(ValueError):
    """An option cannot be used; the message names it, and its file."""


@dataclass(frozen=True, slots=True)
class Connection:
    """What the options say. `credentials` None: no TLS; `token` empty: none is sent."""

    address: str
    credentials: grpc.ChannelCredentials | None = field(default=None, repr=False)
    token: str = field(default="", repr=False)
    channel_args: tuple[tuple[str, Any], ...] = ()

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What every call over a bare channel must carry."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()

    def client(self, timeout_s: float = 10.0) -> AsyncClient:
        """A client of the sidecar."""
        return AsyncClient(
            self.address,
            timeout_s=timeout_s,
            credentials=self.credentials,
            token=self.token,
            channel_args=self.channel_args,
        )

    def blocking_channel(self, channel_args: Sequence[tuple[str, Any]] = ()) -> grpc.Channel:
        """A bare channel to the sidecar, for code without an event loop. Calls need `metadata`."""
        options = (*self.channel_args, *channel_args)
        if self.credentials is None:
            return grpc.insecure_channel(self.address, options=options)
        return grpc.secure_channel(self.address, self.credentials, options=options)

    def channel(self, channel_args: Sequence[tuple[str, Any]] = ()) -> grpc.aio.Channel:
        """A bare channel to the sidecar. Calls need `metadata`."""
        options = (*self.channel_args, *channel_args)
        if self.credentials is None:
            return grpc.aio.insecure_channel(self.address, options=options)
        return grpc.aio.secure_channel(self.address, self.credentials, options=options)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--address", default=ADDRESS, metavar="HOST:PORT", help="default: %(default)s")
    secure = parser.add_argument_group("a sidecar with TLS or tenants")
    secure.add_argument("--tls-ca", type=Path, metavar="FILE", help="who has signed the sidecar's certificate")
    secure.add_argument("--tls-cert", type=Path, metavar="FILE", help="a client certificate, with --tls-key")
    secure.add_argument("--tls-key", type=Path, metavar="FILE", help="the client certificate's key")
    secure.add_argument("--tls-name", metavar="NAME", help="whom the sidecar's certificate names; default: its host")
    secure.add_argument("--token-file", type=Path, metavar="FILE", help="a tenant's token, alone in a file")


def connection(args: argparse.Namespace) -> Connection:
    """Read what the options name. Raises ConnectionOptionError."""
    channel_args: tuple[tuple[str, Any], ...] = ()
    if args.tls_name:
        channel_args = (("grpc.ssl_target_name_override", args.tls_name),)
    try:
        credentials = _credentials(args)
    except TlsError as error:
        raise ConnectionOptionError(str(error)) from error
    if args.tls_name and credentials is None:
        raise ConnectionOptionError("--tls-name goes with --tls-ca or --tls-cert")
    return Connection(args.address, credentials, _token(args.token_file), channel_args)


def _credentials(args: argparse.Namespace) -> grpc.ChannelCredentials | None:
    if bool(args.tls_cert) != bool(args.tls_key):
        raise ConnectionOptionError("--tls-cert and --tls-key go together")
    if not args.tls_ca and not args.tls_cert:
        return None
    authorities = read_authorities(PemFile("--tls-ca", args.tls_ca)) if args.tls_ca else None  # None: the public ones
    if not args.tls_cert:
        return grpc.ssl_channel_credentials(authorities)
    pair = read_key_pair(PemFile("--tls-cert", args.tls_cert), PemFile("--tls-key", args.tls_key), "client")
    return grpc.ssl_channel_credentials(authorities, pair.key, pair.certificate)


def _token(file: Path | None) -> str:
    if file is None:
        return ""
    try:
        token = file.read_text(encoding="ascii").strip()
    except OSError as error:
        raise ConnectionOptionError(f"--token-file {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConnectionOptionError(f"--token-file {file}: must hold nothing but ASCII characters") from error
    if not token or not token.isprintable() or " " in token:
        raise ConnectionOptionError(f"--token-file {file}: must hold one word, the token")
    return token

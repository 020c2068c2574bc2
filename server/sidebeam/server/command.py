"""`sidebeam serve`: run the sidecar on a bundle."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

from sidebeam.bundle import BundleError
from sidebeam.logs import FORMATS, LEVELS, configure
from sidebeam.server.config.config import Config
from sidebeam.server.config.config_sources import ConfigError, ConfigSource, Values, dump
from sidebeam.server.lifecycle.heap import keep_small

SUMMARY = "Serve a bundle over gRPC, with local or remote workers."

FLAGS = {
    "listen": ("server", "listen"),
    "tls_cert": ("tls", "certificate"),
    "tls_key": ("tls", "key"),
    "tls_client_ca": ("tls", "client_ca"),
    "tenants": ("tenants", "file"),
    "replicas": ("target", "replicas"),
    "draft": ("draft", "mode"),
    "pools": ("texts", "pools"),
    "log_format": ("log", "format"),
    "log_level": ("log", "level"),
    "metrics": ("telemetry", "listen"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments. Flags win over SIDEBEAM_SECTION__KEY, which wins over the file."""
    parser.add_argument("--bundle", type=Path, metavar="DIR", help="the bundle's folder")
    parser.add_argument("--listen", metavar="HOST:PORT", help="default: 127.0.0.1:50051; port 0 takes a free one")
    parser.add_argument("--tls-cert", metavar="FILE", help="serve with this certificate; default: without TLS")
    parser.add_argument("--tls-key", metavar="FILE", help="the certificate's key")
    parser.add_argument("--tls-client-ca", metavar="FILE", help="callers must show a certificate that it has signed")
    parser.add_argument("--tenants", metavar="FILE", help="who may call: tokens and certificates of each tenant")
    parser.add_argument("--replicas", type=int, metavar="N", help="target workers; default: 1")
    parser.add_argument("--draft", choices=("auto", "off"), help="default: auto")
    parser.add_argument("--pools", metavar="DIR", help="earlier texts to draft texts from; default: the bundle's")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings as TOML; see --print-config")
    parser.add_argument("--print-config", action="store_true", help="print the effective settings, and end")
    parser.add_argument("--metrics", metavar="HOST:PORT", help="serve Prometheus metrics there; default: nowhere")
    parser.add_argument("--log-format", choices=FORMATS, help="default: auto, console on a terminal, else json")
    parser.add_argument("--log-level", choices=LEVELS, help="default: info")


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM; SIGHUP has settings and catalog read again.

    Returns 0 after a clean drain, 1 after a failure, 2 for settings or a bundle at fault.
    """
    flags: Values = {key: getattr(args, flag) for flag, key in FLAGS.items() if getattr(args, flag) is not None}
    try:
        source = ConfigSource(args.config, dict(os.environ), flags)
        config = source.read()
    except ConfigError as error:
        for problem in error.problems:
            print(f"sidebeam serve: {problem}", file=sys.stderr)
        return 2
    if args.print_config:
        print(dump(config))
        return 0
    if args.bundle is None:
        print("sidebeam serve: --bundle DIR is required", file=sys.stderr)
        return 2
    return _serve(args.bundle, config, source)


def _serve(bundle: Path, config: Config, source: ConfigSource) -> int:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # whoever asks for a reload this early gets what is being read
    keep_small()
    # Read when gRPC loads: its own lines about sockets would stand beside ours.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from sidebeam.server.application import StartError, serve

    configure(config.log.format, config.log.level, "front")
    try:
        asyncio.run(serve(bundle, config, source))
    except BundleError as error:
        for problem in error.problems:
            print(f"sidebeam serve: {bundle}: {problem}", file=sys.stderr)
        return 2
    except StartError as error:
        print(f"sidebeam serve: {error}", file=sys.stderr)
        return error.code
    return 0

"""A sidecar that wants certificates gets them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidebeam.load.error import LoadError, Unanswered
from sidebeam.load.report import Report


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and certificates of a server on 127.0.0.1 and of a client."""
    folder = tmp_path_factory.mktemp("certificates")
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl(folder, "req", "-x509", *new, "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.crt")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1")
    for name in ("server", "client"):
        openssl(folder, "req", *new, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        signing = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names")
        openssl(folder, "x509", "-req", "-in", f"{name}.csr", *signing, "-out", f"{name}.crt")
    return folder


def test_mutual_tls(
    certificates: Path,
    load: Callable[..., Report],
    stalling: Callable[..., Any],
    mix_file: Callable[..., Path],
) -> None:
    ca, own = ("--tls-ca", str(certificates / "ca.crt")), ("--tls-cert", str(certificates / "client.crt"))
    key = ("--tls-key", str(certificates / "client.key"))
    with stalling("-1", "0", str(certificates)) as address:
        common = ("--address", address, "--mix", str(mix_file("delay 1")), "--rate", "20", "--duration-s", "1")
        (summary,) = load(*common, *ca, *own, *key, "--warm-up-s", "0").summaries
        assert summary.answered == summary.arrivals > 0
        with pytest.raises(Unanswered, match=r"within 5 s, or one side refuses the other's certificate"):
            load(*common, *ca)
        with pytest.raises(LoadError, match=r"--tls-ca .*client\.csr"):
            load(*common, "--tls-ca", str(certificates / "client.csr"))

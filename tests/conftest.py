"""What tests of several packages share: a bundle that is tiny, random and real."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LEVELS = "abcd"
CODES = 6  # tokens of each level
ITEMS = 60
SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_configure() -> None:
    """Of several test processes each has a core of its own, and so have the sidecars that it starts.

    Two busy torch processes with two threads each on two cores wait for one another at every step.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is not None:
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Compiled catalogs of test bundles must not fill the user's cache."""
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """A shell that starts the tests in the background ignores SIGINT, and their child processes would, too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-layer target, a one-layer draft and 60 items "i0".."i59", of which the last four share others' SIDs."""
    root = tmp_path_factory.mktemp("tiny")
    tokens = ["<pad>", "<s>", "</s>", *(f"<{level}_{code}>" for level in LEVELS for code in range(CODES))]
    _save_tokenizer(root / "target", tokens)
    _save_model(root / "target", len(tokens), layers=2, seed=1)
    _save_model(root / "draft", len(tokens), layers=1, seed=2)
    (root / "items.json").write_text(json.dumps(_sids()))
    (root / "sidebeam.toml").write_text(
        '[target]\npath = "target"\n[draft]\npath = "draft"\n[catalog]\nitems = "items.json"\n'
        '[prompt]\ntemplate = "{history}"\nitem_separator = ""\nmax_history = 8\n'
        "[defaults]\ntop_k = 5\ndraft_beams = 12\n"
    )
    return root


class Authority:
    """Signs certificates; all its files are in one folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        authority = x509.BasicConstraints(ca=True, path_length=None)
        self.pem = folder / f"{name}.pem"
        self._write(self.pem, self._signed(self._name, self._key.public_key(), timedelta(days=2), [authority]))

    def issue(
        self,
        name: str,
        alternatives: Sequence[str] = (),
        days: float = 1,
        usage: Sequence[x509.ObjectIdentifier] = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH),
    ) -> tuple[Path, Path]:
        """Files of a new certificate and its key. `alternatives` are addresses, URIs or else DNS names."""
        key = ec.generate_private_key(ec.SECP256R1())
        extensions: list[x509.ExtensionType] = [x509.ExtendedKeyUsage(usage)]
        if alternatives:
            extensions.append(x509.SubjectAlternativeName([_general_name(each) for each in alternatives]))
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate, private = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        self._write(certificate, self._signed(subject, key.public_key(), timedelta(days=days), extensions))
        private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return certificate, private

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, life: timedelta, extensions: list[x509.ExtensionType]
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(self._name, subject, key, x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=7)).not_valid_after(now + life)
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self._key, SHA256())

    def _write(self, file: Path, certificate: x509.Certificate) -> None:
        file.write_bytes(certificate.public_bytes(Encoding.PEM))


def _general_name(text: str) -> x509.GeneralName:
    if "://" in text:
        return x509.UniformResourceIdentifier(text)
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        return x509.DNSName(text)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Authority]:
    """Makes an authority of that name, whose certificates are real and no older than the tests."""
    return lambda name: Authority(tmp_path_factory.mktemp(name), name)


@pytest.fixture(scope="session")
def beauty() -> Path:
    """The bundle trained on Amazon Beauty, where it lies beside the project; elsewhere its tests are skipped."""
    folder = SHARED / "bundles" / "beauty"
    if not folder.is_dir():
        pytest.skip("the Beauty bundle is not beside the project")
    return folder


@pytest.fixture(scope="session")
def histories(beauty: Path) -> list[list[str]]:
    """Item ids of every Beauty user that has test items, oldest first."""
    from sidebeam.evaluation.recommend_bench import read_histories

    return read_histories(SHARED / "data" / "beauty" / "interactions.jsonl", 1)


def _sids() -> dict[str, list[str]]:
    import numpy as np

    random = np.random.default_rng(7)
    distinct = ITEMS - 4
    numbers = random.choice(CODES ** len(LEVELS), distinct, replace=False)
    codes = np.stack(np.unravel_index(numbers, (CODES,) * len(LEVELS)), axis=1)
    codes = np.concatenate([codes, codes[[3, 3, 17, 40]]])
    return {
        f"i{item}": [f"<{level}_{code}>" for level, code in zip(LEVELS, row, strict=True)]
        for item, row in enumerate(codes.tolist())
    }


def _save_tokenizer(folder: Path, tokens: list[str]) -> None:
    from tokenizers import AddedToken, Regex, Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Split
    from tokenizers.processors import TemplateProcessing

    folder.mkdir()
    tokenizer = Tokenizer(WordLevel({token: i for i, token in enumerate(tokens)}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = Split(Regex(r"<[a-d]_\d+>"), behavior="isolated")
    tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in tokens[:3]])
    tokenizer.save(str(folder / "tokenizer.json"))


def _save_model(folder: Path, vocab_size: int, layers: int, seed: int) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        initializer_range=0.4,  # log-probs far apart, so that no ranking hangs on rounding
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)

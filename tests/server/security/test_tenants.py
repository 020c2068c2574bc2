"""The tenants file: what it may say, and what is said about one that is wrong."""

from __future__ import annotations

import hashlib

import pytest

from sidebeam.server.security.kept_file import KeptFile
from sidebeam.server.security.tenant import Tenant
from sidebeam.server.security.tenants_file import TenantsError, read_tenants


def hashed(token):
    return "sha256:" + hashlib.sha256(token.encode()).hexdigest()


@pytest.fixture
def write(tmp_path):
    def write(text):
        file = tmp_path / "tenants.toml"
        file.write_text(text)
        return file

    return write


def problem(file):
    with pytest.raises(TenantsError) as caught:
        read_tenants(file)
    head = f"tenants.file {file}: "
    assert str(caught.value).startswith(head)
    return str(caught.value).removeprefix(head)


def test_tenants_are_told_by_tokens_and_certificates(write):
    tenants = read_tenants(
        write(
            f'[shop-a]\ntokens = ["{hashed("one")}", "{hashed("two")}"]\n'
            f'[shop-b]\ntokens = ["{hashed("three")}"]\ncertificates = ["b.example", "spiffe://x/b"]\n'
        )
    )
    assert [tenants.of_token(token) for token in ("one", "two", "three")] == [*[Tenant("shop-a")] * 2, Tenant("shop-b")]
    assert tenants.of_token(hashed("one")) is None
    assert tenants.of_token("") is None
    assert tenants.of_certificate(["c.example", "spiffe://x/b"]) == {Tenant("shop-b")}
    assert tenants.of_certificate(["B.example"]) == set()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no tenant"),
        ("[a", "Expected ']' at the end of a table declaration (at end of document)"),
        ("[a]\n", "[a] has neither tokens nor certificates: nobody can be it"),
        ("[a]\ntokens = []\n", "[a] has neither tokens nor certificates: nobody can be it"),
        ('[a]\ntoken = ["x"]\n', "unknown key a.token; did you mean 'tokens'?"),
        ("[a]\ncertificates = 3\n", "a.certificates must be a list of texts"),
        ('[a]\ncertificates = [""]\n', "a.certificates must be a list of texts"),
        ('["a b"]\ntokens = []\n', "a tenant's name must be 1 to 64 letters, digits and . _ : / @ -, beginning with a"),
        ('tokens = "plain"\n', "[tokens] must be a section; given a str"),
    ],
)
def test_what_is_wrong_is_named(write, text, said):
    assert problem(write(text)).startswith(said)


def test_a_token_in_the_clear_is_refused_and_not_repeated(write):
    said = problem(write('[a]\ntokens = ["hunter2hunter2"]\n'))
    assert said == "a.tokens[0] must be 'sha256:' and 64 hexadecimal digits, never the token itself"


def test_what_two_tenants_claim_is_nobodys(write):
    one = hashed("one")
    said = problem(
        write(
            f'[a]\ntokens = ["{one}"]\ncertificates = ["x"]\n[b]\ntokens = ["{one}"]\ncertificates = ["y", "x"]\n[c]\n'
        )
    )
    assert said.split("; ") == [
        "b.tokens[0] is also one of a's: it must be one tenant's alone",
        "b.certificates[1] is also one of a's: it must be one tenant's alone",
        "[c] has neither tokens nor certificates: nobody can be it",
    ]


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    assert problem(tmp_path / "none.toml") == "No such file or directory"
    assert problem(tmp_path) == "Is a directory"


def test_a_file_that_turns_bad_changes_nothing_until_it_is_good_again(write):
    told = []
    file = write('[a]\ncertificates = ["a"]\n')
    kept = KeptFile("tenants", [file], lambda: read_tenants(file), told.append)
    first = kept.value
    kept.look()
    assert kept.value is first
    for bad in ("[a", ""):
        write(bad)
        kept.look()
        assert kept.value is first
    file.unlink()
    kept.look()
    assert kept.value is first
    write('[b]\ncertificates = ["b"]\n')
    kept.look()
    assert set(kept.value.by_certificate) == {"b"}
    assert told == ["refused", "refused", "refused", "taken"]

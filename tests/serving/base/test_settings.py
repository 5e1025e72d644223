"""Settings come from the environment, and what cannot be used is reported with its variable, value and meaning."""

from pathlib import Path

import pytest

from serving.base.settings import Settings, SettingsError, load_settings, renamed_variables, unknown_variables
from serving.http.server import check_tls


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"ROCKBANK_{name.upper()}", raising=False)


def test_a_certificate_and_its_key_go_together_and_are_read_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="set both, or none"):
        load_settings(tls_cert_file=tmp_path / "cert.pem")
    with pytest.raises(SettingsError, match=r"ROCKBANK_TLS_CERT_FILE .*they cannot be used"):
        check_tls(load_settings(tls_cert_file=tmp_path / "cert.pem", tls_key_file=tmp_path / "key.pem"))


def test_without_any_both_champions_are_served_on_this_machine_alone() -> None:
    settings = load_settings()
    assert settings.models == ("shale@champion", "channels@champion")
    assert settings.names == ("shale", "channels")
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)


def test_the_environment_is_read_and_a_keyword_takes_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROCKBANK_PORT", "9000")
    monkeypatch.setenv("ROCKBANK_MODELS", "shale@candidate, channels")
    monkeypatch.setenv("ROCKBANK_REQUIRE_GPU", "true")
    monkeypatch.setenv("ROCKBANK_KEYS_FILE", "keys.txt")
    settings = load_settings(port=9001, host=None)
    assert settings.port == 9001
    assert settings.host == "127.0.0.1"
    assert settings.models == ("shale@candidate", "channels@champion")
    assert settings.require_gpu
    assert settings.keys_file == Path("keys.txt")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("PORT", "-1", "greater than or equal to 0, got '-1'"),
        ("PORT", "eighty", "valid integer"),
        ("MODELS", "", "such as shale@champion"),
        ("MODELS", "shale/3", "by an alias"),
        ("MODELS", "../../etc@champion", "by an alias"),
        ("MODELS", "shale,shale@candidate", "each model once"),
        ("CANARY_WEIGHT", "1.5", "less than or equal to 1"),
        ("POLL_SECONDS", "0", "greater than 0"),
        ("LOG_LEVEL", "LOUD", "debug, info, warning or error"),
        ("MAX_QUEUE", "4", "less than max_batch 16"),
    ],
)
def test_what_cannot_be_used_is_reported_with_its_variable(
    name: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"ROCKBANK_{name}", value)
    with pytest.raises(SettingsError, match=message):
        load_settings()


def test_a_secret_is_reported_neither_in_an_error_nor_in_the_settings_themselves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ROCKBANK_WEBHOOK_SECRET", "open sesame")
    assert "sesame" not in repr(load_settings())
    with pytest.raises(SettingsError) as caught:
        load_settings(webhook_secret=["sesame"])
    assert "sesame" not in str(caught.value)


def test_a_misspelt_variable_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROCKBANK_PROT", "9000")
    monkeypatch.setenv("ROCKBANK_URL", "http://elsewhere")
    assert unknown_variables() == ["ROCKBANK_PROT"]


def test_every_setting_says_what_it_is() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_an_old_name_is_read_and_the_new_one_takes_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROCKBANK_NOTICE_SECONDS", "3")
    assert load_settings().shutdown_delay_seconds == 3.0
    assert load_settings(shutdown_delay_seconds=0).shutdown_delay_seconds == 0.0
    assert renamed_variables() == {"ROCKBANK_NOTICE_SECONDS": "ROCKBANK_SHUTDOWN_DELAY_SECONDS"}
    assert unknown_variables() == []
    monkeypatch.setenv("ROCKBANK_SHUTDOWN_DELAY_SECONDS", "4")
    assert load_settings().shutdown_delay_seconds == 4.0

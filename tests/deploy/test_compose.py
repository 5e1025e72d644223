"""deploy/compose.yaml fits its schema, names files and settings that there are, and is open to this machine alone."""

import ast
import json
import re
from importlib.resources import files
from typing import Any

import pytest
import yaml

from serving.base.settings import PREFIX, Settings
from tests.deploy.queries import DEPLOY

COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]


def test_it_fits_the_schema_of_compose() -> None:
    # Here, since it compiles grammars for three seconds as it is imported.
    import jsonschema

    schema = files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    jsonschema.validate(COMPOSE, json.loads(schema.read_text()))


def test_its_files_are_there_and_its_names_are_known() -> None:
    for service in SERVICES.values():
        assert set(service.get("depends_on", ())) <= set(SERVICES)
        assert {each["source"] for each in service.get("configs", ())} <= set(COMPOSE["configs"])
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert source in COMPOSE["volumes"] or (DEPLOY / source).exists()
        if "build" in service:
            assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()


def test_images_are_pinned_ports_are_local_and_secrets_have_no_default() -> None:
    for service in SERVICES.values():
        assert "build" in service or re.search(r":v?\d[\w.-]*$", service["image"])
        assert all(each.startswith("127.0.0.1:") for each in service.get("ports", ()))
        for name, value in service.get("environment", {}).items():
            assert not re.search("PASSWORD|SECRET", name) or re.fullmatch(r"\$\{\w+:\?.*\}", value)


def test_the_service_is_configured_by_settings_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SERVICES["service"]["environment"].items():
        monkeypatch.setenv(name, value)
    settings = Settings()  # type: ignore[call-arg]
    named = {name.removeprefix(PREFIX).lower() for name in SERVICES["service"]["environment"]}
    assert named == settings.model_fields_set
    assert settings.trusted_hosts == ("service",)
    stopping = settings.shutdown_delay_seconds + settings.drain_seconds
    assert stopping < float(SERVICES["service"]["stop_grace_period"].removesuffix("s"))


def test_mlflow_waits_for_its_bucket_and_has_the_same_access_to_the_store() -> None:
    mlflow, bucket = SERVICES["mlflow"], SERVICES["bucket"]
    (artifacts,) = [each for each in mlflow["command"] if each.startswith("--artifacts-destination=")]
    name = artifacts.removeprefix("--artifacts-destination=s3://")
    (script,) = bucket["command"]
    assert ast.dump(ast.parse(f"store.create_bucket(Bucket={name!r})").body[0]) in ast.dump(ast.parse(script))
    assert mlflow["depends_on"]["bucket"] == {"condition": "service_completed_successfully"}
    assert bucket["environment"].items() <= mlflow["environment"].items()


def test_prometheus_scrapes_the_service_by_a_name_that_it_trusts() -> None:
    (job,) = yaml.safe_load(COMPOSE["configs"]["prometheus"]["content"])["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["service:8000"]}]

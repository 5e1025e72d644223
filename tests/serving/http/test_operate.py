"""What operators use: metrics, the signed webhook, rollback, the command that serves, traces."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from mlflow.webhooks.delivery import _generate_hmac_signature
from typer.testing import CliRunner

from rockbank.cli.main import app
from rockbank.mlops import registry
from serving.run import about
from tests.serving.conftest import Serve
from tests.serving.processes import read_metrics

SECRET = "open sesame"
HOOK = "/webhooks/registry"
PATH = "/v2/models/shale/generate"


def signed(body: bytes, moment: int, secret: str = SECRET) -> dict[str, str]:
    """The headers of MLflow's own delivery."""
    signature = _generate_hmac_signature(secret, "delivery-1", str(moment), body.decode())
    return {
        "X-MLflow-Signature": signature,
        "X-MLflow-Delivery-Id": "delivery-1",
        "X-MLflow-Timestamp": str(moment),
        "Content-Type": "application/json",
    }


async def test_a_signed_webhook_has_the_alias_read_at_once(shale: Path, serve: Serve) -> None:
    body = json.dumps({"entity": "model_version_alias", "action": "created"}).encode()
    async with serve(webhook_secret=SECRET) as running:
        registry.set_alias("shale", registry.CHAMPION, "2")
        response = await running.client.post(HOOK, content=body, headers=signed(body, int(time.time())))
        assert response.status_code == 202
        async with asyncio.timeout(30):
            while running.service.models.find("shale").version != "2":
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("wrong", ["secret", "body", "old", "future", "none", "no moment"])
async def test_a_webhook_whose_signature_does_not_hold_does_nothing(shale: Path, serve: Serve, wrong: str) -> None:
    body, now = b'{"action": "created"}', int(time.time())
    headers = signed(body, {"old": now - 3600, "future": now + 3600}.get(wrong, now))
    if wrong == "secret":
        headers = signed(body, now, "guess")
    if wrong == "none":
        headers = {}
    if wrong == "no moment":
        digest = hmac.new(SECRET.encode(), b"delivery-1.." + body, hashlib.sha256).digest()
        headers |= {"X-MLflow-Timestamp": "", "X-MLflow-Signature": "v1," + base64.b64encode(digest).decode()}
    async with serve(webhook_secret=SECRET) as running:
        polled: list[bool] = []
        running.service.follower.poll_now = lambda: polled.append(True)  # type: ignore[method-assign]
        response = await running.client.post(HOOK, content=body + (b" " if wrong == "body" else b""), headers=headers)
        assert response.status_code == 403
        assert "signature" in response.json()["error"]
        assert polled == []


async def test_a_service_whose_clock_jumps_refuses_webhooks_and_follows_the_registry_by_itself(
    shale: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    body, clock = b'{"action": "created"}', time.time
    async with serve(webhook_secret=SECRET, poll_seconds=0.2) as running:
        monkeypatch.setattr("serving.http.routes.operate.time.time", lambda: clock() + 3600)
        registry.set_alias("shale", registry.CHAMPION, "2")
        refused = await running.client.post(HOOK, content=body, headers=signed(body, int(clock())))
        assert refused.status_code == 403
        assert "with a right clock" in refused.json()["error"]
        async with asyncio.timeout(30):
            while running.service.models.find("shale").version != "2":
                await asyncio.sleep(0.02)


async def test_a_poll_can_be_requested(shale: Path, serve: Serve) -> None:
    async with serve() as running:
        registry.set_alias("shale", registry.CHAMPION, "2")
        assert (await running.client.post("/v2/repository/poll")).status_code == 202
        async with asyncio.timeout(30):
            while running.service.models.find("shale").version != "2":
                await asyncio.sleep(0.02)


async def test_a_webhook_is_not_read_without_end_before_its_signature(shale: Path, serve: Serve) -> None:
    async with serve(webhook_secret=SECRET) as running:
        response = await running.client.post(HOOK, content=bytes(300_000))
        assert response.status_code == 413
        assert "send at most 262144" in response.json()["error"]


async def test_a_page_from_elsewhere_rolls_nothing_back_on_an_open_service(shale: Path, serve: Serve) -> None:
    async with serve() as running:
        registry.set_alias("shale", registry.CHAMPION, "2")
        await running.service.follower._guarded(running.service.models.slot("shale"))
        rollback = "/v2/models/shale/rollback"
        for origin in ("https://elsewhere.example", "null", "http://[::1"):
            response = await running.client.post(rollback, headers={"Origin": origin})
            assert response.status_code == 403
        assert running.service.models.find("shale").version == "2"
        response = await running.client.post(rollback, headers={"Origin": "http://service"})
        assert response.json()["version"] == "1"


async def test_requests_are_counted_by_their_route_and_never_by_what_a_client_makes_up(
    shale: Path, serve: Serve
) -> None:
    async with serve() as running:
        await running.client.post(PATH, json={"n": 20, "seed": 7})
        await running.client.post("/v2/models/granite/generate")
        for made_up in ("/a", "/b/c"):
            await running.client.get(made_up)
        await running.client.request("BREW", PATH)
        metrics = read_metrics((await running.client.get("/metrics")).text)
    counted = {key: value for key, value in metrics.items() if key.startswith("rockbank_requests_total")}
    route = "route=/v2/models/{name}/generate"
    assert counted[f"rockbank_requests_total{{method=POST,{route},status=200}}"] == 1
    assert counted[f"rockbank_requests_total{{method=POST,{route},status=404}}"] == 1
    assert counted[f"rockbank_requests_total{{method=other,{route},status=405}}"] == 1
    assert counted["rockbank_requests_total{method=GET,route=unmatched,status=404}"] == 2
    assert metrics["rockbank_samples_total{model=shale,route=current,version=1}"] == 20
    assert metrics["rockbank_request_seconds_count{route=/v2/models/{name}/generate}"] == 3
    assert metrics["rockbank_encode_seconds_count"] >= 2
    assert metrics["rockbank_alias_age_seconds{model=shale}"] > 0
    assert metrics["rockbank_provider_info{model=shale,provider=CPUExecutionProvider,version=1}"] == 1


async def test_an_error_that_nobody_foresaw_is_reported_without_its_inside(
    shale: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    async with serve() as running:

        def fails(latents: Any) -> Any:
            raise RuntimeError("inside")

        monkeypatch.setattr(running.service.models.find("shale").generator, "run", fails)
        response = await running.client.post(PATH, json={"n": 1}, headers={"X-Request-Id": "mine-9"})
        assert response.status_code == 500
        assert "inside" not in response.text
        assert response.json()["request_id"] == "mine-9"
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "mine-9" in line]
    assert "RuntimeError: inside" in json.loads(line)["traceback"]


async def test_a_service_over_its_queue_answers_429_and_recovers(
    shale: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(max_queue=16) as running:
        generator = running.service.models.find("shale").generator
        gate, right = threading.Event(), generator.run
        monkeypatch.setattr(generator, "run", lambda latents: (gate.wait(30), right(latents))[1])
        tasks = [asyncio.create_task(running.client.post(PATH, json={"n": 4})) for _ in range(30)]
        async with asyncio.timeout(30):
            while sum(task.done() for task in tasks) < 21:
                await asyncio.sleep(0.01)
        gate.set()
        responses = await asyncio.gather(*tasks)
        refused = [response for response in responses if response.status_code == 429]
        assert {response.status_code for response in responses} == {200, 429}
        assert all(int(response.headers["retry-after"]) >= 1 for response in refused)
        # One computed, four in the full batch that goes next, four in the queue.
        assert len(refused) == 21
        assert (await running.client.post(PATH, json={"n": 4})).status_code == 200


async def test_only_the_first_block_of_an_answer_is_refused_by_a_full_queue(
    shale: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve() as running:
        batcher = running.service.models.find("shale").batcher
        right, begun = batcher.submit, []

        def submit(latents: Any, deadline: float, *, is_begun: bool = False, **how: Any) -> Any:
            begun.append(is_begun)
            return right(latents, deadline, is_begun=is_begun, **how)

        monkeypatch.setattr(batcher, "submit", submit)
        assert (await running.client.post(PATH, json={"n": 40, "seed": 7})).status_code == 200
        assert begun == [False, True, True]


async def test_a_deadline_is_504(shale: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve(deadline_seconds=0.1) as running:
        generator = running.service.models.find("shale").generator
        gate, right = threading.Event(), generator.run
        monkeypatch.setattr(generator, "run", lambda latents: (gate.wait(30), right(latents))[1])
        response = await running.client.post(PATH, json={"n": 4})
        gate.set()
        assert response.status_code == 504
        assert "ask for less" in response.json()["error"]
        value = running.service.metrics.registry.get_sample_value
        assert value("rockbank_rejections_total", {"reason": "deadline"}) == 1


async def test_only_the_services_own_deadline_is_a_failure_of_the_version(
    shale: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    latents = {"inputs": [{"name": "latent", "shape": [1, 4], "datatype": "FP32", "data": [0.0] * 4}]}
    async with serve(deadline_seconds=0.2) as running:
        served = running.service.models.find("shale")
        gate, right = threading.Event(), served.generator.run
        monkeypatch.setattr(served.generator, "run", lambda given: (gate.wait(30), right(given))[1])
        for microseconds, status, counted in ((1, 408, (0, 0)), (10**6, 504, (1, 1))):
            body = latents | {"parameters": {"timeout": microseconds}}
            response = await running.client.post("/v2/models/shale/infer", json=body)
            assert response.status_code == status
            assert "not ready in time" in response.json()["error"]
            assert (served.outcomes.n, served.outcomes.n_failed) == counted
        gate.set()


async def test_the_command_tells_what_it_serves(shale: Path, serve: Serve) -> None:
    async with serve(models="shale,channels") as running:
        lines = about(running.service)
    assert lines[0] == "shale@champion: version 1, tiny"
    assert lines[1].startswith("channels@champion: nothing yet: ")


def test_the_command_serves_with_its_options_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    served = []
    monkeypatch.setattr("serving.run.run", lambda settings, says: served.append(settings))
    monkeypatch.setenv("ROCKBANK_PORT", "9000")
    monkeypatch.setenv("ROCKBANK_HOST", "::1")
    result = CliRunner().invoke(app, ["serve", "--port", "9001", "--models", "shale"], catch_exceptions=False)
    assert result.exit_code == 0
    assert (served[0].port, served[0].host, served[0].models) == (9001, "::1", ("shale@champion",))


async def test_a_request_leaves_a_trace_and_a_probe_none(
    shale: Path, serve: Serve, collector: tuple[str, list[bytes]]
) -> None:
    endpoint, received = collector
    async with serve(traces_endpoint=endpoint) as running:
        assert (await running.client.post(PATH, json={"n": 2})).status_code == 200
        await running.client.get("/v2/health/live")
        accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
        exposed = await running.client.get("/metrics", headers=accept)
    assert exposed.headers["content-type"].startswith("application/openmetrics-text")
    # The slowest bucket that has the request names its trace.
    assert re.search(r'request_seconds_bucket.*generate.*# {trace_id="[0-9a-f]{32}"}', exposed.text)
    sent = b"".join(received)
    # The parts of its time.
    assert all(part in sent for part in (b"queue", b"compute", b"encode"))
    assert b"POST /v2/models/{name}/generate" in sent
    assert b"health" not in sent


async def test_a_line_of_the_log_names_the_trace_that_the_client_began(
    shale: Path, serve: Serve, collector: tuple[str, list[bytes]], capfd: pytest.CaptureFixture[str]
) -> None:
    async with serve(traces_endpoint=collector[0], log_level="INFO") as running:
        for mark, flags in (("sampled-1", "01"), ("left-out-1", "00")):
            headers = {"X-Request-Id": mark, "traceparent": f"00-{'ab' * 16}-{'cd' * 8}-{flags}"}
            assert (await running.client.post(PATH, json={"n": 2}, headers=headers)).status_code == 200
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    traces = {line["request_id"]: line.get("trace_id") for line in lines if "milliseconds" in line}
    assert traces == {"sampled-1": "ab" * 16, "left-out-1": None}


async def test_the_document_names_how_a_key_is_sent_and_which_paths_want_one(shale: Path, serve: Serve) -> None:
    async with serve() as running:
        document = (await running.client.get("/openapi.json")).json()
    assert document["components"]["securitySchemes"] == {
        "bearer": {"type": "http", "scheme": "bearer"},
        "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    paths = document["paths"]
    assert paths["/v2/models/{name}/generate"]["post"]["security"] == [{"bearer": []}, {"key": []}]
    for path in ("/v2/health/live", "/v2/health/ready"):
        assert "security" not in paths[path]["get"]

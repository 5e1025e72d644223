"""Triton's extensions, as tritonclient reads them."""

from pathlib import Path

from tests.serving.conftest import Serve


async def test_a_models_configuration_says_what_its_tensors_and_batches_are(shale: Path, serve: Serve) -> None:
    async with serve(max_n=64) as running:
        config = (await running.client.get("/v2/models/shale/config")).json()
        assert (await running.client.get("/v2/models/shale/versions/1/config")).json() == config
        assert (await running.client.get("/v2/models/rock/config")).status_code == 404
    assert config["input"] == [{"name": "latent", "data_type": "TYPE_FP32", "dims": [4]}]
    assert config["output"] == [{"name": "image", "data_type": "TYPE_FP32", "dims": [1, 16, 16]}]
    assert (config["max_batch_size"], config["dynamic_batching"]["preferred_batch_size"][-1]) == (64, 16)


async def test_statistics_count_samples_batches_and_requests(shale: Path, serve: Serve) -> None:
    async with serve() as running:
        before = (await running.client.get("/v2/models/shale/stats")).json()["model_stats"][0]
        for n in (1, 1, 16):
            assert (await running.client.post("/v2/models/shale/generate", json={"n": n})).status_code == 200
        (of,) = (await running.client.get("/v2/models/shale/stats")).json()["model_stats"]
        everything = (await running.client.get("/v2/models/stats")).json()
    assert (before["inference_count"], before["last_inference"]) == (0, 0)
    assert everything == {"model_stats": [of]}
    assert (of["version"], of["inference_count"], of["execution_count"]) == ("1", 18, 3)
    assert [(each["batch_size"], each["compute_infer"]["count"]) for each in of["batch_stats"]] == [(1, 2), (16, 1)]
    stats = of["inference_stats"]
    # Of requests, whatever the batches: perf_analyzer ends where they differ.
    counts = {name: each["count"] for name, each in stats.items()}
    of_requests = ("success", "queue", "compute_input", "compute_infer", "compute_output")
    assert counts == dict.fromkeys(of_requests, 3) | {"fail": 0, "cache_hit": 0, "cache_miss": 0}
    assert stats["success"]["ns"] >= stats["compute_infer"]["ns"] > 0


async def test_the_index_lists_what_is_loaded_and_why_the_rest_is_not(shale: Path, serve: Serve) -> None:
    async with serve(models="shale,channels") as running:
        index = (await running.client.post("/v2/repository/index")).json()
        ready = (await running.client.post("/v2/repository/index", json={"ready": True})).json()
        assert (await running.client.post("/v2/repository/index", json={"redy": True})).status_code == 400
    assert [(each["name"], each["version"], each["state"]) for each in index] == [
        ("shale", "1", "READY"),
        ("channels", "", "UNAVAILABLE"),
    ]
    assert "channels" in index[1]["reason"]
    assert ready == index[:1]

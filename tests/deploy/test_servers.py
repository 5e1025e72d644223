"""The nginx example in front of a real service, which speaks TLS itself too, and the systemd unit."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tritonclient.grpc import service_pb2 as pb

from rockbank.client import Client
from serving.base.settings import Settings
from tests.deploy.queries import DEPLOY
from tests.serving.processes import Process, service_process
from tests.serving.test_grpc import METHOD, infer_request

SECONDS = 30


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that nobody has signed, and its key."""
    paths = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1", "-days", "1"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-out", str(paths[0]), "-keyout", str(paths[1])]
    subprocess.run([*command, *names], check=True, capture_output=True)
    return paths


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Process]:
    """The service with a certificate of its own."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = certificate(folder)
    with service_process(
        folder, empty_store, tls_cert_file=cert, tls_key_file=key, grpc_port=0, trusted_proxies="127.0.0.1"
    ) as found:
        yield found


@contextmanager
def nginx(folder: Path, behind: Process) -> Iterator[str]:
    """The example with the ports of a test; its address."""
    cert, key = certificate(folder)
    port = free_port()
    text = (DEPLOY / "nginx" / "rockbank.conf").read_text()
    text = text.replace("127.0.0.1:8000", behind.address.removeprefix("https://"))
    text = text.replace("http://rockbank;", "https://rockbank;").replace("127.0.0.1:8001", behind.grpc)
    text = text.replace("grpc://rockbank_grpc", "grpcs://rockbank_grpc")
    text = text.replace("listen 443 ssl http2;", f"listen 127.0.0.1:{port} ssl http2;")
    text = text.replace("/etc/nginx/tls/rocks.pem", str(cert)).replace("/etc/nginx/tls/rocks.key", str(key))
    places = "".join(
        f"{name} {folder / name};\n"
        for name in (
            "client_body_temp_path",
            "proxy_temp_path",
            "fastcgi_temp_path",
            "uwsgi_temp_path",
            "scgi_temp_path",
        )
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log;\nevents {{}}\n"
        f"http {{ access_log off;\n{places}{text} }}\n"
    )
    command = ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    process = subprocess.Popen(command)
    try:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"https://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(SECONDS)


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("openssl") is None, reason="no openssl here, to make a certificate: apt install openssl"
)
def test_the_service_speaks_tls_over_both_transports(running: Process) -> None:
    with pytest.raises(httpx.ConnectError, match="self-signed certificate"):
        httpx.get(f"{running.url}/v2/health/ready")
    assert httpx.get(f"{running.url}/v2/health/ready", verify=False).json() == {"ready": True}
    host, port = running.address.removeprefix("https://").split(":")
    roots = grpc.ssl_channel_credentials(ssl.get_server_certificate((host, int(port))).encode())
    with grpc.secure_channel(running.grpc, roots) as channel:
        assert health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=30).status == 1
    with grpc.insecure_channel(running.grpc) as channel, pytest.raises(grpc.RpcError):
        health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nginx") is None, reason="no nginx here: apt install nginx-light")
def test_the_nginx_example_passes_samples_on_and_keeps_operators_paths(running: Process, tmp_path: Path) -> None:
    with nginx(tmp_path, running) as url:
        transport = httpx.HTTPTransport(verify=False)
        with Client(url, transport=transport) as client:
            assert client.generate("shale", n=40, seed=7).array.shape == (40, 1, 16, 16)
        answer = httpx.get(f"{url}/v2/models/shale", verify=False)
        assert answer.status_code == 200
        assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
        # From this machine, which is allowed.
        assert httpx.get(f"{url}/metrics", verify=False).status_code == 200
        assert httpx.get(f"{url}/nothing", verify=False).status_code == 404


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nginx") is None, reason="no nginx here: apt install nginx-light")
def test_the_nginx_example_passes_grpc_on_and_says_whom_for(running: Process, tmp_path: Path) -> None:
    with nginx(tmp_path, running) as url:
        address = url.removeprefix("https://")
        host, port = address.split(":")
        roots = grpc.ssl_channel_credentials(ssl.get_server_certificate((host, int(port))).encode())
        request = infer_request(bytes(16), [1, 4])
        with grpc.secure_channel(address, roots) as channel:
            infer = channel.unary_unary(
                METHOD, pb.ModelInferRequest.SerializeToString, pb.ModelInferResponse.FromString
            )
            answer, call = infer.with_call(request, timeout=30, metadata=[("x-forwarded-for", "192.0.2.7")])
    assert tuple(answer.outputs[0].shape) == (1, 1, 16, 16)
    (request_id,) = (value for key, value in call.initial_metadata() if key == "x-request-id")
    assert re.fullmatch("[0-9a-f]{32}", request_id)
    # The proxy's word, and not the client's.
    assert running.logged(request_id)["client"] == "127.0.0.1"


def test_systemd_waits_for_the_end_of_the_service() -> None:
    (seconds,) = re.findall(r"^TimeoutStopSec=(\d+)$", (DEPLOY / "systemd" / "rockbank.service").read_text(), re.M)
    settings = Settings()  # type: ignore[call-arg]
    assert settings.shutdown_delay_seconds + settings.drain_seconds < float(seconds)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here: apt install systemd")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    # With a program that is there: the unit's own is where it is installed.
    unit = (DEPLOY / "systemd" / "rockbank.service").read_text().replace("/opt/rockbank/bin/python", "/bin/true")
    (tmp_path / "rockbank.service").write_text(unit)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / "rockbank.service")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert [line for line in done.stderr.splitlines() if "rockbank.service" in line] == []

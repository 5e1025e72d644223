"""Health, and what is served, in the words of the Open Inference Protocol."""

from __future__ import annotations

from importlib.metadata import version as version_of

from fastapi import APIRouter, Request

from rockbank.generator.card import INPUT, OUTPUT, headline
from serving.http.routes.shared import ADMITTED, Name, Version, errors, service_of
from serving.inference.models import Models, Served, Slot
from serving.inference.session import dynamic_shapes
from serving.protocol.schemas import ModelAbout, ModelMetadata, ServerMetadata, TensorMetadata, VersionAbout

# Probes have no key.
health = APIRouter(tags=["health"])
router = APIRouter(tags=["models"], dependencies=[ADMITTED])


@health.get("/v2/health/live", responses=errors())
async def live(request: Request) -> dict[str, bool]:
    """Whether the process answers."""
    return {"live": True}


@health.get("/v2/health/ready", responses=errors(503))
async def ready(request: Request) -> dict[str, bool]:
    """Whether every model is loaded and the service is not about to stop."""
    service_of(request).check_ready()
    return {"ready": True}


@router.get("/v2", responses=errors(401, 429))
async def server(request: Request) -> ServerMetadata:
    """The server's name, version and extensions."""
    return server_metadata("binary_tensor_data", "generate")


@router.get("/v2/models", responses=errors(401, 429))
async def index(request: Request) -> list[ModelAbout]:
    """Every model with its loaded versions, their aliases and scores."""
    return [_about(slot) for slot in service_of(request).models.slots.values()]


@router.get("/v2/models/{name}", responses=errors(400, 401, 404, 429, 503))
async def model(request: Request, name: Name) -> ModelMetadata:
    """A model's inputs and outputs."""
    return metadata_of(service_of(request).models, name, None)


@router.get("/v2/models/{name}/versions/{version}", responses=errors(400, 401, 404, 429, 503))
async def model_version(request: Request, name: Name, version: Version) -> ModelMetadata:
    """The same of one of its versions."""
    return metadata_of(service_of(request).models, name, version)


@router.get("/v2/models/{name}/ready", responses=errors(400, 401, 404, 429, 503))
async def model_ready(request: Request, name: Name) -> dict[str, bool]:
    """Whether a model is loaded."""
    service_of(request).models.find(name)
    return {"ready": True}


@router.get("/v2/models/{name}/versions/{version}/ready", responses=errors(400, 401, 404, 429, 503))
async def version_ready(request: Request, name: Name, version: Version) -> dict[str, bool]:
    """Whether one of its versions is loaded."""
    service_of(request).models.find(name, version)
    return {"ready": True}


def server_metadata(*extensions: str) -> ServerMetadata:
    """What the server is, with what it knows beyond the protocol: what both transports do, and `extensions` of one."""
    known = [*extensions, "model_configuration", "statistics"]
    return ServerMetadata(name="rockbank", version=version_of("rockbank"), extensions=known)


def metadata_of(models: Models, name: str, version: str | None) -> ModelMetadata:
    """Inputs and outputs of a loaded version, over HTTP as over gRPC.

    Raises:
        NotFound, NotReady: where it is not loaded.
    """
    served = models.find(name, version)
    latent, image = dynamic_shapes(served.card)
    versions = sorted({each.version for each in models.slot(name).loaded().values()}, key=int)
    return ModelMetadata(
        name=name,
        versions=versions if version is None else [version],
        platform="onnx_onnxv1",
        inputs=[TensorMetadata(name=INPUT, datatype="FP32", shape=latent)],
        outputs=[TensorMetadata(name=OUTPUT, datatype="FP32", shape=image)],
    )


def _about(slot: Slot) -> ModelAbout:
    parts: dict[Served, list[str]] = {}
    for part, served in slot.loaded().items():
        parts.setdefault(served, []).append(part)
    return ModelAbout(
        name=slot.name,
        reference=slot.reference,
        current=slot.current.version if slot.current else None,
        problem=slot.problem,
        versions=[_version(served, played, slot.aliases_of(served)) for served, played in parts.items()],
    )


def _version(served: Served, parts: list[str], aliases: list[str]) -> VersionAbout:
    card = served.card
    return VersionAbout(
        version=served.version,
        parts=parts,
        aliases=aliases,
        generator=card.generator,
        run_id=served.entry.run_id,
        data_md5=card.data_md5,
        latent_shape=list(card.latent_shape),
        image_shape=list(card.image_shape),
        is_endless=card.lattice is not None,
        voxel_size=card.voxel_size,
        extractor=str(card.scores["extractor"]),
        scores=headline(card.scores),
        provider=served.generator.provider,
        batches=list(served.generator.buckets),
    )

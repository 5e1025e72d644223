"""Jobs: samples in large numbers, whose file is fetched when it is there, also in parts and after a break."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from starlette.responses import FileResponse, Response

from serving.dataplane.encode import ENCODERS
from serving.http.bodies import check_media_type, read_body
from serving.http.jobs import Job, Jobs
from serving.http.routes.shared import ADMITTED, Name, admit, errors, service_of
from serving.keys import Key
from serving.protocol.schemas import MAX_GENERATE_BYTES, GenerateRequest, JobAbout, parse

router = APIRouter(tags=["jobs"])
Id = Annotated[str, Path(description="of the job", max_length=64)]
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": False,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/GenerateRequest"}}},
    }
}
_RESULT: dict[int | str, dict[str, Any]] = {
    200: {"description": "the samples", "content": {kind.media_type: {} for kind in ENCODERS.values()}},
    206: {"description": "the requested range of them"},
    304: {"description": "what the client has is what it would get"},
    416: {"description": "a range beyond the end"},
    **errors(400, 401, 404, 409, 429),
}


@router.post(
    "/v2/models/{name}/jobs",
    dependencies=[ADMITTED],
    status_code=202,
    responses=errors(400, 401, 404, 408, 413, 415, 429, 503),
    openapi_extra=_BODY,
)
async def create(request: Request, response: Response, name: Name) -> JobAbout:
    """Have samples computed behind the requests of others; the answer says where they will be."""
    service = service_of(request)
    service.models.find(name)
    check_media_type(request, "application/json")
    body = parse(GenerateRequest, await read_body(request, service.settings, MAX_GENERATE_BYTES))
    # Which may be another one than before the body came.
    served = service.models.find(name)
    job = await _jobs(request).add(served, body, request.state.key_name)
    response.headers["Location"] = f"/v2/jobs/{job.id}"
    return _about(job)


@router.get("/v2/jobs/{job_id}", responses=errors(400, 401, 404, 429))
async def status(request: Request, job_id: Id, key: Annotated[Key, Depends(admit)]) -> JobAbout:
    """Where a job stands."""
    return _about(await _jobs(request).find(job_id, key.name, is_admin=key.role == "admin"))


@router.get("/v2/jobs/{job_id}/result", response_class=Response, responses=_RESULT)
async def result(request: Request, job_id: Id, key: Annotated[Key, Depends(admit)]) -> Response:
    """The samples of a job that is done, or a range of their bytes."""
    jobs = _jobs(request)
    job = await jobs.find(job_id, key.name, is_admin=key.role == "admin")
    path = jobs.result(job)
    headers = {**job.headers, "Cache-Control": "private, max-age=604800, immutable"}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers={"ETag": headers["ETag"]})
    return FileResponse(path, headers={name.lower(): value for name, value in headers.items()})


@router.delete("/v2/jobs/{job_id}", status_code=204, responses=errors(400, 401, 404, 429))
async def remove(request: Request, job_id: Id, key: Annotated[Key, Depends(admit)]) -> Response:
    """Stop a job, and remove its file."""
    jobs = _jobs(request)
    await jobs.remove(await jobs.find(job_id, key.name, is_admin=key.role == "admin"))
    return Response(status_code=204)


def _jobs(request: Request) -> Jobs:
    jobs: Jobs = request.app.state.jobs
    return jobs


def _about(job: Job) -> JobAbout:
    return JobAbout(
        id=job.id,
        model=job.model,
        version=job.version,
        seed=job.seed,
        state=job.state,
        fraction=job.fraction,
        error=job.error,
        sha256=job.sha256,
        result=f"/v2/jobs/{job.id}/result",
    )

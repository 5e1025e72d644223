"""Triton's extensions over gRPC: the answers of HTTP, as messages."""

from __future__ import annotations

from typing import Any

from google.protobuf.json_format import ParseDict
from tritonclient.grpc import service_pb2 as pb

from serving.http.routes.triton import config_of, index_of, statistics_of
from serving.service import Service


class Extensions:
    """Answers ModelConfig, ModelStatistics and RepositoryIndex."""

    def __init__(self, service: Service) -> None:
        """Of `service`."""
        self._service = service

    def calls(self) -> dict[str, tuple[Any, Any]]:
        """Each call's request and what answers it, by its name."""
        return {
            "ModelConfig": (pb.ModelConfigRequest, self._config),
            "ModelStatistics": (pb.ModelStatisticsRequest, self._statistics),
            "RepositoryIndex": (pb.RepositoryIndexRequest, self._index),
        }

    async def _config(self, request: Any, context: Any) -> Any:
        served = self._service.models.find(request.name, request.version or None)
        config = config_of(self._service.settings, served)
        return ParseDict({"config": config.model_dump()}, pb.ModelConfigResponse())

    async def _statistics(self, request: Any, context: Any) -> Any:
        found = statistics_of(self._service.models, request.name or None, request.version or None)
        return ParseDict(found.model_dump(), pb.ModelStatisticsResponse())

    async def _index(self, request: Any, context: Any) -> Any:
        found = index_of(self._service.models, is_ready=request.ready)
        return ParseDict({"models": [each.model_dump() for each in found]}, pb.RepositoryIndexResponse())

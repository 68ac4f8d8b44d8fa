"""The server as a deployment of Ray Serve: any number of replicas on a cluster behind Ray's proxies.

    serve run hifigan_rt.tools.serving.replicas:app models=ljspeech-v1 insecure_no_token=true

or, for a service, `serve deploy` with a config file whose `import_path` this is. Each replica is the application of
`hifigan serve` with its own models, queue and limits. Ray's proxies have the connections; `proxied_messages` says how
the limits reach through them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp

from hifigan_rt.errors import ConfigError
from hifigan_rt.system.machine import keep_collections_short, keep_little_memory
from hifigan_rt.tools.cluster.actors import worker_size
from hifigan_rt.tools.cluster.connection import require_ray
from hifigan_rt.tools.serving.app import make_app
from hifigan_rt.tools.serving.context import Context
from hifigan_rt.tools.serving.logs import log_own_events
from hifigan_rt.tools.serving.proxied_messages import ReplicaGuard
from hifigan_rt.tools.serving.replica_arguments import ReplicaArguments, read_arguments

if TYPE_CHECKING:
    from ray.serve import Application, Deployment

DEPLOYMENT = "hifigan"
"""Name by which a config file sets the deployment's replicas, processors and memory."""

_HEALTH_REQUESTS = 64
"""Requests beyond `max_concurrent_requests` that Ray hands to a replica: it answers itself that it has too many."""
_MODEL_BYTES = 10**9
"""Memory that Ray keeps for each model of a replica, twice what a V1 takes while it is loaded anew."""
_MORE_GRACE_SECONDS = 5.0


def app(arguments: Mapping[str, object]) -> Application:
    """Build the application: what `serve run` and config files name.

    Args:
        arguments: see `hifigan_rt.tools.serving.replica_arguments`.

    Raises:
        ConfigError: an argument is wrong or missing.
        ClusterError: ray[serve] is not installed.
    """
    read = read_arguments(arguments)
    return deployment(read).bind(read)


def deployment(arguments: ReplicaArguments) -> Deployment:
    """Make the deployment, whose `options` a config file may change.

    Raises:
        ClusterError: ray[serve] is not installed.
    """
    require_ray("serving on a cluster", "ray.serve", "ray-serve")
    from ray import serve

    settings = arguments.settings
    size = worker_size(arguments.threads, arguments.engine.get("device"))
    assert settings.memory_budget_bytes is not None  # noqa: S101 - `read_arguments` gives one
    return serve.deployment(
        serve.ingress()(ServerReplica),
        name=DEPLOYMENT,
        ray_actor_options={
            "num_cpus": size.cpus,
            "num_gpus": size.gpus,
            "memory": settings.memory_budget_bytes + _MODEL_BYTES * len(arguments.models),
        },
        max_ongoing_requests=settings.max_concurrent_requests + _HEALTH_REQUESTS,
        autoscaling_config={"min_replicas": 1, "max_replicas": 100, "target_ongoing_requests": 4},
        graceful_shutdown_timeout_s=settings.grace_seconds + _MORE_GRACE_SECONDS,
        graceful_shutdown_wait_loop_s=min(1.0, settings.grace_seconds + 0.1),
        # Each change of it loads the models anew; that there is one tells the start from a change.
        user_config={"load": 1},
    )


class ServerReplica:
    """Replica: the application with its models, in a process of Ray's."""

    def __init__(self, arguments: ReplicaArguments) -> None:
        """Make the application.

        Raises:
            ServerError: the file of tokens cannot be read.
            ConfigError: Ray is told to start HAProxy.
        """
        from ray import serve

        if os.environ.get("RAY_SERVE_ENABLE_HA_PROXY") == "1":
            raise ConfigError(
                "RAY_SERVE_ENABLE_HA_PROXY=1 puts a program in front that this server was not tried with: unset it"
            )
        keep_little_memory()
        keep_collections_short()
        log_own_events()
        self._settings = arguments.settings_of(serve.get_replica_context().replica_tag)
        self._preload = () if arguments.on_demand else None
        self._app = make_app(self._settings, arguments.sources())
        self._context: Context = self._app.state.context
        self._started = False

    async def __serve_build_asgi_app__(self) -> ASGIApp:
        """Load the models, and give Ray the application; it is called once, at the start.

        Raises:
            HifiganError: a model could not be loaded.
        """
        # Needs ray to be imported, which this module's is not.
        from hifigan_rt.tools.serving.ray_metrics import RayMetrics

        await self._context.models.load_at_start(self._preload)
        self._metrics = RayMetrics(self._context.telemetry)
        self._publishing = asyncio.ensure_future(self._metrics.publish())
        return ReplicaGuard(self._app, self._settings)

    async def reconfigure(self, _: Any) -> None:
        """Load the models anew: Ray calls it with each new `user_config`, and once at the start."""
        if self._started:
            await self._context.models.reload_all()
        self._started = True

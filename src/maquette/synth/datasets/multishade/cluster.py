"""The shards of a MultiShade data set made by a Ray cluster, and brought back to be written here.

The other machines need maquette installed, and neither the data set's folder nor the meshes': these are read here and
sent along.
"""

import importlib
import logging
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from maquette.errors import InputError
from maquette.synth.datasets.multishade.making import ShardResult, make_shard
from maquette.synth.datasets.multishade.spec import MultiShadeSpec
from maquette.types import Mesh

_STORE_BYTES = 256 << 20  # of a cluster started here: a few shards wait in it
_PATIENCE_S = 10.0


def require_ray(address: str) -> None:
    """See that Ray is installed, and that somebody listens at the address, before anything is written.

    Raises:
        InputError: it isn't, or nobody does.
    """
    if find_spec("ray") is None:
        raise InputError("--ray needs Ray; pip install 'maquette[scale]'")
    try:
        _require_listener(_noted() if address == "auto" else address)
    except ConnectionError as error:
        raise _unreachable(address, error) from error


def make_on_ray(
    spec: MultiShadeSpec,
    todo: list[int],
    load: Callable[[int], Mesh | str],
    address: str,
    cpus: int,
) -> Iterator[ShardResult]:
    """Shards as the cluster finishes them, a CPU each.

    Args:
        spec: of the data set.
        todo: numbers of the shards.
        load: given an object's number, its mesh, or why it has none.
        address: as `ray.init` takes it: `local` starts a cluster, `auto` finds the one of this machine.
        cpus: of a cluster that is started; what a running one has is known to it.

    Raises:
        InputError: the cluster can't be reached or fails.
    """
    ray = _started(address, cpus)
    try:
        task = ray.remote(num_cpus=1)(_shard_of)
        ahead = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
        waiting, running = iter(todo), []
        while True:
            while len(running) < ahead and (number := next(waiting, None)) is not None:
                meshes = {thing: load(thing) for thing in spec.shard_objects(number) if thing >= spec.count}
                running.append(task.remote(spec, number, meshes))
            if not running:
                return
            finished, running = ray.wait(running)
            yield ray.get(finished[0])
    except ray.exceptions.RayTaskError:
        raise  # a fault of this program, not of the cluster
    except ray.exceptions.RayError as error:
        raise InputError(f"--ray {address}: the cluster failed ({_line(error)}); what is there is kept") from error
    finally:
        ray.shutdown()


def _shard_of(spec: MultiShadeSpec, number: int, meshes: dict[int, Mesh | str]) -> ShardResult:
    """Runs on the cluster."""
    import numba

    numba.set_num_threads(1)
    return make_shard(spec, number, meshes.__getitem__)


def _started(address: str, cpus: int) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody is told what runs here
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "error")  # its core tells stderr of every try to connect
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray's own future default; silences its warning
    ray: Any = importlib.import_module("ray")
    if address == "local":
        os.environ.setdefault("RAY_worker_niceness", "0")  # its workers are this program's work, not a guest's
    own = {"num_cpus": cpus, "object_store_memory": _STORE_BYTES, "include_dashboard": False}
    try:
        ray.init(
            address=address, log_to_driver=False, logging_level=logging.ERROR, **(own if address == "local" else {})
        )
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise _unreachable(address, error) from error
    return ray


def _unreachable(address: str, error: Exception) -> InputError:
    return InputError(
        f"--ray {address}: no cluster there ({_line(error)}); give host:port, auto, or local to start one;"
        " host:port of a cluster with tokens, as Ray starts them now, asks for RAY_AUTH_MODE=token"
    )


def _noted() -> str:
    """The address that Ray notes of this machine's cluster; it may have died since. Empty if there is none."""
    note = Path(os.environ.get("RAY_TMPDIR", tempfile.gettempdir())) / "ray" / "ray_current_cluster"
    try:
        return os.environ.get("RAY_ADDRESS", "") or note.read_text().strip()
    except OSError:
        return ""


def _require_listener(address: str) -> None:
    """Ray itself would wait for minutes, and tell its log, where nobody listens."""
    if address == "local" or "/" in address:  # one that is started, or one behind a server of Ray's own kind
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ConnectionError(f"{address!r} is no host:port" if address else "none is running on this machine")
    try:
        socket.create_connection((host, int(port)), timeout=_PATIENCE_S).close()
    except (OSError, OverflowError) as error:
        raise ConnectionError(f"{address}: {error}") from error


def _line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]

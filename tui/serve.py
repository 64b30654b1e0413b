"""`engine watch --serve`: the dashboard in a browser, on this machine only.

textual-serve starts a dashboard for every page that is opened. It asks nobody who they are, and a page
of any other site may try to open a connection to this machine: so it is bound to the loopback address,
and a connection is taken only from a page that this server itself has sent.
"""

from __future__ import annotations

import shlex
import socket
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from engine.errors import EngineError, Where

if TYPE_CHECKING:
    from aiohttp import web

_HOST = "127.0.0.1"
_LOCAL = ("127.0.0.1", "localhost", "::1")


def is_own_page(host: str, origin: str | None) -> bool:
    """Whether a connection comes from a page of this server, opened on this machine or through a tunnel.

    Args:
        host: The request's Host header: another site's name that points here (DNS rebinding) is refused.
        origin: Its Origin header, which a browser always sends with a WebSocket.
    """
    if urlsplit(f"//{host}").hostname not in _LOCAL:
        return False
    return origin is not None and urlsplit(origin).netloc == host


def serve(options: Sequence[str], port: int) -> None:
    """Serve dashboards until Ctrl-C.

    Args:
        options: What `engine watch` is started with for each page.
        port: The port.

    Raises:
        EngineError: textual-serve isn't installed, or the port is taken.
    """
    try:
        from textual_serve.server import Server  # noqa: PLC0415
    except ImportError as error:
        raise EngineError.of(
            "E120", "engine watch --serve",
            f"textual-serve, which shows the dashboard in a browser, isn't installed ({error})",
            "pip install 'detection-engine[serve]', or pip install textual-serve; "
            "`ssh -t HOST engine watch` needs nothing more",
        ) from error
    from aiohttp import web  # noqa: PLC0415

    _check_port(port)

    class LocalServer(Server):
        """Takes connections from its own pages only, and says how to reach it."""

        def initialize_logging(self) -> None:
            """Leave the log as it is: the pages' comings and goings interest nobody."""

        async def on_startup(self, app: web.Application) -> None:  # noqa: ARG002
            """Say where it is."""
            sys.stdout.write("\n".join(addresses(port)) + "\n")
            sys.stdout.flush()

        async def handle_index(self, request: web.Request) -> web.StreamResponse:
            """The page; its own address is the one it was asked by, which may be a tunnel's."""
            if urlsplit(f"//{request.host}").hostname not in _LOCAL:
                raise web.HTTPForbidden(text="open it as localhost")
            self.public_url = f"http://{request.host}"
            return await super().handle_index(request)

        async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
            """A page's connection."""
            if not is_own_page(request.host, request.headers.get("Origin")):
                raise web.HTTPForbidden(text="only the dashboard's own page may connect")
            return await super().handle_websocket(request)

    command = shlex.join([sys.executable, "-m", "engine.cli.main", "watch", "--graphics", "halfblock", *options])
    LocalServer(command, host=_HOST, port=port, title="engine watch").serve()


def addresses(port: int) -> list[str]:
    """Where the dashboard is, and how to reach it from elsewhere."""
    return [
        f"the dashboard is at http://localhost:{port} on this machine; Ctrl-C ends it, and training goes on",
        f"from another machine: ssh -L {port}:localhost:{port} {socket.gethostname()}, then open that address there",
    ]


def _check_port(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            raise EngineError.of(
                "E121", Where("engine watch --serve"), f"port {port} can't be used: {error.strerror or error}",
                "name another one with --port",
            ) from error

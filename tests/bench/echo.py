"""The bare service: it answers with the body that it was sent. `python -m tests.bench.echo` prints its port."""

import socket

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


async def echo(request: Request) -> Response:
    """Answer with the body of the request."""
    return Response(await request.body(), media_type="application/json")


def main() -> None:
    """Serve on a free port of this machine until told to stop."""
    app = Starlette(routes=[Route("/", echo, methods=["POST"])])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[listener])


if __name__ == "__main__":
    main()

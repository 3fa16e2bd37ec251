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
    # Of a socket that does not name its protocol, asyncio leaves Nagle's algorithm on: each answer would wait 40 ms.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        print(listener.getsockname()[1], flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[listener])


if __name__ == "__main__":
    main()

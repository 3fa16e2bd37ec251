import contextlib
import socket

from serving.http.draining import refuse_connections


def test_refuse_connections() -> None:
    """Connections that were made are kept, and who comes later finds no way in, where the system allows it."""
    with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as stack:
        address = listener.getsockname()
        earlier = [stack.enter_context(socket.create_connection(address)) for _ in range(5)]
        refuses = refuse_connections(listener)
        for client in earlier:
            client.sendall(b"ask")
            taken, _ = listener.accept()
            with taken:
                assert taken.recv(3) == b"ask"
        late = stack.enter_context(socket.socket())
        late.settimeout(0.2)
        assert (late.connect_ex(address) != 0) == refuses

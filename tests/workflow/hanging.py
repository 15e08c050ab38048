"""A proxy to a server of this machine that can stop answering: it takes what is sent, and says nothing."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Hanging:
    """Where the proxy is (``port``), and whether it answers."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._open: list[socket.socket] = [self._listener]
        self.port: int = self._listener.getsockname()[1]
        self._hangs = threading.Event()
        self.swallowed = threading.Event()  #: something was asked for that gets no answer
        self._start(self._accept)

    def hang(self) -> None:
        """Pass nothing on any more, also of connections that are open."""
        self._hangs.set()

    def close(self) -> None:
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _start(self, target: object, *arguments: object) -> None:
        threading.Thread(target=target, args=arguments, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                server = socket.create_connection(("127.0.0.1", self._target_port))
                self._open += [client, server]
                self._start(self._pass_on, client, server, True)
                self._start(self._pass_on, server, client, False)

    def _pass_on(self, source: socket.socket, target: socket.socket, is_request: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if not self._hangs.is_set():
                    target.sendall(data)
                elif is_request:
                    self.swallowed.set()
            target.shutdown(socket.SHUT_WR)


@contextmanager
def hanging(target_port: int) -> Iterator[Hanging]:
    proxy = Hanging(target_port)
    try:
        yield proxy
    finally:
        proxy.close()

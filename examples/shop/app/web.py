"""The shop: `GET /` says how it goes, `POST /orders/ITEM` takes an order, `GET /health` is for whoever starts it."""

import json
import os
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg2
import redis

WINDOW = "apples"
"""What is in the shop window: edit this, and see."""

cache = redis.Redis.from_url(os.environ["REDIS_URL"])


def ask(question: str, *values: str) -> int:
    """The one number that the database answers, by a connection of its own."""
    connection = psycopg2.connect(os.environ["DATABASE_URL"], connect_timeout=5)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(question, values)
            (number,) = cursor.fetchone() or (0,)
            return int(number)
    finally:
        connection.close()


class Shop(BaseHTTPRequestHandler):
    """Answers in JSON."""

    def do_GET(self) -> None:
        """The state of the shop, or whether it has one."""
        if self.path == "/health":
            self.answer(200, {"migrations": ask("SELECT count(*) FROM migrations")})
            return
        orders = ask("SELECT count(*) FROM orders")
        packed = ask("SELECT count(*) FROM orders WHERE packed")
        visits = int(cache.incr("visits"))
        greeting = os.environ["GREETING"]
        self.answer(200, {"greeting": greeting, "window": WINDOW, "orders": orders, "packed": packed, "visits": visits})

    def do_POST(self) -> None:
        """An order: kept in the database, and told to the worker."""
        item = self.path.removeprefix("/orders/")
        number = ask("INSERT INTO orders (item) VALUES (%s) RETURNING number", item)
        cache.lpush("orders", number)
        print(f"order {number}: {item}")
        self.answer(201, {"order": number})

    def answer(self, status: int, value: dict[str, object]) -> None:
        """Send that."""
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Requests are nothing to write about."""


class Server(ThreadingHTTPServer):
    """One whose end waits for the requests that it has begun."""

    daemon_threads = False


def main() -> None:
    """Serve until SIGTERM."""
    server = Server(("", 8000), Shop)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"open, with {WINDOW} in the window")
    server.serve_forever()
    server.server_close()


if __name__ == "__main__":
    main()

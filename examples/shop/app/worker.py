"""Packs orders, as they come through Redis."""

import os
import signal
import sys

import psycopg2
import redis

cache = redis.Redis.from_url(os.environ["REDIS_URL"])


def pack(number: int) -> None:
    """Note it in the database."""
    connection = psycopg2.connect(os.environ["DATABASE_URL"], connect_timeout=5)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("UPDATE orders SET packed = true WHERE number = %s", (number,))
    finally:
        connection.close()
    print(f"packed order {number}")


def main() -> None:
    """Until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while True:
        _, number = cache.brpop("orders")
        pack(int(number))


if __name__ == "__main__":
    main()

"""Prints what was ordered how often."""

import os

import psycopg2

connection = psycopg2.connect(os.environ["DATABASE_URL"], connect_timeout=5)
with connection, connection.cursor() as cursor:
    cursor.execute("SELECT item, count(*) FROM orders GROUP BY item ORDER BY item")
    for item, count in cursor:
        print(f"{count} {item}")
connection.close()

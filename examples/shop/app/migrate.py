"""Makes the tables, once; each time that it was asked to leaves a row."""

import os

import psycopg2

connection = psycopg2.connect(os.environ["DATABASE_URL"], connect_timeout=5)
with connection, connection.cursor() as cursor:
    cursor.execute(
        "CREATE TABLE IF NOT EXISTS orders (number serial PRIMARY KEY, item text, packed bool DEFAULT false)"
    )
    cursor.execute("CREATE TABLE IF NOT EXISTS migrations (at timestamptz DEFAULT now())")
    cursor.execute("INSERT INTO migrations DEFAULT VALUES")
connection.close()
print("migrated")

"""The schema of the SQLite file, version by version; one that was released is never changed."""

MIGRATIONS = (
    """
    CREATE TABLE builds (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        tool TEXT NOT NULL,
        digest TEXT NOT NULL,
        image_id TEXT,
        began REAL NOT NULL,
        seconds REAL,
        result TEXT CHECK (result IN ('good', 'failed', 'cancelled')),
        cause TEXT NOT NULL,
        asked_by TEXT NOT NULL,
        error TEXT NOT NULL DEFAULT '',
        parts BLOB NOT NULL
    );
    CREATE INDEX builds_by_tool ON builds (tool, id)
    """,
    """
    CREATE TABLE consents (
        project BLOB NOT NULL,
        ask BLOB NOT NULL,
        allowed REAL NOT NULL,
        PRIMARY KEY (project, ask)
    )
    """,
    """
    CREATE TABLE ports (
        project TEXT NOT NULL,
        root BLOB NOT NULL,
        service TEXT NOT NULL,
        target INTEGER NOT NULL,
        protocol TEXT NOT NULL,
        port INTEGER NOT NULL,
        PRIMARY KEY (project, root, service, target, protocol),
        UNIQUE (protocol, port)
    );
    CREATE TABLE seeds (
        volume TEXT PRIMARY KEY,
        done INTEGER NOT NULL
    )
    """,
    """
    CREATE TABLE projects (
        name TEXT PRIMARY KEY,
        directory TEXT NOT NULL,
        files TEXT NOT NULL,
        given_name TEXT,
        profiles TEXT NOT NULL,
        environ TEXT NOT NULL,
        added REAL NOT NULL
    );
    CREATE TABLE project_services (
        project TEXT NOT NULL REFERENCES projects (name),
        service TEXT NOT NULL,
        will TEXT NOT NULL,
        ends TEXT NOT NULL,
        PRIMARY KEY (project, service)
    )
    """,
    """
    CREATE TABLE consumers (
        consumer TEXT NOT NULL,
        alias TEXT NOT NULL,
        project TEXT NOT NULL,
        service TEXT NOT NULL,
        begun TEXT NOT NULL,
        PRIMARY KEY (consumer, alias)
    )
    """,
    """
    CREATE TABLE service_images (
        project TEXT NOT NULL,
        service TEXT NOT NULL,
        image_id TEXT NOT NULL,
        digest TEXT NOT NULL,
        PRIMARY KEY (project, service)
    )
    """,
    """
    DROP TABLE ports;
    CREATE TABLE ports (
        project TEXT NOT NULL,
        root BLOB NOT NULL,
        service TEXT NOT NULL,
        target INTEGER NOT NULL,
        protocol TEXT NOT NULL,
        wanted INTEGER NOT NULL,
        addresses TEXT NOT NULL,
        port INTEGER NOT NULL,
        PRIMARY KEY (project, root, service, target, protocol, wanted)
    )
    """,
    """
    ALTER TABLE project_services ADD COLUMN past TEXT NOT NULL DEFAULT '[]'
    """,
    """
    ALTER TABLE builds ADD COLUMN served INTEGER;
    UPDATE builds SET served = id WHERE result = 'good'
    """,
)
"""The first makes the tables, each later one leads from the version before it. Paths are bytes, of any kind."""

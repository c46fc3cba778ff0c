"""Creates the PostgreSQL role of the service. Connects as the database's master user.

This program runs in its own container before the service starts, so that the process that opens models never has the
master's password. It is idempotent: a later run sets the password again, and makes the role the owner of the tables
that the master created.
"""

from __future__ import annotations

import os
import sys
import time

import psycopg
from psycopg import sql

_DATABASE_SECONDS = 120
_PAUSE_SECONDS = 2
# An arbitrary number, the same in every container.
_LOCK = 7_305_022

_OWNED_BY_MASTER = """
    SELECT format('ALTER %%s %%I.%%I OWNER TO %%I', kind, namespace, name, %(role)s::text)
    FROM (
        SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END AS kind,
               nspname AS namespace, relname AS name
        FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE nspname = 'public' AND relkind IN ('r', 'p', 'v', 'S')
          AND relowner = (SELECT oid FROM pg_roles WHERE rolname = current_user)
          -- a serial column's sequence follows its table
          AND NOT EXISTS (
              SELECT 1 FROM pg_depend WHERE objid = pg_class.oid AND deptype IN ('a', 'i') AND relkind = 'S'
          )
    ) AS owned
"""


def main() -> int:
    """Create the role; return 1 if the database does not answer in time or refuses."""
    try:
        with connect() as connection:
            make_role(connection, os.environ["DATABASE_USER"], os.environ["DATABASE_PASSWORD"])
    except psycopg.Error as error:
        print(f"The service's role in the database was not created: {error}", file=sys.stderr)
        return 1
    return 0


def connect(seconds: float = _DATABASE_SECONDS) -> psycopg.Connection:
    """Connect as the master user; wait at most `seconds` for a database that is still starting."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return psycopg.connect(
                host=os.environ["DATABASE_HOST"],
                port=os.environ["DATABASE_PORT"],
                dbname=os.environ["DATABASE_NAME"],
                user=os.environ["DATABASE_MASTER_USER"],
                password=os.environ["DATABASE_MASTER_PASSWORD"],
                connect_timeout=5,
            )
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_SECONDS)


def make_role(connection: psycopg.Connection, role: str, password: str) -> None:
    """Create the role or set its password, and make it the owner of the database and of the master's tables there."""
    database = connection.info.dbname
    name, quoted = sql.Identifier(role), sql.Literal(password)
    with connection.transaction(), connection.cursor() as cursor:
        # Two tasks that start at the same time would both create the role.
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        is_there = cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
        verb = sql.SQL("ALTER ROLE" if is_there else "CREATE ROLE")
        cursor.execute(sql.SQL("{} {} LOGIN PASSWORD {}").format(verb, name, quoted))
        # Only a member of a role may give it ownership. The membership also lets tasks of an older image, which connect
        # as the master, use the tables.
        cursor.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(name))
        cursor.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(database), name))
        for (statement,) in cursor.execute(_OWNED_BY_MASTER.encode(), {"role": role}).fetchall():
            cursor.execute(statement)


if __name__ == "__main__":
    sys.exit(main())

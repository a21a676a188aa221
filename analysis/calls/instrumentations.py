"""What do the instrumentations write? Systems, attributes and span names, each with its source.

One table for each thing that is looked up; a name that a new instrumentation writes is added here
and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_Table = tuple[tuple[str, str], ...]

CACHES: Final = frozenset(
    {
        "redis", "valkey", "keydb", "dragonfly", "memcached", "memcache", "hazelcast", "ehcache",
        "caffeine", "ioredis",
    }
)  # fmt: skip
"""Systems whose calls are cache calls, as ``db.system`` names them (OpenTelemetry semantic
conventions, docs/database; ioredis: Datadog's and older JavaScript instrumentations)."""


FAMILIES: Final[Mapping[str, str]] = {
    "postgres": "postgresql", "pg": "postgresql", "pgsql": "postgresql", "pgx": "postgresql",
    "psycopg": "postgresql", "psycopg2": "postgresql", "asyncpg": "postgresql",
    "cockroachdb": "postgresql", "cockroach": "postgresql", "npgsql": "postgresql",
    "mariadb": "mysql", "mysql2": "mysql", "aurora": "mysql", "percona": "mysql",
    "tidb": "mysql",
    "mssql": "microsoft.sql_server", "sqlserver": "microsoft.sql_server",
    "sql_server": "microsoft.sql_server", "sql-server": "microsoft.sql_server",
    "tedious": "microsoft.sql_server",
    "mongo": "mongodb", "mongoose": "mongodb", "pymongo": "mongodb",
    "oracledb": "oracle.db", "oracle": "oracle.db", "sqlite3": "sqlite", "h2": "h2database",
    "valkey": "redis", "ioredis": "redis", "keydb": "redis", "dragonfly": "redis",
    "memcache": "memcached",
    "azure.cosmosdb": "cosmosdb",
}  # fmt: skip
"""Other spellings of one system, and systems that speak its protocol through its drivers.

TypeORM's instrumentation writes ``postgres`` and ``mssql`` (its own driver names), mongoose's
``mongoose`` (opentelemetry-js-contrib, packages/instrumentation-mongoose); the conventions renamed
``mssql`` and ``oracle`` in 1.30 (its pages on SQL Server and Oracle).
"""

ANY_SYSTEM: Final = frozenset(
    {
        "", "sql", "other_sql", "other", "unknown", "jdbc", "odbc", "hibernate", "jpa",
        "sqlalchemy", "activerecord", "active_record", "typeorm", "sequelize", "knex", "prisma",
        "gorm", "ent", "doctrine", "eloquent", "efcore", "entityframework", "dapper", "django",
        "database", "db", "r2dbc", "mybatis",
    }
)  # fmt: skip
"""Not systems but layers above one (OpenTracing's ``db.type=sql``, ORMs): they wrap any."""

LAYERS: Final = (
    r"\b(?:mongoose|sequelize|typeorm|knex|prisma|mikro-?orm|objection|drizzle|sqlalchemy|django"
    r"|tortoise|peewee|mongoengine|hibernate|jpa|spring-data|mybatis|jooq|active_?record|mongoid"
    r"|otelgorm|gorm|entgo|ent|bun|doctrine|eloquent|efcore|entityframework\w*|dapper)\b"
)
"""ORMs and the like in the lower-case name of a system or of an instrumentation: their spans lie
around a driver's. ``@opentelemetry/instrumentation-mongoose``, ``.sequelize``, ``.sqlalchemy``,
``io.opentelemetry.hibernate-6.0``, ``OpenTelemetry.Instrumentation.EntityFrameworkCore``:
OpenTelemetry's registry of instrumentations.
"""

DOUBLE_QUOTED: Final = frozenset({"mysql", "bigquery", "spanner", "spark", "hive", "databricks"})
"""Families in which "..." is a string and ``#`` begins a comment."""
BACKSLASH_IS_PLAIN: Final = frozenset(
    {"postgresql", "microsoft.sql_server", "oracle.db", "sqlite", "db2", "h2database", "hsqldb"}
)
"""Families in which a backslash ends no string early: standard strings."""

EMPTY_STATEMENT: Final = r'"(?:db\.query\.text|db\.statement)":\s*(?:null|"")'
"""A call that says its statement is empty, as OpenTelemetry's Java agent does of pgjdbc's
``Connection.isValid``."""

STATEMENTS: Final = (
    "db.query.text", "db.statement", "sql.query", "jdbc.query[0]", "jdbc.query", "db.sql.query",
    "db.query", "r2dbc.query[0]", "redis.raw_command", "mongodb.query", "cassandra.query",
    "elasticsearch.body",
)  # fmt: skip
"""Attributes that hold the statement, newest first.

``db.query.text``, ``db.statement``: semantic conventions of today and before 1.25. ``sql.query``:
Datadog's and OpenTracing's older SQL tags, Brave's MySQL interceptor. ``jdbc.query[0]``:
datasource-micrometer (JdbcObservationDocumentation.java); ``jdbc.query``: spring-cloud-sleuth;
``r2dbc.query[0]``: r2dbc-proxy (R2dbcObservationDocumentation.java). The others: Datadog's tracers
for those systems, from memory.
"""

SUMMARY: Final = "db.query.summary"
"""A short text that one instrumentation gives many statements: used where no text is known."""

OLDER_SCOPE_NAME: Final = "otel.library.name"
"""As exporters to Jaeger and Zipkin wrote the instrumentation (OpenTelemetry specification,
mapping to non-OTLP formats: deprecated for ``otel.scope.name``)."""

MARKS: Final = ('"db.', '"sql.query"', '"jdbc.', '"r2dbc.')
"""One of these in a span's attributes says that it may be a database call without a system."""

PLAIN_MARKS: Final = (
    *STATEMENTS, "db.type", "db.instance", "jdbc.datasource.name", "jdbc.datasource.driver",
    "jdbc.row-count", "jdbc.row-affected", "jdbc.generated-keys", "r2dbc.connection",
)  # fmt: skip
"""Attributes that only a database call has (``jdbc.*``: JdbcObservationDocumentation.java)."""

ORM_CACHED: Final = (
    r'"(?:[\w.]*[._])?(?:cached|from_?cache|query_?cache(?:[._]?hit)?|cached_?query)"'
    r'\s*:\s*(?:true|"true"|"hit"|1[,}])'
)
"""The attribute by which an ORM marks a result that no database was asked for.

Rails' ``sql.active_record`` event has ``cached: true`` (Active Support guide), which
ActiveRecord's instrumentations copy under their own prefix.
"""

_MYSQLI = r"mysqli(?:_stmt)?"

DEFINITE: Final[_Table] = (
    # sql.conn.prepare and its like carry the statement that they prepare: the name decides.
    ("prepare", r"^(?:sql|db|otelsql|driver)[.:-](?:conn[.:-])?prepare(?:_?context)?$"),
    ("prepare", r"^(?:pgx[.: ])?prepare (?:select|insert|update|delete|with|merge|\w+_)"),
    ("prepare", r"^prisma:engine:prepare$|\bpreparestatement$|^preparedstatement\.create$"),
    ("prepare", rf"^(?:pdo|{_MYSQLI}|doctrine[\w\\]*)(?:::|_)(?:prepare|init)$"),
    ("fetch", (r"^(?:sql|db|otelsql)[.:-](?:rows(?:[._-]\w+)?|last_?insert_?id|rows_?affected"
               r"|res-\w+)$")),
    ("fetch", r"^(?:sql|db)[.:-]stmt[.:-]close$|^result-set$|^resultset$|^jdbc result-set$"),
    ("fetch", r"^generated-keys$"),
    ("fetch", r"[.: ](?:fetch(?:one|all|many)|getmore|close cursor|killcursors)$"),
    ("fetch", r"^getmore\b|\.getmore\b|^killcursors\b"),
    ("fetch", rf"^pdostatement::fetch\w*$|^{_MYSQLI}(?:::|_)next_result$"),
    ("fetch", r"^oracledb\.(?:lobopmessage|lob\.getdata|connection\.createlob)(?::|$)"),
    ("session reset", r"^(?:sql|db)[.:-](?:conn[.:-])?reset_?session$"),
    ("session reset", rf"^{_MYSQLI}(?:::|_)change_user$"),
    ("ping", r"^(?:sql|db)[.:-](?:conn[.:-]|dummy-)?ping$"),
    ("transaction", r"^(?:sql|db)[.:-](?:conn[.:-])?begin(?:_?tx|_?transaction)?$"),
    ("transaction", r"^(?:(?:sql|db)[.:-])?tx[.:-](?:begin|commit|rollback)$"),
    ("transaction", r"^(?:sql|db)[.:-](?:commit|rollback)$|^prisma:client:transaction$"),
    ("transaction", r"^prisma:engine:(?:commit|rollback|itx_\w+|start_transaction)"),
    ("transaction", (rf"^(?:pdo|{_MYSQLI}|doctrine[\w\\]*)(?:::|_)"
                     r"(?:begin_?transaction|commit|rollback)$")),
    ("connect", r"^(?:sql|db)[.:-](?:connector[.:-])?connect$|^sql\.conn\.close$"),
    ("connect", r"^prisma:client:connect$|^pdo::__construct$|^doctrine[\w\\]*::connect$"),
    ("connect", rf"^(?:pdo|{_MYSQLI})(?:::|_)(?:__construct|(?:real_)?connect|select_db)$"),
    ("connect", (r"^oracledb\.(?:getconnection|createpool|protocolmessage|datatypemessage"
                 r"|(?:fast)?authmessage|logoffmessage|connection\.close)(?::|$)")),
    ("pool wait", r"^prisma:engine:connection$|^oracledb\.pool\.getconnection(?::|$)"),
    ("pool wait", r"^(?:pg-pool|mysql2?-pool|tarn|generic-pool)[.:]\w+"),
    ("pool wait", r"\bget_?connection$|\bpool[.: _-](?:acquire|connect|get|checkout|wait)\w*$"),
    ("pool wait", (r"^(?:acquire|acquiring|checkout|check out|borrow|wait(?:ing)? for)\b.*\b"
                  r"(?:connection|conn|pool|client)$")),
    ("pool wait", r"\b(?:connection|conn|pool)[ ._-]?(?:acquire|acquisition|wait|checkout)$"),
    ("not a call", r"^(?:request_encoding|dispatch_to_server|response_decoding)$"),
    ("not a call", (r"^prisma:(?:client|engine):(?:\w*serialize\w*|compile|middleware|"
                   r"load_engine|detach\w*|query_plan)$")),
    ("wrapper", r"^prisma:client:(?:operation|db_query_wrapper)$|^prisma:engine(?::query)?$"),
    ("orm cache", r"^cache (?:\w|::)+ (?:load|exists\?|count|pluck|sum)$"),
)  # fmt: skip
"""Kind, and the lower-case span names that are one whatever statement they carry; first holds.

Read in these sources, of November 2026 where nothing else is said:

- ``sql.conn.*``, ``sql.rows``, ``sql.tx.*``, ``sql.connector.connect``: XSAM/otelsql, methods.go
- ``sql:rows_next``, ``sql:begin_transaction`` and their like: opencensus-integrations/ocsql,
  driver.go, and nhatthm/otelsql (the same names)
- ``sql-conn-query``, ``sql-tx-begin``, ``sql-res-lastInsertId``: luna-duclos/instrumentedsql,
  sql.go
- ``db.Connect``, ``db.Prepare``, ``stmt.Exec``, ``tx.Commit``: uptrace/opentelemetry-go-extra,
  otelsql, driver.go, stmt.go and tx.go
- ``prepare ...``, ``pool.acquire``, ``batch query ...``: exaring/otelpgx, tracer.go
- ``pg-pool.connect``, ``pg.connect``, ``pg.query:...``: opentelemetry-js-contrib,
  instrumentation-pg, SpanNames.ts; ``generic-pool.acquire``: instrumentation-generic-pool;
  ``oracledb.*``: instrumentation-oracledb, constants.ts
- ``PDO::prepare``, ``PDOStatement::fetchAll``, ``mysqli_stmt::next_result``, ``Doctrine::commit``:
  opentelemetry-php-contrib, PDOInstrumentation.php, MySqliInstrumentation.php and
  DoctrineInstrumentation.php
- ``query``, ``result-set``, ``generated-keys``: datasource-micrometer,
  JdbcObservationDocumentation.java
- ``getMore``: the MongoDB command of a cursor's next batch (MongoDB manual)

From memory, not read: ``fetchall`` of Datadog's dbapi integration, ``prisma:*`` of Prisma's
instrumentation and engine, ``CACHE ... Load`` of ActiveRecord's log, ``dispatch_to_server`` of
Couchbase's SDKs (its RFC 67), which lies below the operation's span.
"""

OF_CALLS: Final[_Table] = (
    ("transaction", r"^prepare transaction\b"),
    ("prepare", r"^(?:un)?prepare\b|[.:]prepare$"),
    ("connect", r"^connect\b|^connection$"),
)  # fmt: skip
"""The same names, where the span also has a database's attributes: words that others use too.

``PREPARE shop`` over the whole statement: opentelemetry-ruby-contrib, instrumentation/pg,
connection.rb; ``prepare shop``: opentelemetry-js-contrib, instrumentation-tedious;
``CONNECT shop``: npgsql/npgsql, NpgsqlActivitySource.cs; ``connection``: datasource-micrometer,
which spans all that was done with it.
"""

QUERY_NAMES: Final = (
    r"^sql[.:-](?:conn|stmt)[.:-](?:query|exec)$|^sql[.:](?:query|exec)(?:_?context)?$"
    r"|^prisma:engine:db_query$|^prisma:client:db_query$|^pg\.query(?::|$)"
    r"|^(?:db|stmt)\.(?:query|exec|queryrow)$"
    r"|^select\b.*[*,=(].*\bfrom\b|^select\b.+\bfrom\b.+(?:\b(?:where|join|limit|order by)\b|=)"
    r"|^insert into\b.+\b(?:values|select)\b|^update\b.+\bset\b.+=|^delete from\b.+\bwhere\b"
)
"""Lower-case span names that are a query also where no system and no statement is given.

Sources as of ``DEFINITE``; the last two lines are whole statements as names.
"""

STAGES: Final[_Table] = (
    ("session reset", r"reset|reset[ _]?session|discard|sp_reset_connection|change ?user"),
    ("ping", r"ping|isvalid|is_valid|keep_?alive"),
    ("pool wait", (r"acquire(?:[ _]?connection)?|get_?connection|checkout|check out|borrow"
                   r"|pool[._ -]?wait")),
    ("connect", (r"connect|open(?: connection)?|dial|hello|auth(?:enticate)?|client(?: ?setinfo)?"
                r"|select db|login|logout|quit|close connection|disconnect|handshake|startup"
                r"|sasl(?:start|continue)|is_?master|open_?connection|create_?connection"
                r"|end_?sessions|build_?info|get_?nonce|open_?bucket"
                r"|(?:batch_?)?create_?sessions?|delete_?sessions?")),
    ("prepare", r"prepare|parse|describe"),
    ("fetch", (r"fetch(?:one|all|many|row|val)?|cursor|close cursor|rows|rows?[._]next"
              r"|rows[._]close|get_?more|kill_?cursors|result-?set|close|next|(?:clear_?)?scroll")),
    ("transaction", (r"begin(?:[ _]?(?:tx|transaction|tran|work))?|start[ _]?transaction"
                    r"|commit(?:[ _]?transaction)?|rollback(?:[ _]?(?:transaction|to savepoint))?"
                    r"|abort(?:[ _]?transaction)?|(?:release )?savepoint|release|xa"
                    r"|(?:db )?transaction")),
    ("setting", r"set|show|deallocate|use"),
)  # fmt: skip
"""Kind, and the lower-case operations that are one; also how a name ends (``pool.connect``).

The words of the databases' protocols and of database/sql, JDBC and DB-API (PEP 249) methods;
``CreateSession``: Cloud Spanner's; ``scroll``: Elasticsearch's cursor.
"""

FIRST_WORDS: Final[_Table] = (
    ("transaction", r"begin|start|commit|rollback|savepoint|release|xa|abort"),
    ("setting", r"set|show|deallocate"),
    ("session reset", r"discard"),
)
"""Kind, and the words with which a name begins that is a statement's summary: ``BEGIN shop``."""

DATA: Final = (
    r"select|insert|update|delete|merge|replace|upsert|with|call|exec|execute|copy|table|values"
    r"|find|aggregate|create|alter|drop|truncate|explain|lock"
)
"""Words that a name begins with when the rest of it names the data, not what is done."""

CACHE_STAGES: Final[_Table] = (
    ("ping", r"ping"),
    ("connect", (r"connect|dial|hello|auth|client(?: \w+)?|select|quit|command(?: \w+)?|readonly"
                r"|cluster (?:slots|shards|nodes)|info|hello \d|sentinel(?: \S+)?|role")),
    ("transaction", r"multi|exec|discard|watch|unwatch"),
    ("prepare", r"(?:script|function) load"),
    ("pool wait", r"pool[.: ]\w+|acquire|get_?connection"),
)  # fmt: skip
"""The same of a cache: what a client does by itself. A pipeline is one call: one round trip; so is
a MULTI of which the client tells all commands in one text.

Redis commands (redis.io, connection management); ``redis-connect``: opentelemetry-js-contrib;
``redis.dial``: redis/go-redis, extra/redisotel, tracing.go.
"""

_COMMAND = r"^(?:\{\")?"
"""A MongoDB command, as JSON or as PyMongo's instrumentation writes it: ``getMore items``."""

TEXTS: Final[_Table] = (
    ("session reset", (r"^DISCARD\b|\bUNLISTEN \*|^RESET ALL\b|\b(?i:SP_RESET_CONNECTION)\b"
                      r"|^SELECT (?i:pg_advisory_unlock_all)\b")),
    ("fetch", rf"{_COMMAND}(?:getMore|killCursors)\b"),
    ("connect", (rf"{_COMMAND}(?:hello|isMaster|ismaster|endSessions|sasl(?:Start|Continue)"
                 r"|buildInfo|getnonce|authenticate|logout)\b")),
    ("ping", rf"{_COMMAND}ping\b"),
    ("transaction", rf"{_COMMAND}(?:commit|abort)Transaction\b"),
    ("transaction", (r"^(?:BEGIN|START)(?: (?:TRANSACTION|TRAN|WORK|ISOLATION|READ|NOT DEFERRABLE"
                    r"|DEFERRED|DEFERRABLE|IMMEDIATE|EXCLUSIVE|CONCURRENT)\b.*)?$")),
    ("transaction", (r"^(?:COMMIT|ROLLBACK|ABORT|SAVEPOINT|RELEASE|XA)\b|^PREPARE TRANSACTION\b"
                    r"|^END(?: (?:TRANSACTION|WORK).*)?$|^SAVE TRAN|^IF @@ ?TRANCOUNT")),
    ("setting", r"^(?:SET|SHOW|DEALLOCATE|RESET|USE|PRAGMA|LISTEN|UNLISTEN)\b"),
    ("prepare", r"^PREPARE\b"),
    ("fetch", r"^(?:FETCH|MOVE|CLOSE)\b"),
)  # fmt: skip
"""Kind, and the normal forms of statements that are one; any other statement is a query.

BEGIN before more than transaction modes is a block of statements, and END alone ends one.
"""

RESET: Final = r"(?i)\bPG_ADVISORY_UNLOCK_ALL\(\).*\bRESET ALL\b"
"""The text of several statements with which asyncpg gives a connection back (connection.py,
``get_reset_query``)."""

OWN_OF_DRIVERS: Final = (
    r"(?i)^SELECT (?:PG_CATALOG\s?\.\s?)?VERSION ?\(|^SELECT @@"
    r"|^SELECT (?:CURRENT_SCHEMA|DATABASE)\b"
    r"|\bPG_CATALOG\s?\.\s?PG_TYPE\b|\bPG_TYPE\b|^SELECT CURRENT_SETTING"
)
"""What drivers and ORMs ask of a new connection: not a query where it lies below a ``connect``.

SQLAlchemy's ``Dialect.initialize``, MySQL Connector/J's session variables, the type look-ups of
asyncpg and Npgsql.
"""

ASKS_NOTHING: Final = r"^SELECT \?(?: FROM (?i:DUAL|SYSIBM\.SYSDUMMY1))?$"
"""A pool's validation query: a ping where it lies below the wait for a connection or a connect.

Elsewhere nothing tells it from a health check that somebody wrote, and it is a query.
"""

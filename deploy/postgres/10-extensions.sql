-- Run once, by the image's entry point, when the data volume is still empty.
-- pgvector for the memories; pg_stat_statements as the independent witness of what the service asked.
CREATE EXTENSION IF NOT EXISTS vector;
CREATE EXTENSION IF NOT EXISTS pg_stat_statements;

#!/bin/bash
# Runs once, when ClickHouse's volume is new: a user for Grafana that can read and do nothing else.
# The password goes in as its hash: whatever characters it has, it can't end the SQL text.
set -euo pipefail
hash=$(printf %s "$CLICKHOUSE_GRAFANA_PASSWORD" | sha256sum | cut -d ' ' -f 1)
clickhouse-client --user "$CLICKHOUSE_USER" --password "$CLICKHOUSE_PASSWORD" --multiquery <<SQL
CREATE DATABASE IF NOT EXISTS tutelage;
CREATE USER IF NOT EXISTS grafana IDENTIFIED WITH sha256_hash BY '$hash' SETTINGS readonly = 2;
GRANT SELECT ON tutelage.* TO grafana;
SQL

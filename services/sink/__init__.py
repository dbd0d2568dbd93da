"""Brings the topics into ClickHouse's tables of the same names."""

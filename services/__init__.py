"""The services that carry, record, choose, prove and route."""

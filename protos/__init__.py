"""The contracts: gRPC services and Kafka messages of package tutelage.v1."""

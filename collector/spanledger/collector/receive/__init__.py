"""Take OTLP from gRPC and HTTP, bytes only: a body is acknowledged when it is in the journal."""

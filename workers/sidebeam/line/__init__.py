"""A Unix socket's connection as a line of protobuf messages: what stands in for a gRPC stream where its cost shows."""

from sidebeam.line.line import Line, LineLost, line_path

__all__ = ["Line", "LineLost", "line_path"]

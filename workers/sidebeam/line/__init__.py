"""A Unix socket's connection as a line of protobuf messages: what stands in for a gRPC stream where its cost shows."""

from sidebeam.line.line import MAX_MESSAGE_BYTES, Line, LineLost, line_path

__all__ = ["MAX_MESSAGE_BYTES", "Line", "LineLost", "line_path"]

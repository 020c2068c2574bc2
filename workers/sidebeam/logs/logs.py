"""Structured logs on stderr: readable on a terminal, one JSON object a line elsewhere."""

from __future__ import annotations

import atexit
import logging
import sys
from typing import TextIO, cast

import structlog
from structlog.typing import Processor

from sidebeam.logs.log_writer import LogWriter

FORMATS = ("auto", "console", "json")
LEVELS = ("debug", "info", "warning", "error")
# Of gRPC, which logs with a traceback what callers do: names and metadata that are not UTF-8, and a caller who has left
# before it can be told anything. Anybody could fill a disk.
CALLERS_DOING = (
    "Invalid encoding on ",
    "Unexpected [UnicodeDecodeError] raised by servicer method [",
    "ExecuteBatchError raised in core by servicer method [",
    "Failed sending error status from server",
)


def configure(log_format: str, level: str, process: str) -> None:
    """Set up logging for this process, which names itself in every line; to be called once, at its start.

    `log_format` "auto" is "console" on a terminal, else "json". Records of other libraries take the same way out, which
    is never waited for.
    """
    console = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())

    def name_process(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event.setdefault("process", process)
        return event

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        name_process,
    ]
    last: list[Processor] = (
        [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
        if console
        else [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer()]
    )
    writer = LogWriter(sys.stderr.fileno(), _say_dropped)
    atexit.register(writer.end)
    stream = cast(TextIO, writer)
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        # One write for each line: `print` makes two where Python is unbuffered, and processes share this stream.
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    foreign = logging.StreamHandler(stream)
    foreign.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
        )
    )
    foreign.addFilter(lambda record: not record.getMessage().startswith(CALLERS_DOING))
    logging.basicConfig(handlers=[foreign], level=max(logging.WARNING, getattr(logging, level.upper())), force=True)


def _say_dropped(lines: int) -> None:
    structlog.get_logger().warning("log_lines_dropped", lines=lines)

"""The standard library's loggers as in a process of its own."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from tallygate.logs import OURS


@contextmanager
def fresh_logging() -> Iterator[None]:
    """Nobody has set anything up; afterwards everything is as it was."""
    names = (None, *OURS, "uvicorn", "uvicorn.error", "httpx", "py.warnings")
    loggers = [logging.getLogger(name) for name in names]
    kept = [(x, x.level, x.handlers[:], x.filters[:], x.propagate) for x in loggers]
    for logger in loggers:
        logger.handlers.clear()
        logger.filters.clear()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
    try:
        with warnings.catch_warnings():
            yield
    finally:
        logging.captureWarnings(capture=False)
        for logger, level, handlers, filters, propagate in kept:
            logger.setLevel(level)
            logger.propagate = propagate
            logger.handlers[:], logger.filters[:] = handlers, filters

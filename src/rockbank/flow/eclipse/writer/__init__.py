"""Writes a case as an Eclipse deck, which OPM Flow runs and `rockbank.flow.eclipse.deck` reads."""

from rockbank.flow.eclipse.writer.sections import LEAST_COMPRESSIBILITY, flow_options, require_writable, write_deck

__all__ = ["LEAST_COMPRESSIBILITY", "flow_options", "require_writable", "write_deck"]

"""Parameterisations of a case: fields, zones, curves, sections of a generator, and several of them together."""

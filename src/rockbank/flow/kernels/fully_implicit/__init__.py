"""The fully implicit equations and their derivatives, in compiled loops."""

"""How long tests wait."""

PATIENCE_S = 180.0
"""Seconds, for what must come.  Only a test that fails waits so long: the others go on as soon as
it has come, and on a busy machine everything may take many times longer than on a free one."""

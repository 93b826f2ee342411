"""Skill graphs in files of several formats, all of them untrusted: read within bounds, never executed."""

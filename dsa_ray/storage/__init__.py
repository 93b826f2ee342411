"""Durable state of a run: the journal of segments, the texts in it, the run folder, the exported tables.

Everything goes through fsspec, so a run folder may be a local folder, s3://, gs:// or memory://.
"""

"""The charts of the report, as SVG made by hand: one file per subject, `svg` and `frame` under them all."""

"""The skill graph: names, levels and learning order, and its construction by asking a teacher."""

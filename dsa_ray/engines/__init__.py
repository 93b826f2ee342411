"""What writes text and what trains: one file per engine, behind one protocol each."""

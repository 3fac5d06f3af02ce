"""What stages write and sections read: one file per stage, typed, with a schema version; no torch."""

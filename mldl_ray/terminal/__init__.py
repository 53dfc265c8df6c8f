"""The ``mldl`` command, one file per chapter of the lifecycle. Its commands call ``MLDLClient`` and know no rules."""

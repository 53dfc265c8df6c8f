"""Live traffic watched: windows, labels, drift, service levels, alerts, history. The actor that runs it is elsewhere.

``batch`` reads what replicas send; ``counts`` counts it, with ``window``, ``rollouts`` (``firsts``, ``selections``),
``answers`` and ``outcomes``; ``watch`` compares it with the held-out rows, with ``versions``, ``reference``,
``collector`` and ``drift``; ``slo`` judges service levels; ``alerts`` and ``kpis`` are kept in the journal; ``history``
writes rows to Parquet; ``live`` and ``exposition`` show it all.
"""

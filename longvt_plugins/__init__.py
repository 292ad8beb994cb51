"""LongVT ("think with long videos") for unmodified verl and lmms-engine.

Importing this package loads nothing heavy. Rooms are imported by name:
``longvt_plugins.video``, ``.tools``, ``.episode``, ``.reward`` work without torch, verl or
lmms-engine; ``.loops``, ``.trainer`` and ``.datasets`` are what verl loads through its plugin API.
"""

__version__ = "0.1.0"

"""dnnlab: a laboratory for feedforward networks. Importing it costs nothing: torch is loaded where it is used."""

__version__ = "0.1.0"

"""Tabular files: read whole or in pieces, typed, with every fault named by row and column."""

"""The format ``compact_v1``: a quantized, compressed file for each gene, column and embedding.

Its names and documents are in `cellucid_dask.format`.
"""

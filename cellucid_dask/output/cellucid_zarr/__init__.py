"""The format ``cellucid-zarr``: an AnnData in Zarr version 2 whose expression lies gene after gene.

What Cellucid's web app opens since 0.9.5, and what anndata reads. Nothing is quantized.
"""

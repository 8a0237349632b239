"""Pieces of the methods without a network: classifiers, kernels, alignments of summaries."""

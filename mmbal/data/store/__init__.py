"""A prepared data set on disk, and batches of it."""

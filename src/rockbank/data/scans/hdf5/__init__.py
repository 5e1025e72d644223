"""HDF5, whose data sets are reached by links and stored in chunks."""

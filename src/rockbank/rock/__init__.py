"""Rock as arrays: crops, segmentation, and the statistics of both."""

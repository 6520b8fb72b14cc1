"""A second reading of files, for the judge; it shares nothing with the readers and writers that it judges."""

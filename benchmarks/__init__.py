"""Speed, each figure against its limit measured in the same run: `make bench`."""

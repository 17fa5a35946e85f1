"""What crosses between files and layers: reader, writer, sample data."""

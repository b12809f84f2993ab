"""What an export contains besides genes: points, vector fields and cell metadata. No I/O."""
